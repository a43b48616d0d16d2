"""What the local Kafka is started with: its settings and its command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.stack.ports import HOST
from schemas.errors import InvalidInput

# Names inside the server's working directory.
DATA: Final = "data"
PROPERTIES: Final = "server.properties"
LOGGING: Final = "log4j2.properties"

# For a server that runs for minutes: no parallel collector's threads, and no second compiler, which costs more at
# the start than it returns (2.2 s to the first answer instead of 2.8 s). For benchmarks pass others.
QUICK_START: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def server_properties(broker_port: int, controller_port: int, extra: Mapping[str, str]) -> str:
    """The server's configuration: a single node that is broker and controller, replicating nothing.

    ``extra`` wins over ours. Paths are relative to the server's working directory, so that no character in them
    needs escaping.
    """
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"BROKER://{HOST}:{broker_port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{broker_port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "log.dirs": DATA,
        # Otherwise a topic that a client merely misspells would come into being.
        "auto.create.topics.enable": "false",
        # A group's first members would otherwise wait 3 s for others to join them.
        "group.initial.rebalance.delay.ms": "0",
        # One node cannot hold the default of three copies; few partitions, because the first group waits for them.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # After a crash the controller lets the node in again only when its former self has timed out: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The default takes 128 MiB of a heap that has little more; compacted topics here are small.
        "log.cleaner.dedupe.buffer.size": "16777216",
        **extra,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def java_command(
    java: Path, jars: Path, heap_mb: int, options: Sequence[str], main_class: str, *arguments: str
) -> list[str]:
    """The command line of one of Kafka's programs.

    Raises:
        InvalidInput: the path of the jars cannot be a class path.
    """
    if os.pathsep in str(jars):
        raise InvalidInput(f"Java cannot read jars from {jars}: '{os.pathsep}' separates paths; move them.")
    return [
        str(java),
        f"-Xmx{heap_mb}m",
        *options,
        f"-Dlog4j2.configurationFile={LOGGING}",
        "-cp",
        f"{jars}/*",
        main_class,
        *arguments,
    ]
