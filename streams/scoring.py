"""What one exam event means for the aggregates: the pure rules of version, tombstone and "which exam counts".

The unit of state is a student's set of exams for one assessment and school year, nearly always of size one. The
student's contribution is a function of that set alone: of the live exams with a score the one with the greatest
(completed, version) counts; when it is reset or invalidated, the one before it counts again. So neither the order of
delivery nor repetition can matter, as long as each exam keeps its highest version and a reset leaves a tombstone.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.aggregates import CellField, Contribution
from schemas.identifiers import OrganizationId

LIVE, SCORED, UNDER_APPEAL = 1, 2, 4


class StoredExam(Struct, frozen=True, array_like=True, gc=False):
    """The latest known version of one exam; what is needed to retract it exactly, and no more.

    A tombstone (``state`` 0) keeps identity and version only, so that a late original cannot resurrect the exam.
    """

    exam: bytes  # 8 bytes that stand for (assessment id, opportunity id) among this student's exams
    status_us: int  # version, first part: status date in microseconds since 1970
    sequence: int  # version, second part: import sequence
    completed_us: int = 0
    state: int = 0  # LIVE | SCORED | UNDER_APPEAL
    school: int = 0  # CDS code as a number
    cell: str = ""  # cell field of the school: "2026:ELA-SUM:03"
    score: int = 0  # whole scale points; 0 unless SCORED
    slots: bytes = b""  # levels, as slots of the cell; empty unless SCORED


class Outcome(Enum):
    """What became of an event, from the usual to the alarming."""

    APPLIED = auto()  # first version, or a higher one than stored
    DUPLICATE = auto()  # the stored version again, same content
    STALE = auto()  # a lower version than stored
    CONTRADICTION = auto()  # the stored version again, other content: a producer's bug


class Placed(NamedTuple):
    """A contribution and where it belongs: the school's code as a number and the cell's field."""

    school: int
    cell: CellField
    part: Contribution


def supersede(stored: list[StoredExam], event: StoredExam) -> tuple[Outcome, list[StoredExam]]:
    """The student's exams after an event; the list given stays as it is."""
    if not stored:  # nearly always
        return Outcome.APPLIED, [event]
    for index, exam in enumerate(stored):
        if exam.exam != event.exam:
            continue
        if (exam.status_us, exam.sequence) > (event.status_us, event.sequence):
            return Outcome.STALE, stored
        if (exam.status_us, exam.sequence) == (event.status_us, event.sequence):
            return (Outcome.DUPLICATE if exam == event else Outcome.CONTRADICTION), stored
        return Outcome.APPLIED, [*stored[:index], event, *stored[index + 1 :]]
    return Outcome.APPLIED, [*stored, event]


def counting(exams: list[StoredExam]) -> Placed | None:
    """The contribution of a student's exams for one assessment and year; None when there is no live exam."""
    if len(exams) == 1:  # nearly always
        exam = exams[0]
        return placed(exam) if exam.state else None
    live = [exam for exam in exams if exam.state]
    return placed(max(live, key=_precedence)) if live else None


def placed(exam: StoredExam) -> Placed:
    """What a live exam adds, and where."""
    state = exam.state
    part = Contribution(exam.score if state & SCORED else None, exam.slots, bool(state & UNDER_APPEAL))
    return Placed(exam.school, CellField(exam.cell), part)


def _precedence(exam: StoredExam) -> tuple[int, int, int, int, bytes]:
    # Identity last: two exams may share everything else, and then any fixed choice will do.
    return exam.state & SCORED, exam.completed_us, exam.status_us, exam.sequence, exam.exam


def school_number(school: str) -> int:
    """A CDS code as the number that is stored."""
    return int(school)


def school_code(number: int) -> OrganizationId:
    """The CDS code of a stored number."""
    return OrganizationId(f"{number:014d}")


pack_exams: Final = msgspec.msgpack.Encoder().encode
unpack_exams: Final = msgspec.msgpack.Decoder(list[StoredExam]).decode
