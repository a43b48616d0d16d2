"""The real webhook worker over Redis and Kafka, with endpoints whose receivers are local."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from redis import Redis

from bench.measuring import cpu_seconds
from bench.push_broadcast import resident_bytes
from cli.simulator.county import County, plan_county
from cli.stack.child import Child, ServerFailed
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.aggregates import cell_field
from schemas.identifiers import STATE, OrganizationId
from schemas.topics import topics
from schemas.webhooks.endpoints import Followed, decode_state
from schemas.webhooks.ids import endpoint_id
from schemas.webhooks.keys import STATES
from schemas.webhooks.secrets import new_secret
from tests.fake_worker import FakeWorker, scored
from tests.stack import process_environment
from tests.webhook_fleet.changes_topic import ChangesTopic
from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.fleet import Member, enlist
from tests.webhook_fleet.receivers import Receivers
from tests.webhook_fleet.workers import SETTINGS, WORKER

PARTITIONS: Final = 4

_FIELD: Final = cell_field(2026, "ELA-SUM", "03")
_ROOT: Final = Path(__file__).parents[1]
_START_SECONDS: Final = 180.0
_STALLED_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Delivered:
    """What a run has shown, from the first message that came in to the last."""

    messages: int
    seconds: float
    worker_cpu: float
    redis_cpu: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


def members(number: int) -> list[Member]:
    """Endpoints that follow the whole state and want everything at once."""
    rng = Random(number)
    return [
        Member(
            id=endpoint_id(rng.randbytes(16)),
            conduct=Conduct.LIVE,
            secret=new_secret("v1", rng.randbytes(32)),
            follows=(Followed(STATE),),
            interval_seconds=0,
            full=False,
        )
        for _ in range(number)
    ]


def delivered(
    endpoints: list[Member], ports: dict[str, int], receivers: Receivers, schools: int
) -> Delivered:
    """Every organization's cell changes once, and every endpoint is told of each.

    Raises:
        ServerFailed: the worker did not start, or no more came.
    """
    county = plan_county(schools, seed=1)
    with _running(endpoints, ports, county) as ours:
        with ChangesTopic(ours.kafka, ours.tables) as topic:
            before, cpu = receivers.count(), ours.cpu()
            due = len(endpoints) * len(county.entries)
            for entry in county.entries:
                topic.put(OrganizationId(entry.cds), _FIELD, int(time.time() * 1000))
            topic.flush()
            first = _until(ours, receivers, before + 1)
            last = _until(ours, receivers, before + due)
        worker, redis = (now - then for now, then in zip(ours.cpu(), cpu, strict=True))
        return Delivered(due, last - first, worker, redis)


def bytes_an_endpoint(endpoints: list[Member], ports: dict[str, int]) -> float:
    """What the worker has resident for each endpoint, all of them confirmed, beyond what it has with one."""
    county = plan_county(8, seed=1)
    with _running(endpoints[:1], ports, county) as ours:
        alone = resident_bytes(ours.worker.pid)
    with _running(endpoints, ports, county) as ours:
        return (resident_bytes(ours.worker.pid) - alone) / (len(endpoints) - 1)


@dataclass(frozen=True)
class _Running:
    tables: FakeWorker
    kafka: str
    worker: Child
    redis: EmbeddedRedis

    def cpu(self) -> tuple[float, float]:
        """Seconds of the worker, and of Redis."""
        return cpu_seconds(self.worker.pid), cpu_seconds(self.redis.pid)


@contextmanager
def _running(endpoints: list[Member], ports: dict[str, int], county: County) -> Iterator[_Running]:
    """The worker, when all endpoints have said that they want webhooks."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="scores-webhooks-")))
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        kafka = stack.enter_context(
            EmbeddedKafka({topic.name: topic.partitions for topic in topics(PARTITIONS)})
        )
        tables = FakeWorker(redis.url, partitions=PARTITIONS)
        stack.callback(tables.redis.close)
        tables.list_organizations(map(msgspec.to_builtins, county.entries))
        for number, school in enumerate(county.schools):
            tables.apply(school.cds, [scored(2400, 2)], partition=number % PARTITIONS)
        tables.serve()
        enlist(tables.redis, endpoints, ports, seed=1)
        worker = Child(
            "webhooks",
            list(WORKER),
            cwd=_ROOT,
            log=folder / "webhooks.log",
            env=process_environment(
                kafka.bootstrap_servers,
                redis.url,
                SCORES_AUDIT_DIR=str(folder / "audit"),
                **SETTINGS,
            ),
        )
        stack.callback(worker.stop, 0.0)
        running = _Running(tables, kafka.bootstrap_servers, worker, redis)
        _wait_until_confirmed(running, len(endpoints))
        yield running


def _wait_until_confirmed(ours: _Running, endpoints: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _confirmed(ours.tables.redis) < endpoints:
        if not ours.worker.running or time.monotonic() > deadline:
            raise ours.worker.failure("did not ask all endpoints whether they want webhooks")
        time.sleep(0.25)


def _confirmed(redis: Redis) -> int:
    return sum(
        decode_state(state).confirmed_ms is not None
        for state in redis.hgetall(STATES).values()
        if isinstance(state, bytes)
    )


def _until(ours: _Running, receivers: Receivers, requests: int) -> float:
    """When so many had come in."""
    seen, stalled = 0, time.monotonic() + _STALLED_SECONDS
    while (count := receivers.count()) < requests:
        if count > seen:
            seen, stalled = count, time.monotonic() + _STALLED_SECONDS
        elif time.monotonic() > stalled or not ours.worker.running:
            raise ServerFailed(f"{requests - count:,} messages did not come.\n{ours.worker.last_lines()}")
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter()
