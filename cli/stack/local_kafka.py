"""Apache Kafka itself, one node in KRaft combined mode, on a Java of this machine: no Docker, data kept on disk."""

from __future__ import annotations

import base64
import logging
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cli.stack.child import Child, ServerFailed
from cli.stack.claimed_folder import ClaimedFolder
from cli.stack.java import find_java
from cli.stack.kafka_configuration import (
    DATA,
    LOGGING,
    PROPERTIES,
    QUICK_START,
    java_command,
    server_properties,
)
from cli.stack.kafka_jars import Report, bundled_text, require_jars
from cli.stack.ports import HOST, chosen_port, free_port
from cli.stack.ready_partitions import wait_for_partitions
from schemas.errors import InvalidInput

logger = logging.getLogger(__name__)

Topics = Mapping[str, tuple[int, Mapping[str, str]]]  # name -> (partitions, topic configuration)

DEFAULT_FOLDER: Final = Path(".scores/kafka")

_POLL_SECONDS: Final = 0.05
_ADMIN_SECONDS: Final = 10.0
_FORMAT_SECONDS: Final = 60.0
# Kafka closes its logs meanwhile; after a kill it would have to check them at the next start.
_STOP_SECONDS: Final = 20.0


class LocalKafka:
    """A Kafka server that runs inside ``with``, or from ``start`` to ``close``.

    Args:
        folder: its data, configuration and log; kept between starts.
        topics: created at start where missing: name to (partitions, configuration).
        port: None takes a free one.
        jars: the folder that holds the fetched jars; None is ``folder``.
        heap_mb: the Java heap's limit; the process takes about 150 MB more.
        java_options: replace ``QUICK_START``.
        properties: server settings that win over ours.
        environ: where JAVA_HOME and PATH are looked up; None is this process's environment.
        report: called with one line per step of fetching and starting; None logs them.
    """

    def __init__(
        self,
        folder: Path = DEFAULT_FOLDER,
        *,
        topics: Topics | None = None,
        port: int | None = None,
        jars: Path | None = None,
        heap_mb: int = 768,
        java_options: Sequence[str] = QUICK_START,
        properties: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        report: Report | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._topics = dict(topics or {})
        self._wanted_port = port
        self._jars = (jars or folder).absolute()
        self._heap_mb = heap_mb
        self._java_options = tuple(java_options)
        self._properties = dict(properties or {})
        self._environ = dict(os.environ if environ is None else environ)
        self._report: Report = report or (lambda line: logger.info("%s", line))
        self._port = 0
        self._cluster_id = ""
        self._claim: ClaimedFolder | None = None
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``."""
        self._started()
        return f"{HOST}:{self._port}"

    @property
    def cluster_id(self) -> str:
        """Chosen at random when the folder was formatted; the same at every start since."""
        self._started()
        return self._cluster_id

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def limits(self) -> str:
        """What it does not promise, for the line that the launcher prints."""
        return f"one node, no copies; data in {self._folder / DATA}"

    def start(self, timeout_seconds: float = 90.0) -> Self:
        """Fetch Kafka and format the folder where needed, start the server, wait until it answers, create the topics.

        Raises:
            InvalidInput: Java, Maven, port, folder or an existing topic cannot be used.
            ServerFailed: fetching or formatting failed, or the server ended or did not answer in time.
        """
        if self.running:
            raise InvalidInput(f"The local Kafka is running already, at {self.bootstrap_servers}.")
        java = find_java(self._environ)
        jars = require_jars(self._jars, self._environ, self._report)
        self._port = chosen_port(self._wanted_port)
        self._claim = ClaimedFolder(self._folder)
        try:
            self._write_configuration()
            if not (self._folder / DATA / "meta.properties").exists():
                self._format(java, jars)
            began = time.monotonic()
            self._child = Child(
                "Kafka",
                self._java(java, jars, "kafka.Kafka", PROPERTIES),
                cwd=self._folder,
                log=self._folder / "kafka.log",
                env=self._environ,
                inherit=[self._claim.descriptor],
            )
            self._claim.name_holder(self._child.pid)
            self._wait_until_it_answers(self._child, began + timeout_seconds)
            self._report(f"Kafka answers at {self.bootstrap_servers} after {time.monotonic() - began:.1f} s")
            self.create_topics(self._topics)
        except BaseException:
            self.close()
            raise
        return self

    def create_topics(self, topics: Topics) -> None:
        """Create the topics that do not exist yet; those that do keep their configuration.

        Raises:
            InvalidInput: one exists with another number of partitions, which would send keys elsewhere, or its
                configuration is refused.
            ServerFailed: the server did not create one in time.
        """
        if not topics:
            return
        admin = self._admin()
        existing = {
            name: len(topic.partitions)
            for name, topic in admin.list_topics(timeout=_ADMIN_SECONDS).topics.items()
        }
        for name, (partitions, _) in topics.items():
            if existing.get(name, partitions) != partitions:
                raise InvalidInput(
                    f"Topic '{name}' in {self._folder} has {existing[name]} partitions, and {partitions} are "
                    f"wanted; ask for {existing[name]}, or use another folder."
                )
        missing = [
            NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config))
            for name, (partitions, config) in topics.items()
            if name not in existing
        ]
        if not missing:
            return
        for name, created in admin.create_topics(missing, operation_timeout=_ADMIN_SECONDS).items():
            try:
                created.result()
            except KafkaException as failure:
                _raise_unless_created(name, failure)
        wait_for_partitions(
            self.bootstrap_servers, {topic.topic: topic.num_partitions for topic in missing}, _ADMIN_SECONDS
        )

    def close(self, grace_seconds: float = _STOP_SECONDS) -> None:
        """Stop the server, by SIGKILL if it takes longer than that; the data stays. Closing twice is fine."""
        if self._child is not None:
            self._child.stop(grace_seconds)
            self._child = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._started()
        self.close(grace_seconds=0.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> Child:
        if self._child is None:
            raise InvalidInput("The local Kafka is not running; start it first.")
        return self._child

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": f"{HOST}:{self._port}", "log_level": 2})

    def _java(self, java: Path, jars: Path, main_class: str, *arguments: str) -> list[str]:
        return java_command(java, jars, self._heap_mb, self._java_options, main_class, *arguments)

    def _write_configuration(self) -> None:
        properties = server_properties(self._port, free_port(besides=self._port), self._properties)
        (self._folder / PROPERTIES).write_text(properties, encoding="utf-8")
        (self._folder / LOGGING).write_text(bundled_text(LOGGING), encoding="utf-8")

    def _format(self, java: Path, jars: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self._report(f"formatting {self._folder / DATA} for cluster {cluster_id}")
        # With "=", because an id may begin with a dash.
        arguments = ["format", "--standalone", f"--cluster-id={cluster_id}", "-c", PROPERTIES]
        command = self._java(java, jars, "kafka.tools.StorageTool", *arguments)
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(
                f"Kafka did not format {self._folder / DATA} in {_FORMAT_SECONDS} s."
            ) from error
        if done.returncode != 0:
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            said = [line for line in lines if not line.startswith("\t")][-5:]  # without the stack trace
            raise ServerFailed(f"Kafka could not format {self._folder / DATA}:\n" + "\n".join(said))

    def _wait_until_it_answers(self, child: Child, deadline_monotonic: float) -> None:
        while child.running:
            if _listens(self._port):
                try:
                    metadata = self._admin().list_topics(timeout=_ADMIN_SECONDS)
                except KafkaException as error:
                    logger.debug("Kafka listens but does not answer yet", extra={"reason": str(error)})
                else:
                    if metadata.brokers and metadata.cluster_id:
                        self._cluster_id = metadata.cluster_id
                        return
            if time.monotonic() > deadline_monotonic:
                raise child.failure("did not answer in time")
            child.wait(_POLL_SECONDS)
        raise child.failure("ended while starting")


def _listens(port: int) -> bool:
    # Before a client tries: librdkafka would back off after a refused connection, and complain.
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _raise_unless_created(name: str, failure: KafkaException) -> None:
    error: KafkaError = failure.args[0]
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
        return
    if error.code() in (KafkaError.INVALID_CONFIG, KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_PARTITIONS):
        raise InvalidInput(f"Topic '{name}' was refused: {error.str()}") from failure
    raise ServerFailed(f"Topic '{name}' was not created: {error.str()}") from failure
