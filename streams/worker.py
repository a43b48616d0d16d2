"""What one worker process owns and does, apart from Faust: claims, batches, progress.

Safety never rests here: a stale worker is refused by the script. This class only decides how soon to go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from faust.types import TP
from redis.asyncio import Redis

from schemas.errors import Fenced, PositionMoved, ScoreStreamError, TablesLost
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, PARTITION_COUNT, Generation, PartitionKeys, new_generation
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS
from streams.directory import DirectoryStore, ReadTopic
from streams.metrics import Metrics
from streams.partitions import Batch, OwnedPartition
from streams.reading import Reader, Rejection
from streams.rejected import RejectedTopic
from streams.scoring import Outcome
from streams.tables import Tables

logger = logging.getLogger(__name__)

_SETBACKS = 5
_SETBACK_SECONDS = 0.05  # doubled with each setback in a row, so 3 s in all


class Worker:
    """Applies batches of the partitions that it has claimed."""

    def __init__(
        self,
        *,
        redis: Redis,
        tables: Tables,
        reader: Reader,
        directory: DirectoryStore,
        rejected: RejectedTopic,
        metrics: Metrics,
        partitions: int,
        read_organizations: ReadTopic,
    ) -> None:
        self._redis = redis
        self._tables = tables
        self._reader = reader
        self._directory = directory
        self._rejected = rejected
        self._metrics = metrics
        self._partitions = partitions
        self._read_organizations = read_organizations
        self._started = False
        self._setbacks: Counter[int] = Counter()
        self._owned: dict[int, OwnedPartition] = {}

    async def positions(self, assigned: frozenset[TP]) -> Mapping[TP, int | None]:
        """Claim what was assigned, and say where to read on (None: from the start of the log).

        Called on every assignment, so also after every rebalance; a claim fences whoever had the partition.
        """
        if not self._started:
            await self._directory.catch_up(self._read_organizations)
            self._started = True
        await self._directory.refresh()
        generation = await serving_generation(self._redis, self._partitions)
        organizations = await self._directory.positions()
        owned: dict[int, OwnedPartition] = {}
        positions: dict[TP, int | None] = {}
        for tp in sorted(assigned):
            if tp.topic == ORGANIZATIONS:
                positions[tp] = organizations.get(tp.partition)
            if tp.topic != EXAM_RESULTS:
                continue
            partition = await self._claim(generation, tp.partition)
            owned[tp.partition] = partition
            positions[tp] = partition.claim.position
        self._owned = owned
        self._metrics.rebalances.inc()
        self._metrics.partitions.set(len(owned))
        logger.info("partitions claimed generation=%s partitions=%s", generation, sorted(owned))
        return positions

    def sought(self, starts: Mapping[TP, int]) -> None:
        """Where reading begins; the first batch of a partition must start there."""
        for tp, offset in starts.items():
            if tp.topic == EXAM_RESULTS and tp.partition in self._owned:
                self._owned[tp.partition].start = offset

    async def apply(self, batch: Batch) -> int | None:
        """Apply a batch of results; returns where to seek when records are missing before it.

        A batch of a partition that we do not own, or no longer own, is dropped: its owner applies it.
        """
        owned = self._owned.get(batch.partition)
        if owned is None:
            return None
        started = time.perf_counter()
        try:
            decision = await owned.apply(batch)
        except Fenced:
            self._metrics.fenced_writes.inc()
            logger.warning("write refused partition=%d epoch=%d", batch.partition, owned.claim.epoch)
            if self._owned.get(batch.partition) is not owned:
                return None  # our own later claim did it; these records come again from its position
            return await self._claim_again(owned)
        except PositionMoved as error:
            logger.warning("batch out of order partition=%d error=%s", batch.partition, error)
            return await self._claim_again(owned)
        self._setbacks.pop(batch.partition, None)
        if decision is not None:
            self._count(batch, decision.outcomes, time.perf_counter() - started)
        return None

    async def report_progress(self, caught_up: frozenset[int], up_to_ms: int) -> None:
        """Partitions in ``caught_up`` have nothing unread from before ``up_to_ms``."""
        for number in caught_up & self._owned.keys():
            await self._owned[number].report_progress(up_to_ms)
        if self._owned:
            self._metrics.watermark.set(min(owned.complete_ms for owned in self._owned.values()) / 1000)

    def positions_now(self) -> dict[int, int]:
        """Next offset by owned partition."""
        return {number: owned.position for number, owned in self._owned.items()}

    async def _claim_again(self, owned: OwnedPartition) -> int:
        """Take a partition back that is still assigned to us; returns where to seek.

        A zombie that claimed late does this to us once. Again and again means that two workers believe they own it.
        """
        number = owned.number
        self._setbacks[number] += 1
        if self._setbacks[number] > _SETBACKS:
            raise Fenced(
                f"partition {number} was lost {_SETBACKS} times in a row; is another worker assigned to it?"
            )
        await asyncio.sleep(_SETBACK_SECONDS * 2 ** self._setbacks[number])
        again = await self._claim(owned.keys.generation, number)
        if again.claim.position is None and owned.claim.position is not None:
            raise TablesLost(
                f"Redis has lost the tables of partition {number}; it was at {owned.claim.position}. Starting again from the "
                "beginning of the log"
            )
        again.start = owned.start
        self._owned[number] = again
        return again.position

    async def _claim(self, generation: Generation, number: int) -> OwnedPartition:
        keys = PartitionKeys(generation, PartitionId(number))

        async def reject(rejected: Sequence[Rejection]) -> None:
            await self._rejected.put(rejected, number)

        claim = await self._tables.claim(keys)
        self._metrics.claims.inc()
        return OwnedPartition(
            number,
            keys,
            claim,
            tables=self._tables,
            reader=self._reader,
            reject=reject,
            refresh_directory=self._directory.refresh,
        )

    def _count(self, batch: Batch, outcomes: Mapping[Outcome, int], seconds: float) -> None:
        metrics = self._metrics
        metrics.batches.inc()
        metrics.batch_records.observe(len(batch.records))
        metrics.apply_seconds.observe(seconds)
        for outcome, count in outcomes.items():
            metrics.events.labels(outcome.name.lower()).inc(count)


async def serving_generation(redis: Redis, partitions: int) -> Generation:
    """The generation to write; made when there is none yet, for as many partitions as the topic has.

    Raises:
        ScoreStreamError: the tables were built for another number of partitions.
    """
    await redis.setnx(PARTITION_COUNT, partitions)
    stored = int(_text(await redis.get(PARTITION_COUNT)))
    if stored != partitions:
        raise ScoreStreamError(
            f"the tables were built from {stored} partitions, but {EXAM_RESULTS} now has {partitions}; "
            "students have changed partitions, so start with an empty Redis"
        )
    await redis.setnx(GENERATION, new_generation(int(time.time() * 1000)))
    return Generation(_text(await redis.get(GENERATION)))


def _text(reply: bytes | str | None) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply or ""
