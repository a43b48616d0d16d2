"""Workers moved one batch at a time, on either store: what the stateful machine and some directed tests drive.

No interleaving within a batch here; that is the schedules' business. What is here runs on a real Redis, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Final, Literal

from faust.types import TP

from schemas import closings
from schemas.aggregates import CellField
from schemas.errors import Fenced, TablesLost
from schemas.events import ClosingEntry
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import LAYOUT, Generation, PartitionKeys
from schemas.shares import Share
from schemas.topics import EXAM_RESULTS
from simulation.backends import Backend
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.closing import was_closed
from simulation.history import Event, Fact
from simulation.log import FakeLog, LogRecord
from simulation.node import shared_metrics
from simulation.oracle import NOTHING, CellName, counted, differences, recount, stored_exams
from streams.closings import KnownClosings
from streams.engine import CellKey
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.rows import Row, unit_suffix
from streams.tables import Change, Claim, PartitionTables
from streams.worker import Worker

GENERATION: Final = Generation(f"g1-{LAYOUT}-current")
Crash = Literal["before the write", "after the write", "while rejecting"]


class Crashed(Exception):
    """The process ended here."""


class Mismatch(AssertionError):
    """The store does not hold what its log amounts to."""


class Driver:
    """A log, a store and some workers; each method is one thing that happens."""

    def __init__(self, backend: Backend, *, partitions: int, workers: int) -> None:
        self.backend = backend
        self.log = FakeLog(partitions, Random(0), "cluster/topic")
        self.changes: list[closings.Change] = []  # the closings topic
        self.rejected: dict[tuple[int, int], bytes] = {}
        self.processes = [Process(self) for _ in range(workers)]
        self.clock = _Clock()

    def produce(self, event: Event) -> LogRecord:
        """Append an event to its partition."""
        return self.log.append(event, self.clock.now_ms())

    def change_closing(self, entry: ClosingEntry) -> None:
        """Append to the closings topic."""
        self.changes.append(closings.Change(entry, self.clock.now_ms()))

    async def assign(self, number: int, partitions: Iterable[int]) -> None:
        """A worker is assigned these partitions; the others are not told."""
        await self.processes[number].assign(frozenset(partitions))

    async def deliver(self, number: int, partition: int, most: int, crash: Crash | None = None) -> None:
        """A worker fetches and applies up to so many records of a partition, wherever it believes to stand."""
        await self.processes[number].deliver(partition, most, crash)

    async def check(self, parked: Collection[tuple[int, int]] = ()) -> None:
        """Compare rows and cells of every partition with the recount of its log up to the stored position.

        Raises:
            Mismatch: they differ; every cell that does is named.
        """
        tables = self.backend.tables()
        for number, partition in enumerate(self.log.partitions):
            keys = PartitionKeys(GENERATION, PartitionId(number))
            records = self.log.prefix(number, 0, await self.backend.position(keys) or 0)
            expected = recount(
                record.fact
                for record in records
                if record.fact.reason is None
                and (number, record.offset) not in parked
                and not was_closed(self.changes, record)
            )
            units, cells = _names(record.fact for record in partition.records)
            rows = await tables.read_rows(keys, units)
            exams = {
                name: found for unit, row in rows.items() for name, found in stored_exams(unit, row).items()
            }
            if exams != {name: (version, name in expected.live) for name, version in expected.exams.items()}:
                raise Mismatch(f"partition {number}: exams {exams}, expected {expected.exams}")
            shares = await tables.read_shares(keys, cells)
            found = {(str(name[0]), str(name[1])): counted(share.totals()) for name, share in shares.items()}
            wrong = differences(
                expected.cells, {name: cell for name, cell in found.items() if cell != NOTHING}
            )
            if wrong:
                raise Mismatch(f"partition {number} up to {len(records)} records:\n" + "\n".join(wrong))

    async def settle(self) -> None:
        """Everything works again: one worker takes all, reads to the end, and nothing is missing."""
        for process in self.processes:
            process.restart()
        await self.assign(0, range(len(self.log.partitions)))
        for number in range(len(self.log.partitions)):
            for _ in range(1_000):
                keys = PartitionKeys(GENERATION, PartitionId(number))
                if (await self.backend.position(keys) or 0) >= self.log.last(number):
                    break
                await self.deliver(0, number, 10)
            else:
                raise Mismatch(f"partition {number} does not reach the end of its log")
        await self.check()
        self._check_nothing_vanished()

    def _check_nothing_vanished(self) -> None:
        for number, partition in enumerate(self.log.partitions):
            newest: dict[tuple[str, bytes], Fact] = {}
            for record in partition.records:
                fact = record.fact
                if was_closed(self.changes, record):
                    if self.rejected.get((number, record.offset)) != record.value:
                        raise Mismatch(f"{number}:{record.offset} came while its test was closed: {fact}")
                    continue
                known = newest.get((fact.student, fact.exam))
                contradicts = known is not None and known.version == fact.version and known != fact
                if fact.reason is None and (known is None or fact.version > known.version):
                    newest[fact.student, fact.exam] = fact
                if (fact.reason is not None or contradicts) and self.rejected.get(
                    (number, record.offset)
                ) != record.value:
                    raise Mismatch(f"{number}:{record.offset} is neither applied nor rejected: {fact}")


class Process:
    """One worker and where it reads."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.restart()

    def restart(self) -> None:
        """A fresh process without partitions."""
        self.assigned: frozenset[int] = frozenset()
        self.knows_late_school = True
        self._fetched_to: dict[int, int] = {}
        self._crash: Crash | None = None
        self._changes_read = 0
        self._tables = _Crashing(self, self._driver.backend.tables())
        shared = cast()
        self.worker = Worker(
            tables=self._tables,
            serving=self._serving,
            reader=Reader(shared.registry, shared.pseudonyms, self._is_school),
            directory=_Directory(),
            closings=KnownClosings(self._read_changes),
            reject=self._reject,
            metrics=shared_metrics(),
            log_ends=self._log_ends,
            clock=_Clock(),
        )

    async def assign(self, partitions: frozenset[int]) -> None:
        """Claim, and read on from there."""
        self.assigned = partitions
        positions = await self.worker.positions(frozenset(TP(EXAM_RESULTS, number) for number in partitions))
        starts = {tp: offset or 0 for tp, offset in positions.items()}
        self.worker.sought(starts)
        self._fetched_to = {tp.partition: offset for tp, offset in starts.items()}

    async def deliver(self, number: int, most: int, crash: Crash | None) -> None:
        """One batch; the process starts again when it cannot go on."""
        start = self._fetched_to.get(number)
        if start is None:
            return
        records = self._driver.log.fetch(number, start, most)
        if not records:
            return
        batch = Batch(EXAM_RESULTS, number, start, records)
        self._fetched_to[number] = batch.next
        self._crash = crash
        try:
            seek_to = await self.worker.apply(batch)
        except (Crashed, TablesLost, Fenced):
            self.restart()
            return
        finally:
            self._crash = None
        if seek_to is not None:
            self._fetched_to[number] = seek_to

    def lose_batch(self, number: int, most: int) -> None:
        """Some records are fetched and never arrive."""
        start = self._fetched_to.get(number)
        if start is not None and (records := self._driver.log.fetch(number, start, most)):
            self._fetched_to[number] = records[-1].offset + 1

    def rewind(self, number: int, by: int) -> None:
        """Fetch some offsets again."""
        if number in self._fetched_to:
            self._fetched_to[number] = max(0, self._fetched_to[number] - by)

    async def report_progress(self) -> None:
        """The timer; also how an idle worker hears of a loss."""
        now = self.worker.positions_now()
        caught_up = {number for number, at in now.items() if at >= self._driver.log.last(number)}
        try:
            seeks = await self.worker.report_progress(frozenset(caught_up), self._driver.clock.now_ms())
        except (TablesLost, Fenced):
            self.restart()
            return
        self._fetched_to |= seeks

    def crash_if(self, when: Crash) -> None:
        """End here, if that was asked for."""
        if self._crash == when:
            raise Crashed(when)

    def _is_school(self, code: str) -> bool:
        return code in SCHOOLS or (code == LATE_SCHOOL and self.knows_late_school)

    async def _serving(self) -> Generation:
        return GENERATION

    async def _read_changes(self) -> Sequence[closings.Change]:
        start, self._changes_read = self._changes_read, len(self._driver.changes)
        return self._driver.changes[start:]

    async def _log_ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {number: self._driver.log.last(number) for number in partitions}

    async def _reject(self, rejections: Sequence[Rejection], number: int) -> None:
        for rejection in rejections:
            self.crash_if("while rejecting")
            self._driver.rejected[number, rejection.record.offset] = rejection.record.value or b""


