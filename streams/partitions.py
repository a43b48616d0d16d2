"""One owned partition of the results topic: its claim, its cached cells, and how a batch is applied to it.

The cache is right because there is one writer: while the claim holds, nobody else can change these cells. Anything
unexpected throws the whole object away, and the next claim starts from what Redis has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from schemas.aggregates import Cell
from schemas.errors import PositionMoved
from schemas.identifiers import StudentKey
from schemas.keys import PartitionKeys
from schemas.rejections import Reason
from streams.engine import CellKey, Decision, add_up, decide, touched
from streams.reading import Incoming, Reader, Record, Rejection
from streams.tables import Claim, Tables

logger = logging.getLogger(__name__)

# About 1 kB each in memory. Below the number of cells that a burst touches, every batch would read its cells again.
CELLS_CACHED = 50_000

Reject = Callable[[Sequence[Rejection]], Awaitable[None]]
RefreshDirectory = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    ``start`` is where they were fetched from (the end of the batch before, or a seek), not the first record's offset:
    offsets may have gaps, a lost batch must not.
    """

    topic: str
    partition: int
    start: int
    records: Sequence[Record]

    @property
    def next(self) -> int:
        """The offset after the last record."""
        return self.records[-1].offset + 1

    def after(self, position: int) -> Batch:
        """What of it is not applied yet when the partition stands at ``position``."""
        rest = [record for record in self.records if record.offset >= position]
        return Batch(self.topic, self.partition, position, rest)


class OwnedPartition:
    """The partition's single writer, for as long as its claim holds."""

    def __init__(
        self,
        number: int,
        keys: PartitionKeys,
        claim: Claim,
        *,
        tables: Tables,
        reader: Reader,
        reject: Reject,
        refresh_directory: RefreshDirectory,
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
        self._cells: dict[CellKey, Cell] = {}

    @property
    def position(self) -> int:
        """The next offset to apply."""
        return self.start if self.claim.position is None else self.claim.position

    async def apply(self, batch: Batch) -> Decision | None:
        """Apply a batch; None when all of it was applied before.

        1. Leave out what is already applied. 2. Read and decide. 3. Rejected records reach their topic and are
        acknowledged. 4. One script writes rows, cells, notice and position. The order of 3 and 4 is the guarantee
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
        incoming, rejected = await self._read(batch)
        units = {event.unit: StudentKey(event.student) for event in incoming}
        decision = decide(incoming, await self._tables.read_exams(self.keys, units))
        decision.rejected[:0] = rejected
        if decision.rejected:
            await self._reject(decision.rejected)
        cells = await self._cells_for(touched(decision))
        add_up(decision, cells)
        # Not beyond now: a producer's clock may be ahead, where the broker does not set the time itself.
        complete_ms = max(self.complete_ms, min(batch.records[-1].timestamp, int(time.time() * 1000)))
        await self._tables.apply(
            self.keys,
            self.claim,
            next_position=batch.next,
            complete_ms=complete_ms,
            decision=decision,
            cells=cells,
        )
        self.claim = Claim(self.claim.epoch, batch.next)
        self.complete_ms = complete_ms
        return decision

    async def report_progress(self, complete_ms: int) -> None:
        """Nothing more has arrived up to ``complete_ms``."""
        if complete_ms > self.complete_ms:
            await self._tables.report_progress(self.keys, self.claim, complete_ms)
            self.complete_ms = complete_ms

    async def _read(self, batch: Batch) -> tuple[list[Incoming], list[Rejection]]:
        read = self._reader.read
        results = [read(record) for record in batch.records]
        unknown = any(
            type(result) is Rejection and result.reason is Reason.UNKNOWN_ORGANIZATION for result in results
        )
        # The school may have been loaded a moment ago: look once before rejecting.
        if unknown and await self._refresh_directory():
            results = [read(record) for record in batch.records]
        incoming = [result for result in results if type(result) is Incoming]
        rejected = [result for result in results if type(result) is Rejection]
        return incoming, rejected

    async def _cells_for(self, names: set[CellKey]) -> dict[CellKey, Cell]:
        cached = self._cells
        missing = [name for name in names if name not in cached]
        if missing:
            if len(cached) + len(missing) > CELLS_CACHED:
                cached.clear()
                missing = list(names)
            cached.update(await self._tables.read_cells(self.keys, missing))
        return {name: cached[name] for name in names}
