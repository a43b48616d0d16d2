"""Everything of one schedule in one place: log, store, processes, and the checks after each change of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from schemas.errors import Fenced, LogReplaced, PositionMoved, TablesLost
from schemas.keys import Attribution, PartitionKeys
from schemas.rejections import Reason
from simulation.faults import Faults
from simulation.log import FakeLog, LogRecord, OffsetOutOfRange
from simulation.node import Down, Node
from simulation.oracle import (
    NOTHING,
    CellName,
    Counted,
    ExamName,
    Tables,
    differences,
    recount,
    stored_exams,
    version_and_count,
)
from simulation.scheduling import Scheduler, turn
from simulation.store import FakeStore
from streams.engine import CellKey
from streams.tables import Change

# A worker may end with these; anything else is a fault of ours.
_EXPECTED = (Down, Fenced, PositionMoved, TablesLost, LogReplaced, OffsetOutOfRange)
_FOR_THE_OPERATOR = (LogReplaced, OffsetOutOfRange)


class Noted(NamedTuple):
    """What the checks know of a partition's tables; lost and rolled back together with them."""

    base: int  # where the log began for these tables
    parked: frozenset[int]  # offsets that were rejected because the directory did not have the school yet
    exams: dict[ExamName, tuple[tuple[int, int], bool]]
    cells: dict[CellName, Counted]
    versions: dict[CellName, int]


