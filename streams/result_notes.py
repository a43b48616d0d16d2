"""Which exams of a batch are news to those who hold an earlier result: rescored ones, and those that count no more.

Pure. A note is of the exam that counted before the batch, and of the event that changed it:

- *rescored*: the same exam counts, with another score or other levels, at the school where it counts now;
- *invalidated*: no exam of the student, test and year counts any more, at the school where it did. Resets and withdrawn scores
  are that, too.

Rows do not tell an exam's identifiers, the event does; it is decoded once more for that, which only noted ones pay for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.aggregates import is_scored, same_result
from schemas.changes import ResultNote
from streams.reading import Incoming
from streams.rows import Placed, Row, school_code, school_number
from streams.scoring import counted_exam, exam_bytes


class _Identified(Struct, frozen=True):
    assessment_id: str
    opportunity_id: str
    school_year: int
    status_date: str


_decode: Final = msgspec.json.Decoder(_Identified).decode


def note_on(before: Row, after: Row, events: Sequence[Incoming]) -> ResultNote | None:
    """The note on a student's exams for one assessment and year; None when there is nothing to say.

    Args:
        before: as stored; ``after``: as it will be.
        events: what was applied in between, in log order.
    """
    counted, counts = _scored(before), _scored(after)
    if counted is None:
        return None
    exam, (was_at, was) = counted
    if counts is None:
        return _note("invalidated", was_at, exam, events)
    same, (is_at, now) = counts
    if same != exam or same_result(was, now):
        return None
    return _note("rescored", is_at, exam, events)


def _scored(row: Row) -> tuple[bytes, Placed] | None:
    found = counted_exam(row)
    return found if found is not None and is_scored(found[1][1]) else None


def _note(
    kind: Literal["rescored", "invalidated"], at: int, exam: bytes, events: Sequence[Incoming]
) -> ResultNote:
    # There is one: what an exam adds is in its own bytes, and only its own events change those.
    event = [incoming for incoming in events if exam_bytes(incoming.exam) == exam][-1]
    named = _decode(event.record.value or b"")
    return ResultNote(
        event.record.offset,
        kind,
        school_code(school_number(at)),
        named.assessment_id,
        named.opportunity_id,
        named.school_year,
        named.status_date,
    )
