"""Tables that are written as stream workers write them, and a relay beside them that publishes into a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.aggregates import CellField, cell_field, contribution, levels_code
from schemas.assessments import load_registry
from schemas.changes import ResultNote
from schemas.errors import DependencyUnavailable
from schemas.identifiers import OrganizationId, PartitionId, ancestry
from schemas.keys import GENERATION, PARTITION_COUNT, Generation, PartitionKeys
from schemas.shares import Share
from streams.connection import RedisClient
from streams.log import TopicFacts
from streams.relay.metrics import Metrics
from streams.relay.publishing import TOPICS
from streams.relay.records import Outgoing
from streams.relay.relay import Relay
from streams.relay.tables import RelayTables
from streams.tables import Change, Claim, Tables

ELA = cell_field(2026, "ELA-SUM", "03")
MATH = cell_field(2026, "MATH-SUM", "03")


class Writer:
    """The one writer of a generation's partitions."""

    def __init__(self, redis: RedisClient, generation: str = "g1", partitions: int = 2) -> None:
        self.redis = redis
        self.generation = Generation(generation)
        self.partitions = partitions
        self._tables = Tables(redis, "a worker", "a log")
        self._claims: dict[int, Claim] = {}

    def keys(self, partition: int = 0) -> PartitionKeys:
        """The key names of a partition."""
        return PartitionKeys(self.generation, PartitionId(partition))

    async def serve(self) -> None:
        """Claim every partition, and be what is served."""
        for number in range(self.partitions):
            await self.claim(number)
        await self.redis.set(PARTITION_COUNT, self.partitions)
        await self.redis.set(GENERATION, self.generation)

    async def claim(self, partition: int, *, log_end: int = 0) -> None:
        """Become a partition's writer, and go on where it stands."""
        self._claims[partition] = await self._tables.claim(self.keys(partition), log_end=log_end)

    async def score(
        self,
        school: str,
        field: CellField = ELA,
        *,
        partition: int = 0,
        score: int = 2450,
        notes: Sequence[ResultNote] = (),
    ) -> None:
        """One more student's result: one batch of one event."""
        part = contribution(score, levels_code([3]))
        await self._apply(partition, school, field, lambda share: share.apply(part), notes)

    async def withdraw(self, school: str, field: CellField = ELA, *, partition: int = 0) -> None:
        """The result of one student is taken back."""
        part = contribution(2450, levels_code([3]))
        await self._apply(partition, school, field, lambda share: share.retract(part), ())

    async def _apply(self, partition: int, school: str, field: CellField, act: Any, notes: Any) -> None:
        keys, claim = self.keys(partition), self._claims[partition]
        names = [(organization, field) for organization in ancestry(OrganizationId(school))]
        shares: dict[Any, Share] = await self._tables.read_shares(keys, names)
        for name, share in shares.items():
            share.name = name
            act(share)
            share.version += 1
        following = (claim.position or 0) + 1
        await self._tables.apply(keys, claim, Change(following, 0, {}, [*shares.values()], notes))
        self._claims[partition] = claim._replace(position=following)


class ListedTopics:
    """Kafka as the relay sees it: acknowledged records are in a list; an outage can be had."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.away = False
        self.identity = "cluster/topic"
        self.begun = 0
        self.begun_again = asyncio.Event()
        self.published = asyncio.Event()

    async def begin(self) -> Mapping[str, TopicFacts]:
        """Nobody else publishes here."""
        self.begun += 1
        if self.begun > 1:
            self.begun_again.set()
        return {name: TopicFacts(self.identity, 4) for name in TOPICS}

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Take all of them, or none."""
        if self.away:
            raise DependencyUnavailable("the broker is away")
        self.records += records
        self.published.set()

    def take(self, topic: str) -> list[dict[str, Any]]:
        """The values of what came into a topic since the last look."""
        taken = [json.loads(record.value) for record in self.records if record.topic == topic]
        self.records = [record for record in self.records if record.topic != topic]
        return taken


def relay_to(
    topics: ListedTopics,
    redis: RedisClient,
    epoch: int = 1,
    metrics: Metrics | None = None,
    budget_seconds: float = 5,
) -> Relay:
    """A relay under an epoch, whose rounds a test runs."""

    async def still_ours() -> None:
        pass

    return Relay(
        RelayTables(redis, epoch),
        topics,
        load_registry().at,
        metrics or Metrics(),
        still_ours=still_ours,
        round_seconds=0.01,
        budget_seconds=budget_seconds,
    )
