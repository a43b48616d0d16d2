"""What one worker process owns and does, apart from Faust: claims, batches, progress.

Safety never rests here: a stale worker is refused by the script. This class only decides how soon to go on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NoReturn, Protocol

from faust.types import TP

from schemas.errors import AggregateUnderflow, Fenced, PositionMoved, TablesLost
from schemas.identifiers import PartitionId
from schemas.keys import Attribution, Generation, PartitionKeys, how_made
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, RELEASES
from streams.accidents import Accident, Accidents
from streams.clock import Clock
from streams.closings import KnownClosings
from streams.metrics import Metrics
from streams.partitions import Batch, OwnedPartition
from streams.reading import Reader, Rejection
from streams.scoring import Outcome
from streams.tables import PartitionTables

logger = logging.getLogger(__name__)

_SETBACKS = 5
_SETBACK_SECONDS = 0.05  # doubled with each setback in a row, so 3 s in all


class ReferenceTable(Protocol):
    """The directory, or the release states, as the worker uses them; ``streams.reference.ReferenceStore`` is it."""

    async def catch_up(self) -> None: ...
    async def refresh(self) -> bool: ...
    async def positions(self) -> Mapping[int, int]: ...


class Worker:
    """Applies batches of the partitions that it has claimed.

    Args:
        tables: where the aggregates are.
        serving: the generation to write.
        reader: from records to events.
        directory: the organizations.
        closings: which tests were closed when.
        releases: the release states, which the worker only keeps; None when another process does.
        reject: puts rejected records of a partition into their topic, and returns when they are acknowledged.
        log_ends: the end of the log of each of some partitions.
        committed: what Kafka remembers of those of some partitions that were applied before.
    """

    def __init__(
        self,
        *,
        tables: PartitionTables,
        serving: Callable[[], Awaitable[Generation]],
        reader: Reader,
        directory: ReferenceTable,
        closings: KnownClosings,
        reject: Callable[[Sequence[Rejection], int], Awaitable[None]],
        metrics: Metrics,
        log_ends: Callable[[Collection[int]], Awaitable[Mapping[int, int]]],
        clock: Clock,
        committed: Callable[[Collection[int]], Awaitable[Mapping[int, int]]] | None = None,
        releases: ReferenceTable | None = None,
    ) -> None:
        self._tables = tables
        self._serving = serving
        self._reader = reader
        self._directory = directory
        self._closings = closings
        self._kept = {ORGANIZATIONS: directory} | ({RELEASES: releases} if releases is not None else {})
        self._reject = reject
        self._metrics = metrics
        self._log_ends = log_ends
        self._clock = clock
        self._committed = committed
        self._accidents = Accidents(metrics.accidents)
        self._started = False
        self.applied = 0  # batches
        self._setbacks: Counter[int] = Counter()
        self._owned: dict[int, OwnedPartition] = {}
        self._displaced = False
        self._warned_of: Attribution | None = None

    async def positions(self, assigned: frozenset[TP]) -> Mapping[TP, int | None]:
        """Claim what was assigned, and say where to read on (None: from the start of the log).

        Called on every assignment, so also after every rebalance; a claim fences whoever had the partition.
        """
        if not self._started:
            for table in self._kept.values():
                await table.catch_up()
            self._started = True
        for table in self._kept.values():
            await table.refresh()
        generation = await self._serving()
        ends = await self._log_ends([tp.partition for tp in assigned if tp.topic == EXAM_RESULTS])
        kept = {topic: await table.positions() for topic, table in self._kept.items()}
        # Batches that still wait are of the assignment before; they come again from the positions that we are about to get.
        self._owned = {}
        owned: dict[int, OwnedPartition] = {}
        positions: dict[TP, int | None] = {}
        for tp in sorted(assigned):
            if tp.topic in kept:
                positions[tp] = kept[tp.topic].get(tp.partition)
            if tp.topic != EXAM_RESULTS:
                continue
            partition = await self._claim(generation, tp.partition, ends.get(tp.partition, 0))
            owned[tp.partition] = partition
            positions[tp] = partition.claim.position
        serving = await self._serving()
        if serving != generation:
            if any(partition.claim.position is not None for partition in owned.values()):
                return await self.positions(assigned)  # a rebuild put its tables in place meanwhile
            self._lost(generation, serving)
        self._compare_rules(generation)
        await self._tell_of_lost([n for n, partition in owned.items() if partition.claim.position is None])
        self._displaced = False
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
            return await self._claim_again(owned)
        except PositionMoved as error:
            logger.warning("batch out of order partition=%d error=%s", batch.partition, error)
            return await self._claim_again(owned)
        except AggregateUnderflow as error:
            # Rows that are read after Redis lost its tail, or by a zombie, do not fit shares that were read before. If they
            # never fit, the tables themselves are wrong.
            if self._setbacks[batch.partition] >= _SETBACKS:
                raise
            logger.warning("shares do not fit the rows partition=%d error=%s", batch.partition, error)
            return await self._claim_again(owned)
        self._setbacks.pop(batch.partition, None)
        self.applied += 1
        if decision is not None:
            self._count(batch, decision.outcomes, time.perf_counter() - started)
        return None

    async def report_progress(self, caught_up: frozenset[int], up_to_ms: int) -> Mapping[int, int]:
        """Partitions in ``caught_up`` have nothing unread from before ``up_to_ms``; returns where some must be read again."""
        again: dict[int, int] = {}
        now = dict(self._owned)
        for number in sorted(caught_up & now.keys()):
            owned = now[number]
            if self._owned.get(number) is not owned:
                continue  # revoked or claimed again while the one before was reported
            try:
                await owned.report_progress(up_to_ms)
            except PositionMoved as error:
                logger.warning("partition has moved partition=%d error=%s", number, error)
                seek_to = await self._claim_again(owned)
                if seek_to is not None:
                    again[number] = seek_to
        if self._owned:
            self._metrics.watermark.set(min(owned.complete_ms for owned in self._owned.values()) / 1000)
        return again

    async def displaced(self) -> bool:
        """Whether other tables serve than those we write: a rebuild put its own in place. ``positions`` takes them over."""
        if not self._owned and not self._displaced:
            return False
        serving = await self._serving()
        return self._displaced or any(o.keys.generation != serving for o in self._owned.values())

    def positions_now(self) -> dict[int, int]:
        """Next offset by owned partition."""
        return {number: owned.position for number, owned in self._owned.items()}

    async def _claim_again(self, owned: OwnedPartition) -> int | None:
        """Take a partition back that is still assigned to us; returns where to seek.

        None when a later claim of our own is the reason: its position is where the records come from again. A zombie that
        claimed late does this to us once. Again and again means that two workers believe they own it.
        """
        number = owned.number
        if self._owned.get(number) is not owned:
            return None
        self._setbacks[number] += 1
        if self._setbacks[number] > _SETBACKS:
            raise Fenced(
                f"partition {number} was lost {_SETBACKS} times in a row; is another worker assigned to it?"
            )
        await self._clock.sleep(_SETBACK_SECONDS * 2 ** self._setbacks[number])
        if self._owned.get(number) is not owned:
            return None
        # Should they be lost, readers are told that the tables are incomplete until they are where they were.
        again = await self._claim(owned.keys.generation, number, owned.claim.position or 0)
        # After the claim: whatever loses the pointer from now on loses the claim, too, and that is noticed.
        serving = await self._serving()
        before, now = owned.claim.position, again.claim.position
        if serving != owned.keys.generation:
            if now is None:
                self._lost(owned.keys.generation, serving)
            # Our tables are all there, and no longer serve. ``displaced`` says so to whoever can seek.
            self._displaced = True
            if self._owned.get(number) is owned:
                del self._owned[number]
            return None
        if before is not None and now is None:
            self._accidents.happened(Accident.TABLES_LOST, partition=number, was=before)
            raise TablesLost(
                f"Redis has lost the tables of partition {number}; it was at {owned.claim.position}. Starting again from the "
                "beginning of the log"
            )
        if before is not None and now is not None and now < before:
            # Rows, cells and position went back together, so reading on from there repeats exactly what was lost.
            self._accidents.happened(
                Accident.TABLES_ROLLED_BACK, **{"partition": number, "from": before, "to": now}
            )
        if self._owned.get(number) is not owned:
            return None
        again.start = owned.start
        self._owned[number] = again
        return again.position

    async def _tell_of_lost(self, empty: Collection[int]) -> None:
        """Tables may have been lost while no worker looked."""
        if empty and self._committed is not None:
            for number, offset in (await self._committed(empty)).items():
                self._accidents.happened(Accident.TABLES_LOST, partition=number, was=offset)

    def _lost(self, generation: Generation, serving: Generation) -> NoReturn:
        """Redis lost everything between the look at the pointer and the claim."""
        self._accidents.happened(Accident.TABLES_LOST, claimed=generation, serving=serving)
        raise TablesLost(
            f"Redis has lost the tables of generation {generation}; it serves {serving} now. Starting again with it"
        )

    def _compare_rules(self, generation: Generation) -> None:
        stored = how_made(generation).attribution
        if stored != self._reader.attribution and stored != self._warned_of:
            self._warned_of = stored
            logger.warning(
                "SCORES_ATTRIBUTION differs from the rule of the serving tables, which holds; `scores rebuild --attribution` "
                "switches setting=%s serving=%s generation=%s",
                self._reader.attribution,
                stored,
                generation,
            )

    async def _claim(self, generation: Generation, number: int, log_end: int = 0) -> OwnedPartition:
        keys = PartitionKeys(generation, PartitionId(number))

        async def reject(rejected: Sequence[Rejection]) -> None:
            await self._reject(rejected, number)

        claim = await self._tables.claim(keys, log_end=log_end)
        self._metrics.claims.inc()
        return OwnedPartition(
            number,
            keys,
            claim,
            tables=self._tables,
            reader=self._reader.under(how_made(generation).attribution),
            reject=reject,
            refresh_directory=self._directory.refresh,
            closings=self._closings,
            clock=self._clock,
            accidents=self._accidents,
        )

    def _count(self, batch: Batch, outcomes: Mapping[Outcome, int], seconds: float) -> None:
        metrics = self._metrics
        metrics.batches.inc()
        metrics.batch_records.observe(len(batch.records))
        metrics.apply_seconds.observe(seconds)
        for outcome, count in outcomes.items():
            metrics.events.labels(outcome.name.lower()).inc(count)