class _Crashing:
    """Tables of a process that may end just before or just after a write."""

    def __init__(self, process: Process, tables: PartitionTables) -> None:
        self._process = process
        self._tables = tables

    async def claim(self, keys: PartitionKeys, *, log_end: int = 0) -> Claim:
        return await self._tables.claim(keys, log_end=log_end)

    async def read_rows(self, keys: PartitionKeys, units: Collection[bytes]) -> dict[bytes, Row]:
        return await self._tables.read_rows(keys, units)

    async def read_shares(self, keys: PartitionKeys, cells: Iterable[CellKey]) -> dict[CellKey, Share]:
        return await self._tables.read_shares(keys, cells)

    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        self._process.crash_if("before the write")
        await self._tables.apply(keys, claim, change)
        self._process.crash_if("after the write")

    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        await self._tables.report_progress(keys, claim, complete_ms)


class _Directory:
    """Knows all there is from the start."""

    async def catch_up(self) -> None:
        pass

    async def refresh(self) -> bool:
        return False

    async def positions(self) -> Mapping[int, int]:
        return {}


class _Clock:
    """Nobody waits; time passes with every look."""

    def __init__(self) -> None:
        self._now_ms = 1_780_000_000_000

    def now_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        self._now_ms += int(seconds * 1000)

    def pass_time(self, milliseconds: int) -> None:
        """Nothing happens for so long."""
        self._now_ms += milliseconds


def _names(facts: Iterable[Fact]) -> tuple[list[bytes], list[CellKey]]:
    """The names of all rows and cells that these events can touch."""
    units: set[bytes] = set()
    cells: set[CellName] = set()
    for fact in facts:
        year, test, grade = fact.unit.split(":")
        units.add(bytes.fromhex(fact.student) + unit_suffix(int(year), test, grade))
        school = fact.school
        if school:
            chain = (school, school[:7] + "0" * 7, school[:2] + "0" * 12, "0" * 14)
            cells |= {(organization, fact.cell) for organization in chain}
    return sorted(units), [(OrganizationId(name), CellField(field)) for name, field in sorted(cells)]
