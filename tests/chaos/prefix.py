"""What the tables of one partition must be at a given position: the recount of exactly that prefix of its log.

``Recount`` counts from scratch. To compare ten times a second with a log that grows, only the students of new records
are counted again, each from all of their records; when Redis loses the end of its log, the students of the records that
are undone. ``from_scratch`` counts everything again, and must agree: nothing here is trusted that it does not prove.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from cli.simulator.recount import CellId, CountedCell, Recount
from schemas.assessments import Registry
from schemas.events import ExamResult, decode_exam_result
from tests.chaos.log_reader import LoggedRecord, LogReader

_REFUSED = ("rejected", "contradiction")


class Prefix:
    """One partition's recount, moved to any position that the log reader has reached."""

    def __init__(self, log: LogReader, partition: int, registry: Registry, schools: Collection[str]) -> None:
        self.position = 0
        self.rejected: set[int] = set()  # offsets of records that must be in the rejected topic
        self.cells: dict[CellId, CountedCell] = {}
        self._log = log
        self._partition = partition
        self._registry = registry
        self._schools = frozenset(schools)
        self._students: defaultdict[str, list[LoggedRecord]] = defaultdict(list)

    def move_to(self, position: int) -> None:
        """Count, or undo, what lies between; the log must have been read so far."""
        forward = position > self.position
        stretch = self._log.between(
            self._partition, min(position, self.position), max(position, self.position)
        )
        by_student: defaultdict[str, list[LoggedRecord]] = defaultdict(list)
        for record in stretch:
            by_student[record.key].append(record)
        for student, some in by_student.items():
            known = self._students[student]
            self._shift(known, -1)
            if forward:
                known += some
            else:
                del known[len(known) - len(some) :]
            self._shift(known, +1)
            self.rejected -= {record.offset for record in some}
            self.rejected |= self._refused(known)
        self.position = position

    def from_scratch(self) -> dict[CellId, CountedCell]:
        """The same cells, counted without anything that was counted before."""
        recount = self._recount()
        for record in self._log.between(self._partition, 0, self.position):
            _add(recount, record)
        return recount.cells()

    def _recount(self) -> Recount:
        return Recount(self._registry, self._schools)

    def _shift(self, records: Iterable[LoggedRecord], sign: int) -> None:
        recount = self._recount()
        for record in records:
            _add(recount, record)
        for name, part in recount.cells().items():
            whole = self.cells.setdefault(name, CountedCell())
            _add_up(whole, part, sign)
            if not whole.results:
                del self.cells[name]

    def _refused(self, records: Iterable[LoggedRecord]) -> set[int]:
        recount, refused = self._recount(), set()
        for record in records:
            before = _refusals(recount)
            if not _add(recount, record) or _refusals(recount) > before:
                refused.add(record.offset)
        return refused


def merged(parts: Iterable[Mapping[CellId, CountedCell]]) -> dict[CellId, CountedCell]:
    """The partitions' shares, added up."""
    total: defaultdict[CellId, CountedCell] = defaultdict(CountedCell)
    for part in parts:
        for name, cell in part.items():
            _add_up(total[name], cell, +1)
    return dict(total)


def _decoded(value: bytes) -> ExamResult | None:
    try:
        return decode_exam_result(value)
    except msgspec.DecodeError:
        return None


def _add(recount: Recount, record: LoggedRecord) -> bool:
    event = _decoded(record.value)
    if event is None:
        return False
    recount.add(record.key, event)
    return True


def _refusals(recount: Recount) -> int:
    return sum(count for outcome, count in recount.outcomes.items() if outcome.startswith(_REFUSED))


def _add_up(whole: CountedCell, part: CountedCell, sign: int) -> None:
    whole.results += sign * part.results
    whole.with_scores += sign * part.with_scores
    whole.under_appeal += sign * part.under_appeal
    whole.score_sum += sign * part.score_sum
    whole.score_sum_sq += sign * part.score_sum_sq
    whole.levels = _added(whole.levels, part.levels, sign)
    for code, levels in part.claims.items():
        whole.claims[code] = _added(whole.claims.get(code, []), levels, sign)
    for score, count in part.histogram.items():
        whole.histogram[score] = whole.histogram.get(score, 0) + sign * count


def _added(whole: list[int], part: list[int], sign: int) -> list[int]:
    longer = [*whole, *[0] * (len(part) - len(whole))]
    for index, count in enumerate(part):
        longer[index] += sign * count
    return longer
