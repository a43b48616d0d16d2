"""Kafka and Redis of a chaos run; each worker reaches them through proxies of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.local_kafka import LocalKafka
from cli.stack.ports import HOST, free_port
from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import InvalidInput
from schemas.topics import topics
from tests.stack import JARS
from tests.tcp_proxy import TcpProxy

LARGEST_LOSS: Final = 2_000_000  # bytes of the append-only file: some seconds of a season


@dataclass(frozen=True, slots=True)
class Way:
    """How one worker reaches Kafka and Redis."""

    kafka: str
    kafka_proxy: TcpProxy | None  # none on the embedded broker, which advertises its own address only
    redis_url: str
    redis_proxy: TcpProxy


class Surroundings:
    """A broker and a store, running inside ``with``.

    Args:
        folder: their data.
        real_kafka: Apache Kafka; the embedded broker otherwise.
        system_redis: the system's redis-server; the embedded one otherwise. Both keep an append-only file.
        ways: for so many workers.
    """

    def __init__(
        self, folder: Path, *, real_kafka: bool, system_redis: bool, partitions: int, ways: int
    ) -> None:
        self.real: LocalKafka | None = None
        self.embedded: EmbeddedKafka | None = None
        self.ways: list[Way] = []
        self._folder = folder
        self._partitions = partitions
        self._number_of_ways = ways
        self._real_kafka = real_kafka
        self._resources = ExitStack()
        self.redis = EmbeddedRedis(
            folder / "redis",
            binary=_system_redis() if system_redis else None,
            settings={"auto-aof-rewrite-percentage": "0"},  # one file, whose tail is the latest writes
        )

    @property
    def kafka(self) -> str:
        """Kafka's own address, with no proxy before it."""
        server = self.real or self.embedded
        assert server is not None
        return server.bootstrap_servers

    def __enter__(self) -> Self:
        with self._resources as resources:
            resources.enter_context(self.redis)
            kafka_proxies = self._start_kafka(resources)
            for number in range(self._number_of_ways):
                redis_proxy = resources.enter_context(TcpProxy(self.redis.port))
                kafka_proxy = kafka_proxies[number] if kafka_proxies else None
                kafka = kafka_proxy.address if kafka_proxy is not None else self.kafka
                url = f"redis://{redis_proxy.address}/0"
                self.ways.append(Way(kafka, kafka_proxy, url, redis_proxy))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def kill_redis(self) -> None:
        """``kill -9``; nothing answers until ``start_redis``."""
        self.redis.kill()

    def lose_redis_tail(self, share: float) -> int:
        """Cut bytes off the end of the append-only file of the dead server, as a crash of the machine does.

        Returns how many: up to ``share`` of the largest loss, and never more than half of the file.
        """
        size = self.redis_log_bytes
        lost = min(int(share * LARGEST_LOSS) + 1, size // 2)
        with self._redis_log().open("r+b") as file:
            file.truncate(size - lost)
        return lost

    @property
    def redis_log_bytes(self) -> int:
        """How long the append-only file is."""
        return self._redis_log().stat().st_size

    def start_redis(self) -> None:
        """What the file still holds is there when this returns."""
        self.redis.start()

    def restart_kafka(self, while_down: Callable[[], None]) -> None:
        """``kill -9``, and a start on the same port with the same log."""
        assert self.real is not None
        self.real.kill()
        while_down()
        self.real.start()

    def _redis_log(self) -> Path:
        files = (self._folder / "redis").rglob("*.incr.aof")
        return max(files, key=lambda file: file.stat().st_mtime)

    def _start_kafka(self, resources: ExitStack) -> list[TcpProxy]:
        wanted = topics(self._partitions)
        if not self._real_kafka:
            self.embedded = EmbeddedKafka({topic.name: topic.partitions for topic in wanted})
            resources.enter_context(self.embedded)
            return []
        broker, controller, *listeners = (free_port() for _ in range(2 + self._number_of_ways))
        proxies = [resources.enter_context(TcpProxy(port)) for port in listeners]
        self.real = LocalKafka(
            self._folder / "kafka",
            topics={topic.name: (topic.partitions, topic.config) for topic in wanted},
            port=broker,
            jars=JARS,
            properties=_listening(broker, controller, listeners, [proxy.port for proxy in proxies]),
        )
        resources.enter_context(self.real)
        return proxies


def _listening(
    broker: int, controller: int, listeners: Sequence[int], advertised: Sequence[int]
) -> dict[str, str]:
    """A listener for each worker, which sends it to its proxy; clients go where the broker tells them to."""
    names = [f"WORKER{number}" for number in range(len(listeners))]
    own = [f"BROKER://{HOST}:{broker}"]
    return {
        "listeners": ",".join(
            [*own, f"CONTROLLER://{HOST}:{controller}", *_addresses(names, listeners)],
        ),
        "advertised.listeners": ",".join([*own, *_addresses(names, advertised)]),
        "listener.security.protocol.map": ",".join(
            f"{name}:PLAINTEXT" for name in ("BROKER", "CONTROLLER", *names)
        ),
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller}",
        "group.min.session.timeout.ms": "1000",
    }


def _addresses(names: Sequence[str], ports: Sequence[int]) -> list[str]:
    return [f"{name}://{HOST}:{port}" for name, port in zip(names, ports, strict=True)]


def _system_redis() -> str:
    binary = shutil.which("redis-server")
    if binary is None:
        raise InvalidInput("redis-server is not installed; install it, or give --redis embedded.")
    return binary
