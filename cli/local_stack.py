"""The whole stack on one machine, without Docker: broker, store, and every process of ours; started, watched, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

import httpx
from redis import Redis
from redis.exceptions import RedisError

from cli.create_topics import require_topics
from cli.private_file import private_output
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.local_kafka import LocalKafka
from cli.stack.ports import chosen_port, free_port, is_free
from cli.stack.redis_server import EmbeddedRedis
from cli.stack_options import EMBEDDED, LOCAL
from cli.state import Running, StateFolder
from cli.supervisor import COMMANDS, Supervised, wait_until
from cli.tokens import development_issuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant
from schemas.access.roles import CANARY_ROLE
from schemas.errors import DependencyUnavailable
from schemas.identifiers import CANARY_COUNTY
from schemas.keys import GENERATION
from schemas.topics import topics

_USUAL_PORT = 8080
_READY_SECONDS = 60.0
_STOP_SECONDS = 2.0
_CANARY_LIFETIME = timedelta(days=30)  # the longest that the development issuer gives
# Who tries it out wants to see the public view, and to see it move; a setting of their own counts before these.
_TRYING_OUT = {
    "SCORES_PUBLIC_VIEW": "on",
    "SCORES_PUBLISH_SECONDS": "10",
    "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes",  # their receiver is on this machine
}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """One row of "what runs where"."""

    what: str
    where: str
    note: str


class LocalStack:
    """Starts what is asked for in order, supervises it, stops it within three seconds.

    Args:
        kafka: ``embedded``, ``local`` or ``host:port``.
        redis: ``embedded`` or a URL.
        workers: how many stream workers share the partitions.
        tell: receives a line about each step.
    """

    def __init__(
        self,
        *,
        kafka: str,
        redis: str,
        gateway_port: int | None = None,
        partitions: int = 8,
        workers: int = 1,
        state: StateFolder | None = None,
        tell: Tell = lambda line: None,
    ) -> None:
        self._kafka_option = kafka
        self._redis_option = redis
        self._gateway_port = gateway_port
        self._partitions = partitions
        self._workers = workers
        self._tell = tell
        self.state = state or StateFolder()
        self.issuer = development_issuer(self.state)
        self.kafka = ""
        self.redis_url = ""
        self.gateway_url = ""
        self.places: list[Place] = []
        self.processes: list[Supervised] = []
        self._servers = contextlib.ExitStack()
        self._logs = self.state.path / "logs"
        self._canary_token = self.state.path / "canary-token"
        self._canary_port = 0  # for its webhooks

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings that all processes of this stack share."""
        port = self.gateway_url.rsplit(":", 1)[-1]
        return {
            "SCORES_KAFKA": self.kafka,
            "SCORES_REDIS_URL": self.redis_url,
            "SCORES_STUDENT_KEY_SECRET": self.state.student_key_secret_from(os.environ),
            "SCORES_WEBHOOK_KEY": self.state.webhook_key_from(os.environ),
            "SCORES_PUBLIC_URL": os.environ.get("SCORES_PUBLIC_URL", self.gateway_url),
            "SCORES_GATEWAY_HOST": "127.0.0.1",
            "SCORES_GATEWAY_PORT": port,
            "SCORES_JWKS_FILE": str(self.issuer.jwks_file),
            "SCORES_AUDIT_DIR": str(self.state.path / "audit"),
            "SCORES_TOKEN_ISSUER": DEVELOPMENT_ISSUER,
            "SCORES_TOKEN_AUDIENCE": DEVELOPMENT_AUDIENCE,
            "SCORES_ENVIRONMENT": "development",
            "SCORES_CANARY_GATEWAY": self.gateway_url,
            "SCORES_CANARY_TOKEN_FILE": str(self._canary_token),
            "SCORES_CANARY_WEBHOOK_PORT": str(self._canary_port),
            **{name: value for name, value in _TRYING_OUT.items() if name not in os.environ},
            # The embedded broker lets every fetch wait its full time, and a member that rejoins its session time (twice
            # that with static membership); a commit during that wait would make it rejoin once more.
            **(
                {
                    "SCORES_FETCH_WAIT_MS": "20",
                    "SCORES_SESSION_TIMEOUT_SECONDS": "4",
                    "SCORES_COMMIT_SECONDS": "0",
                    "SCORES_STATIC_MEMBERSHIP": "no",
                }
                if self._kafka_option == EMBEDDED
                else {}
            ),
        }

    def watch(self) -> list[str]:
        """Restart what has ended; returns lines to show."""
        return [line for process in self.processes if (line := process.supervise())]

    def stop(self) -> None:
        """Stop everything: worker and gateway first, then the servers under them."""
        for process in self.processes:
            process.ask_to_stop(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self.processes:
            process.wait_or_kill(deadline)
        self.processes.clear()
        self._servers.close()
        self.state.forget()

    def _start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._start_kafka()
        self._start_redis()
        self.gateway_url = f"http://127.0.0.1:{self._port()}"
        self._canary_port = free_port()
        with private_output(self._canary_token) as out:
            grants = [Grant(CANARY_ROLE, CANARY_COUNTY)]
            out.write(self.issuer.issue("canary", grants, _CANARY_LIFETIME).encode())
        for name, command in COMMANDS.items():
            self._tell(f"Starting {name}")
            process = Supervised(name, [*command[1:], *self._more_of(name)], self.environment, self._logs)
            self.processes.append(process)
            process.start()
        self._await_ready()
        self.places += [
            Place(
                process.name,
                self.gateway_url if process.name == "gateway" else f"pid {process.pid}",
                f"log {process.log}",
            )
            for process in self.processes
        ]
        self.state.announce(Running(os.getpid(), self.kafka, self.redis_url, self.gateway_url))

    def _more_of(self, name: str) -> list[str]:
        return ["--workers", str(self._workers)] if name == "streams" and self._workers > 1 else []

    def _start_kafka(self) -> None:
        wanted = topics(self._partitions)
        if self._kafka_option == EMBEDDED:
            self._tell("Starting the embedded Kafka broker")
            embedded = self._servers.enter_context(
                EmbeddedKafka({topic.name: topic.partitions for topic in wanted})
            )
            self.kafka = embedded.bootstrap_servers
            self.places.append(Place("Kafka (embedded)", self.kafka, embedded.limits))
        elif self._kafka_option == LOCAL:
            local = self._servers.enter_context(
                LocalKafka(
                    self.state.path / "kafka",
                    topics={topic.name: (topic.partitions, topic.config) for topic in wanted},
                    report=self._tell,
                )
            )
            self.kafka = local.bootstrap_servers
            self.places.append(Place("Apache Kafka", self.kafka, local.limits))
        else:
            self.kafka = self._kafka_option
            require_topics(self.kafka)
            self.places.append(Place("Kafka", self.kafka, "yours"))

    def _start_redis(self) -> None:
        if self._redis_option == EMBEDDED:
            self._tell("Starting the embedded Redis-compatible server")
            # Tables outlive the launcher only with a log that does: the embedded broker keeps nothing.
            keep = self._kafka_option == LOCAL
            folder = self.state.path / "redis" if keep else None
            embedded = self._servers.enter_context(EmbeddedRedis(folder))
            self.redis_url = embedded.url
            self.places.append(Place("Valkey (embedded)", self.redis_url, embedded.limits))
            return
        self.redis_url = self._redis_option
        try:
            Redis.from_url(self.redis_url, socket_timeout=3.0).ping()
        except RedisError as error:
            raise DependencyUnavailable(
                f"no Redis answers at {self.redis_url} ({error}); start one there, or use --redis=embedded"
            ) from error
        self.places.append(Place("Redis", self.redis_url, "yours"))

    def _port(self) -> int:
        if self._gateway_port is not None:
            return chosen_port(self._gateway_port)
        return _USUAL_PORT if is_free(_USUAL_PORT) else free_port()

    def _await_ready(self) -> None:
        self._tell("Waiting for worker and gateway")
        store = Redis.from_url(self.redis_url, socket_timeout=3.0)

        def claimed() -> bool:
            with contextlib.suppress(RedisError):
                return bool(store.exists(GENERATION)) and self._claimed_partitions(store)
            return False

        def gateway_ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self.gateway_url}/readyz", timeout=1.0).status_code == 200
            return False

        for condition, what in ((claimed, "the stream worker"), (gateway_ready, "the gateway")):
            if not wait_until(condition, _READY_SECONDS, self.processes):
                raise DependencyUnavailable(
                    f"{what} was not ready within {_READY_SECONDS:g} s; see the logs in {self._logs}"
                )

    def _claimed_partitions(self, store: Redis) -> bool:
        generation = store.get(GENERATION)
        name = generation.decode() if isinstance(generation, bytes) else str(generation)
        return any(store.exists(f"{{{name}.{number}}}:position") for number in range(self._partitions))
