"""One owned partition of the results topic: its claim, the shares it keeps, and how a batch is applied to it.

Anything unexpected throws the whole object away, and the next claim starts from what Redis has.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import AppliedAlready, BatchTooLarge, PositionMoved
from schemas.keys import PartitionKeys
from schemas.rejections import Reason
from schemas.shares import Share
from streams.accidents import Accident, Accidents
from streams.clock import Clock
from streams.closings import KnownClosings, park_closed
from streams.engine import CellKey, Decision, add_up, decide
from streams.kept_shares import KeptShares
from streams.newcomers import Newcomers
from streams.reading import Incoming, Record, Rejection
from streams.rows import Row
from streams.tables import Change, Claim, PartitionTables

logger = logging.getLogger(__name__)

Reject = Callable[[Sequence[Rejection]], Awaitable[None]]
RefreshDirectory = Callable[[], Awaitable[bool]]


class ReadsRecords(Protocol):
    """What a partition asks of ``streams.reading.Reader``."""

    def read(self, record: Record) -> Incoming | Rejection: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    ``start`` is where they were fetched from (the end of the batch before, or a seek), not the first record's offset:
    offsets may have gaps, a lost batch must not. ``fetch`` tells the fetcher before or after which seek that was.
    """

    topic: str
    partition: int
    start: int
    records: Sequence[Record]
    fetch: int = 0

    @property
    def next(self) -> int:
        """The offset after the last record."""
        return self.records[-1].offset + 1

    def after(self, position: int) -> Batch:
        """What of it is not applied yet when the partition stands at ``position``."""
        rest = [record for record in self.records if record.offset >= position]
        return Batch(self.topic, self.partition, position, rest)

    def before(self, offset: int) -> Batch:
        """What of it comes before ``offset``."""
        rest = [record for record in self.records if record.offset < offset]
        return Batch(self.topic, self.partition, self.start, rest)

    def joined(self, following: Batch, at_most: int) -> Batch | None:
        """The two as one; None when that would be too large, or something lies between them."""
        if len(self.records) + len(following.records) > at_most:
            return None
        if (following.start, following.fetch) != (self.next, self.fetch):
            return None
        records = [*self.records, *following.records]
        return Batch(self.topic, self.partition, self.start, records, self.fetch)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches of about as many records, one following the other."""
        middle = len(self.records) // 2
        first = Batch(self.topic, self.partition, self.start, self.records[:middle])
        return first, Batch(self.topic, self.partition, first.next, self.records[middle:])


class OwnedPartition:
    """The partition's single writer, for as long as its claim holds."""

    def __init__(
        self,
        number: int,
        keys: PartitionKeys,
        claim: Claim,
        *,
        tables: PartitionTables,
        reader: ReadsRecords,
        reject: Reject,
        refresh_directory: RefreshDirectory,
        closings: KnownClosings,
        clock: Clock,
        accidents: Accidents,
    ) -> None:
        self.number = number
        self.keys = keys
        self.claim = claim
        self.start = claim.position or 0  # until something is applied: where the log begins
        self.complete_ms = 0
        self._tables = tables
        self._reader = reader
        self._reject = reject
        self._refresh_directory = refresh_directory
        self._closings = closings
        self._clock = clock
        self._accidents = accidents
        empty = claim.position is None
        self._newcomers = Newcomers() if empty else None
        self._shares = KeptShares(self._read_shares, tables_empty=empty)

    @property
    def position(self) -> int:
        """The next offset to apply."""
        return self.start if self.claim.position is None else self.claim.position

    async def apply(self, batch: Batch) -> Decision | None:
        """Apply a batch; None when all of it was applied before.

        1. Leave out what is already applied. 2. Read, park what came while its test was closed, and decide. 3. Rejected records reach their topic and are
        acknowledged. 4. One script writes rows, shares, notice and position. The order of 3 and 4 is the guarantee
        that nothing vanishes: a crash in between rejects the same records once more, with the same coordinates.

        Raises:
            PositionMoved: records between the position and this batch are missing.
            Fenced: another worker owns the partition now.
        """
        position = self.position
        if batch.start < position:
            batch = batch.after(position)
            if not batch.records:
                return None
        if batch.start > position:
            raise PositionMoved(
                f"{batch.topic}/{batch.partition} stands at {position}, but the next batch starts at {batch.start}"
            )
        closings = await self._closings.up_to(batch.records[-1].timestamp)
        incoming, rejected = await self._read(batch)
        if closings:
            incoming, parked = park_closed(incoming, closings)
            rejected += parked
        decision = decide(incoming, await self._stored_rows(incoming))
        decision.rejected[:0] = rejected
        if decision.rejected:
            await self._reject(decision.rejected)
        chains = await self._shares.chains(decision.added, decision.retracted)
        shares = add_up(decision, chains)
        # Not beyond now: a producer's clock may be ahead, where the broker does not set the time itself.
        complete_ms = max(self.complete_ms, min(batch.records[-1].timestamp, self._clock.now_ms()))
        change = Change(batch.next, complete_ms, decision.rows, shares, decision.notes)
        try:
            await self._tables.apply(self.keys, self.claim, change)
        except AppliedAlready:
            self._accidents.happened(Accident.ANSWER_LOST, partition=self.number, position=batch.next)
        except BatchTooLarge as error:
            return await self._apply_in_parts(batch, error)
        self.claim = self.claim._replace(position=batch.next)
        self.complete_ms = complete_ms
        return decision

    async def _apply_in_parts(self, batch: Batch, error: BatchTooLarge) -> Decision:
        """Each part is written whole, and the position between them is as good as any.

        What the batch rejects is rejected once more, with the same coordinates.
        """
        if len(batch.records) == 1:
            raise error
        self._accidents.happened(
            Accident.BATCH_SPLIT, partition=self.number, records=len(batch.records), error=error
        )
        # What was added up in memory was not written.
        self._newcomers = None
        self._shares = KeptShares(self._read_shares, tables_empty=False)
        done = Decision()
        for part in batch.halves():
            decision = await self.apply(part)
            if decision is not None:
                done.outcomes.update(decision.outcomes)
        return done

    async def report_progress(self, complete_ms: int) -> None:
        """Nothing more has arrived up to ``complete_ms``.

        Raises:
            PositionMoved: Redis has lost what we wrote.
        """
        if complete_ms > self.complete_ms:
            await self._tables.report_progress(self.keys, self.claim, complete_ms)
            self.complete_ms = complete_ms

    async def _read(self, batch: Batch) -> tuple[list[Incoming], list[Rejection]]:
        read = self._reader.read
        results = [read(record) for record in batch.records]
        # The school may have been loaded a moment ago: look once before rejecting.
        if _unknown_school(results) and await self._refresh_directory():
            results = [read(record) for record in batch.records]
        rejected = [result for result in results if type(result) is Rejection]
        return [result for result in results if type(result) is Incoming], rejected

    async def _read_shares(self, cells: Iterable[CellKey]) -> Mapping[CellKey, Share]:
        return await self._tables.read_shares(self.keys, cells)

    async def _stored_rows(self, incoming: Sequence[Incoming]) -> dict[bytes, Row]:
        units = {event.unit for event in incoming}
        asked = units if self._newcomers is None else self._newcomers.perhaps_stored(units)
        return await self._tables.read_rows(self.keys, asked) if asked else {}


def _unknown_school(results: Iterable[Incoming | Rejection]) -> bool:
    rejected = [result for result in results if type(result) is Rejection]
    return any(rejection.reason is Reason.UNKNOWN_ORGANIZATION for rejection in rejected)
