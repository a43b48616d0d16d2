"""Our gateway complete: its own process, tokens, filters and merging on, over a Redis whose cells we change as a worker does."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from redis.asyncio import Redis

from bench.push_reading import Address
from cli.simulator.county import County, plan_county
from cli.stack.child import Child
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.ports import HOST, free_port
from cli.stack.redis_server import EmbeddedRedis
from gateway.development_issuer import DevelopmentIssuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.aggregates import Contribution, cell_field, contribution, levels_code
from schemas.events import encode_event
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    ORGANIZATIONS_VERSION,
    PARTITION_COUNT,
    RELEASES_VERSION,
    PartitionKeys,
    new_generation,
)
from schemas.shares import Share
from schemas.topics import topics
from streams.tables import Change, Claim, Tables

PARTITIONS: Final = 8
_STUDENTS: Final = 30  # in the one cell of each school
_START_SECONDS: Final = 60.0
_TEST, _YEAR, _GRADE = "CAA-MATH", 2026, "03"
_FIELD: Final = cell_field(_YEAR, _TEST, _GRADE)


@dataclass(slots=True)
class _Partition:
    keys: PartitionKeys
    claim: Claim


class Reads(NamedTuple):
    """Commands that Redis has carried out."""

    whole: int  # HGETALL: a partition's share of an organization
    parts: int  # HMGET: some of its cells


class Worker:
    """The one writer of the tables: one cell a school, whose version is the number of the event.

    It writes through the worker's own script; ``changed`` is Redis' time of the write.
    """

    def __init__(self, redis_url: str, county: County) -> None:
        self._county = county
        self._redis = Redis.from_url(redis_url, protocol=2)
        self._tables = Tables(self._redis, "bench", "bench")
        self._partitions: list[_Partition] = []
        self._shares: dict[OrganizationId, Share] = {}
        self._runner = asyncio.Runner()
        self._runner.run(self._begin())

    def change(self, school: OrganizationId) -> None:
        """One rescore: the school's cell has its next version when this returns."""
        self._runner.run(self._apply(school))

    def reads(self) -> Reads:
        """How often Redis was read, ever."""
        called = self._runner.run(self._commands())
        whole, parts = (called.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hgetall", "hmget"))
        return Reads(whole, parts)

    def close(self) -> None:
        """Disconnect."""
        self._runner.run(self._redis.aclose())
        self._runner.close()

    async def _commands(self) -> dict[str, Any]:
        statistics: dict[str, Any] = await self._redis.info("commandstats")
        return statistics

    async def _begin(self) -> None:
        generation = new_generation(int(time.time() * 1000))
        for number in range(PARTITIONS):
            keys = PartitionKeys(generation, PartitionId(number))
            claim = await self._tables.claim(keys)
            await self._tables.report_progress(keys, claim, int(time.time() * 1000))
            self._partitions.append(_Partition(keys, claim))
        for school in self._county.schools:
            await self._apply(school.cds)
        for entry in self._county.entries:
            await self._redis.hset(ORGANIZATIONS, entry.cds, encode_event(entry))
        await self._redis.set(ORGANIZATIONS_VERSION, 1)
        await self._redis.set(RELEASES_VERSION, 1)
        await self._redis.set(PARTITION_COUNT, PARTITIONS)
        await self._redis.set(GENERATION, generation)

    async def _apply(self, school: OrganizationId) -> None:
        share = self._shares.get(school)
        if share is None:
            share = self._shares[school] = Share()
            share.name = (school, _FIELD)
            share.recent.extend(_result(number) for number in range(_STUDENTS))
        else:
            share.retract(_result(share.version - 1))
            share.apply(_result(share.version - 1 + _STUDENTS))
        share.version += 1
        partition = self._partitions[int(school) % PARTITIONS]
        claim = partition.claim
        following = (claim.position or 0) + 1
        change = Change(following, int(time.time() * 1000), {}, [share])
        await self._tables.apply(partition.keys, claim, change)
        partition.claim = Claim(claim.epoch, following)


def _result(number: int) -> Contribution:
    return contribution(300 + number % _STUDENTS, levels_code([1 + number % 3]))


class Ours:
    """Redis, the tables and a gateway, running inside ``with``; the gateway can be killed and started again."""

    def __init__(self, folder: Path, schools: int, **settings: str) -> None:
        """``settings`` are the gateways', beyond what they need."""
        self._settings = settings
        self._county = plan_county(schools, seed=1)
        self.schools = [school.cds for school in self._county.schools]
        self._folder = folder
        self._port = free_port()
        self.address = (HOST, self._port)
        self._issuer = DevelopmentIssuer(
            folder / "issuer",
            issuer=DEVELOPMENT_ISSUER,
            audience=DEVELOPMENT_AUDIENCE,
            environment="development",
        )
        self._redis = EmbeddedRedis()
        # Where the gateway's audit goes; without it librdkafka would spend the gateway's time on connecting again and again.
        self._kafka = EmbeddedKafka({topic.name: topic.partitions for topic in topics(PARTITIONS)})
        self._gateway: Child | None = None
        self._starts = 0

    @property
    def pid(self) -> int:
        """The gateway's."""
        assert self._gateway is not None
        return self._gateway.pid

    @property
    def store_pid(self) -> int:
        """Redis'."""
        return self._redis.pid

    def requests(self, streams: int) -> list[bytes]:
        """A request for each stream: a subscriber and token of its own, one school, filters for test and year."""
        return [self._request(number) for number in range(streams)]

    def publish(self, version: int, changed_ms: int, size: int) -> None:
        """The first school's cell changes; that gives it the version and size that a cell has."""
        self.worker.change(self.schools[0])

    def start_gateway(self) -> None:
        """Start the gateway and return when it is ready."""
        self._gateway = self._started(self._port)

    @contextlib.contextmanager
    def another_gateway(self) -> Iterator[Address]:
        """The address of a second gateway over the same tables, with the same issuer."""
        port = free_port()
        child = self._started(port)
        try:
            yield HOST, port
        finally:
            child.stop(0)

    def token(self, subject: str, role: str, organization: OrganizationId) -> str:
        """A token of the issuer that the gateways believe."""
        return self._issuer.issue(subject, [Grant(role, organization)], timedelta(hours=2))

    def _started(self, port: int) -> Child:
        self._starts += 1
        environment = {
            **os.environ,
            "SCORES_KAFKA": self._kafka.bootstrap_servers,
            "SCORES_REDIS_URL": self._redis.url,
            "SCORES_GATEWAY_PORT": str(port),
            "SCORES_JWKS_FILE": str(self._issuer.jwks_file),
            "SCORES_STUDENT_KEY_SECRET": "a secret of the benchmark, of no value",
            "SCORES_UNLISTED_RELEASE_STATE": "released",
            **self._settings,
        }
        log = self._folder / f"gateway-{self._starts}.log"
        child = Child(
            "gateway", [sys.executable, "-m", "cli", "gateway"], cwd=self._folder, log=log, env=environment
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _ready(port):
            if not child.running or time.monotonic() > deadline:
                raise child.failure("did not become ready")
            time.sleep(0.01)
        return child

    def kill_gateway(self) -> None:
        """``kill -9``."""
        assert self._gateway is not None
        self._gateway.stop(0)

    def __enter__(self) -> Self:
        self._redis.start()
        self._kafka.start()
        self.worker = Worker(self._redis.url, self._county)
        self.start_gateway()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._gateway is not None:
            self._gateway.stop(0)
        self.worker.close()
        self._kafka.close()
        self._redis.close()

    def _request(self, number: int) -> bytes:
        school = self.schools[number % len(self.schools)]
        token = self.token(f"reader-{number}@example.test", READER_ROLE, school)
        path = f"/v1/stream?topic=school/{school}&test={_TEST}&year={_YEAR}"
        headers = f"Host: {HOST}\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
        return f"GET {path} HTTP/1.1\r\n{headers}".encode()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
