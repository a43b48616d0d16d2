"""Every rejected record once, without its body: what was rejected, and what became of it since.

A million of them take about 300 MB. Bodies stay in Kafka; whoever needs them reads the records again by their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from sys import intern

from msgspec import Struct

from cli.rejected.records import RejectedRecord, Retried, subject, waits_for
from cli.rejected.selection import Selection
from schemas.rejections import coordinates_of
from schemas.topics import EXAM_RESULTS

# Details, schools and assessments repeat. Where a producer's faults are all different, the rest are left to ``show``.
_TEXTS_KEPT = 50_000


class Blocked(Struct, frozen=True, gc=False):
    """Why a record would be rejected again now."""

    reason: str
    waits_for: str | None
    detail: str


class Row(Struct, gc=False):
    """One record, at the place where it was last rejected."""

    reason: str
    detail: str
    time_ms: int
    partition: int  # of the rejected topic
    offset: int
    school: str | None
    assessment: str | None
    waits_for: str | None
    parked_import: str | None
    tombstone: bool
    retry_of: str | None
    blocked: Blocked | None
    retried_ms: int = 0  # 0: not retried


Judge = Callable[[RejectedRecord], Blocked | None]


class Index:
    """Rows by reference, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._texts: dict[str, str] = {}
        self._retried: dict[str, int] = {}

    def add(self, record: RejectedRecord | Retried, judge: Judge = lambda record: None) -> None:
        """Take in one record. The same coordinates again are the same rejection, seen twice after a crash or replay."""
        if isinstance(record, Retried):
            reference = record.origin.reference
            self._retried[reference] = max(record.time_ms, self._retried.get(reference, 0))
            return
        known = self.rows.get(record.reference)
        if known is None or known.time_ms <= record.time_ms:
            self.rows[record.reference] = self._row(record, judge)

    def finish(self) -> None:
        """Nothing more comes: note on the rows what was retried. A marker may stand anywhere in the topic."""
        for reference, time_ms in self._retried.items():
            row = self.rows.get(reference)
            if row is not None:
                row.retried_ms = time_ms

    def select(self, wanted: Selection) -> Iterator[tuple[str, Row]]:
        """The rows that are meant."""
        for reference, row in self.rows.items():
            if (wanted.retried or not row.retried_ms) and covers(wanted, reference, row):
                yield reference, row

    def _row(self, record: RejectedRecord, judge: Judge) -> Row:
        about = subject(record.stored.value)
        wanted = waits_for(record.reason, record.detail, about)
        return Row(
            reason=intern(record.reason),
            detail=self._kept(record.detail),
            time_ms=record.time_ms,
            partition=record.stored.partition,
            offset=record.stored.offset,
            school=about.school and self._kept(about.school),
            assessment=about.assessment and self._kept(about.assessment),
            waits_for=wanted and self._kept(wanted),
            parked_import=record.parked_import,
            tombstone=about.tombstone,
            retry_of=record.retry_of,
            blocked=judge(record),
        )

    def _kept(self, text: str) -> str:
        if len(self._texts) >= _TEXTS_KEPT and text not in self._texts:
            return "…"
        return self._texts.setdefault(text, text)


def covers(wanted: Selection, reference: str, row: Row) -> bool:
    """Whether the selection means this row, retried or not."""
    origin = coordinates_of(reference)
    if wanted.waits_for is not None and row.waits_for != wanted.waits_for:
        return False
    return wanted.covers(
        reference=reference,
        reason=row.reason,
        time_ms=row.time_ms,
        partition=origin.partition if origin.topic == EXAM_RESULTS else None,
        schools=(row.school, row.waits_for),
    )


def build_index(records: Iterable[RejectedRecord | Retried], judge: Judge = lambda record: None) -> Index:
    """The index of a whole topic."""
    index = Index()
    for record in records:
        index.add(record, judge)
    index.finish()
    return index