class World:
    """One schedule's state."""

    def __init__(
        self,
        rng: Random,
        *,
        partitions: int,
        workers: int,
        attribution: Attribution,
        store: FakeStore,
        trace: Callable[[str], None] | None,
    ) -> None:
        self.rng = rng
        self.attribution = attribution
        self.scheduler = Scheduler(rng)
        self.faults = Faults(rng)
        self.store = store
        self.logs: dict[str, FakeLog] = {}
        self.log = self.new_log(partitions)
        self.nodes = [Node(self, number) for number in range(workers)]
        self.directory_version = 1
        self.rejected: dict[tuple[str, int, int], tuple[Reason, LogRecord]] = {}
        self.retried: set[tuple[str, int, int]] = set()
        self.mismatches: list[str] = []
        self.operator_needed = False
        self.published_count = 0
        self._claimants: dict[str, Node] = {}
        self._expected: dict[tuple[str, int, int, frozenset[int], int], Tables] = {}
        self._trace = trace

    def new_log(self, partitions: int) -> FakeLog:
        """The topic, created or created again."""
        identity = f"cluster/topic-{len(self.logs)}"
        self.log = self.logs[identity] = FakeLog(partitions, self.rng, identity)
        return self.log

    def say(self, text: str) -> None:
        """One line of the trace, if somebody reads it."""
        if self._trace is not None:
            self._trace(f"{self.scheduler.steps:5} {text}")

    def mismatch(self, text: str) -> None:
        """Something that must never be."""
        self.mismatches.append(text)
        self.say(f"MISMATCH {text}")

    def failed(self, node: Node, error: BaseException) -> None:
        """A process met an exception and ends."""
        self.say(f"{node} fails: {type(error).__name__}: {error}")
        if not node.alive:
            return
        if not isinstance(error, _EXPECTED):
            self.mismatch(f"{node} met {type(error).__name__}: {error}")
        if isinstance(error, _FOR_THE_OPERATOR):
            self.operator_needed = True
        self.faults.counts["worker gave up"] += 1
        node.kill()

    async def arrive_late(self, request: Callable[[], object]) -> None:
        """What a dead process had sent reaches the store some time later; nobody waits for the answer."""
        for _ in range(self.rng.randint(1, 20)):
            await turn()
        try:
            request()
        except (Fenced, PositionMoved, LogReplaced) as refused:
            self.say(f"late request refused: {refused}")

    # The rejected topic.

    def put_rejected(self, node: Node, number: int, record: LogRecord, reason: Reason) -> None:
        """One record arrives in the rejected topic."""
        self.say(f"{node} rejects {number}:{record.offset} {reason}")
        log = self.log_of(record, number)
        if not self._may_be_rejected(record, reason):
            self.mismatch(f"{number}:{record.offset} was rejected as {reason}: {record.fact}")
        self.rejected[log.identity, number, record.offset] = (reason, record)

    def log_of(self, record: LogRecord, number: int) -> FakeLog:
        """The log that a record was consumed from."""
        if record.offset < self.log.partitions[number].end:
            found = self.log.prefix(number, record.offset, record.offset + 1)
            if found and found[0] is record:
                return self.log
        return next(iter(self.logs.values()))

    def _may_be_rejected(self, record: LogRecord, reason: Reason) -> bool:
        fact = record.fact
        if fact.reason is not None:
            return reason is fact.reason
        if reason is Reason.CONTRADICTION:
            return True  # whether it is one depends on the order; the recount knows
        return reason is Reason.UNKNOWN_ORGANIZATION and fact.late

    # What is published.

    def published(
        self,
        node: Node,
        keys: PartitionKeys,
        before: int | None,
        change: Change,
        shares: Mapping[CellKey, bytes],
        rejected: frozenset[int],
        starts: Mapping[int, int],
    ) -> None:
        """A batch was written: note what was, and compare the tables with the recount of the log up to there."""
        self.published_count += 1
        slot = self.store.slot(keys)
        number = _number(keys)
        if slot.log is None:
            self.mismatch(f"{node} wrote into {keys.position}, which nobody has claimed")
            return
        log = self.logs[slot.log]
        noted: Noted = slot.noted or Noted(starts.get(number, 0), frozenset(), {}, {}, {})
        parked = noted.parked
        if rejected:
            parked |= {
                record.offset
                for record in log.prefix(
                    number, noted.base if before is None else before, change.next_position
                )
                if record.offset in rejected and record.fact.late and self._was_parked(log, number, record)
            }
        exams = dict(noted.exams)
        for unit, row in change.rows.items():
            exams |= stored_exams(unit, row)
        cells, versions = dict(noted.cells), dict(noted.versions)
        for name in shares:
            version, cells[name] = version_and_count(*slot.cells[name])
            if version <= versions.get(name, 0):
                self.mismatch(f"{name} went from version {versions.get(name, 0)} to {version}")
            versions[name] = version
        slot.noted = Noted(noted.base, parked, exams, cells, versions)
        self.say(f"{node} wrote {number}: {before} to {slot.position}, {len(cells)} cells")
        self.check(keys)
        self.check_complete(keys)
        if not node.alive or number not in node.assigned:
            self.faults.counts["zombie"] += 1

    def _was_parked(self, log: FakeLog, number: int, record: LogRecord) -> bool:
        reason, _ = self.rejected[log.identity, number, record.offset]
        return reason is Reason.UNKNOWN_ORGANIZATION

    def check(self, keys: PartitionKeys) -> None:
        """The tables of a partition are those of its log up to the position that they name."""
        slot = self.store.slot(keys)
        noted: Noted = slot.noted
        number = _number(keys)
        expected = self.expected(slot.log or "", number, noted.base, noted.parked, slot.position or 0)
        exams = {name: (version, name in expected.live) for name, version in expected.exams.items()}
        if exams != noted.exams:
            self.mismatch(f"{keys.position} at {slot.position}: exams {noted.exams}, expected {exams}")
        found = {name: cell for name, cell in noted.cells.items() if cell != NOTHING}
        if found != expected.cells:
            lines = "\n".join(differences(expected.cells, found))
            self.mismatch(f"{keys.position} at {slot.position}:\n{lines}")

    def expected(
        self, identity: str, number: int, base: int, parked: frozenset[int], position: int
    ) -> Tables:
        """The recount of a partition's log from ``base`` up to ``position``."""
        name = (identity, number, base, parked, position)
        known = self._expected.get(name)
        if known is None:
            known = self._expected[name] = recount(
                record.fact
                for record in self.logs[identity].prefix(number, base, position)
                if record.fact.reason is None and record.offset not in parked
            )
        return known

    def check_complete(self, keys: PartitionKeys) -> None:
        """Nothing from before the time up to which a partition calls itself complete is still unread."""
        slot = self.store.slot(keys)
        if slot.position is None or slot.log is None:
            return
        number = _number(keys)
        log = self.logs[slot.log]
        rest = log.prefix(number, slot.position, log.partitions[number].end)
        if rest and rest[0].timestamp < slot.complete_ms:
            self.mismatch(
                f"{keys.position} at {slot.position} calls itself complete to {slot.complete_ms}, but "
                f"{rest[0].offset} is from {rest[0].timestamp}"
            )

    def counts(self) -> Counter[str]:
        """Faults by class, and what the store refused."""
        total = Counter(self.faults.counts)
        total["writes fenced"] = self.store.fenced
        total["positions moved"] = self.store.moved
        return total


def _number(keys: PartitionKeys) -> int:
    return int(keys.position.partition("}")[0].rpartition(".")[2])
