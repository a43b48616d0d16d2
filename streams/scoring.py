"""What one exam event means for the aggregates: the pure rules of version, tombstone and "which exam counts".

The unit of state is a student's set of exams for one assessment and school year (a row, ``streams.rows``), nearly always of
size one. The student's contribution is a function of that set alone: of the live exams the one with the greatest (completed,
version) counts, a scored one before one without score; when it is reset or invalidated, the one before it counts again. So
neither the order of delivery nor repetition can matter, as long as each exam keeps its highest version and a reset leaves a
tombstone.
"""

from __future__ import annotations

from enum import Enum, auto

from streams.rows import (
    EXAM_BYTES,
    LIVE,
    LIVE_BYTES,
    TOMBSTONE_BYTES,
    Placed,
    Row,
    exams,
    placed,
    precedence,
    version,
)


class Outcome(Enum):
    """What became of an event, from the usual to the alarming."""

    APPLIED = auto()  # first version, or a higher one than stored
    DUPLICATE = auto()  # the stored version again, same content
    STALE = auto()  # a lower version than stored
    CONTRADICTION = auto()  # the stored version again, other content: a producer's bug


_ONE_EXAM = frozenset({LIVE_BYTES, TOMBSTONE_BYTES})


def supersede(stored: Row, event: Row) -> tuple[Outcome, Row]:
    """The student's exams after an event.

    Args:
        stored: the row so far; empty for a student without one.
        event: a row of one exam.
    """
    if not stored:  # nearly always
        return Outcome.APPLIED, event
    exam = exam_bytes(event)
    for start, end in exams(stored):
        if exam_bytes(stored, start) != exam:
            continue
        known, new = version(stored, start), version(event)
        if known > new:
            return Outcome.STALE, stored
        if known == new:
            same = stored[start:end] == event
            return (Outcome.DUPLICATE if same else Outcome.CONTRADICTION), stored
        return Outcome.APPLIED, stored[:start] + event + stored[end:]
    return Outcome.APPLIED, stored + event


def counting(row: Row) -> Placed | None:
    """The contribution of a student's exams for one assessment and year; None when there is no live exam."""
    if len(row) in _ONE_EXAM:  # nearly always
        return placed(row) if row[0] == LIVE else None
    found = counted_exam(row)
    return found[1] if found is not None else None


def counted_exam(row: Row) -> tuple[bytes, Placed] | None:
    """Which of a student's exams counts, by the bytes that stand for it, and what ``counting`` says of it."""
    live = [start for start, _ in exams(row) if row[start] == LIVE]
    if not live:
        return None
    start = max(live, key=lambda start: precedence(row, start))
    return exam_bytes(row, start), placed(row, start)


def exam_bytes(row: Row, start: int = 0) -> bytes:
    """The bytes that stand for the exam that begins at ``start``."""
    return row[start + 1 : start + 1 + EXAM_BYTES]
