"""Exam rows: what Redis keeps of a student's exams for one assessment and school year, packed.

A row is its exams one after another, in order of first arrival, nearly always one. Packed, little-endian, without gaps:

    tombstone   u8 0x10 | 8 bytes exam | i64 status_us | u64 sequence                                          25 bytes
    live exam   u8 0x11 | 8 bytes exam | i64 status_us | u64 sequence
                i64 completed_us | u64 school and grade | u32 contribution                                     45 bytes

The first byte carries the layout (1) and whether the exam lives. Equal exams have equal bytes, so comparing two versions is
comparing bytes. A tombstone keeps identity and version only, so that a late original cannot resurrect the exam.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final

from schemas.aggregates import Contribution, is_scored
from schemas.errors import InvalidInput
from schemas.identifiers import GRADE_NUMBER, Grade, OrganizationId

Row = bytes
Placed = tuple[
    int, Contribution
]  # where a contribution belongs (school and grade, see ``place``), and what it adds

TOMBSTONE: Final = 0x10
LIVE: Final = 0x11
EXAM_BYTES: Final = 8
SUFFIX_BYTES: Final = 8

_LIVE: Final = struct.Struct("<B8sqQqQI")
_TOMBSTONE: Final = struct.Struct("<B8sqQ")
LIVE_BYTES: Final = _LIVE.size
TOMBSTONE_BYTES: Final = _TOMBSTONE.size
_VERSION: Final = struct.Struct("<qQ")
_VERSION_AT: Final = 1 + EXAM_BYTES
_PRECEDENCE: Final = struct.Struct("<qQq")
_PLACED: Final = struct.Struct("<QI")
_PLACED_AT: Final = LIVE_BYTES - _PLACED.size

_SCHOOL_BITS: Final = 48  # 14 digits need 47
_SCHOOL_MASK: Final = (1 << _SCHOOL_BITS) - 1

pack_live: Final = _LIVE.pack
pack_tombstone: Final = _TOMBSTONE.pack


def exam_ids(assessment_id: str) -> Callable[[str], bytes]:
    """What makes, of an opportunity's id, the 8 bytes that stand for an exam among its student's.

    A student has some dozens of exams, so two of them share these bytes less often than once in 10^16 students.
    """
    begun = blake2b(f"{assessment_id}\0".encode(), digest_size=EXAM_BYTES)

    def exam_id(opportunity_id: str) -> bytes:
        digest = begun.copy()
        digest.update(opportunity_id.encode())
        return digest.digest()

    return exam_id


def unit_suffix(school_year: int, test: str, grade: str, *, canary: bool = False) -> bytes:
    """The 8 bytes that stand for test, year and first grade in a row's name; a canary's exams have a row of their own.

    Two of one student's tests share them less often than once in 10^16 students, as with ``exam_id``.
    """
    kind = "canary:" if canary else ""
    return blake2b(f"{kind}{school_year}:{test}:{grade}".encode(), digest_size=SUFFIX_BYTES).digest()


def place(school: str, grade: Grade) -> int:
    """School and grade as one number."""
    return int(school) | GRADE_NUMBER[grade] << _SCHOOL_BITS


def school_code(number: int) -> OrganizationId:
    """The CDS code of a school number."""
    return OrganizationId(f"{number:014d}")


def grade_number(number: int) -> int:
    """The grade of a place, as its index in ``GRADES``."""
    return number >> _SCHOOL_BITS


def school_number(number: int) -> int:
    """The school's CDS code of a place, as a number."""
    return number & _SCHOOL_MASK


def exams(row: Row) -> Iterator[tuple[int, int]]:
    """Where each exam of a row begins and ends.

    Raises:
        InvalidInput: the row is of another layout; rebuild the tables.
    """
    start, end = 0, len(row)
    while start < end:
        state = row[start]
        if state != LIVE and state != TOMBSTONE:
            raise InvalidInput(
                f"an exam row has layout {state:#04x}; expected {TOMBSTONE:#04x} or {LIVE:#04x}. Rebuild the tables"
            )
        after = start + (LIVE_BYTES if state == LIVE else TOMBSTONE_BYTES)
        yield start, after
        start = after


def version(row: Row, start: int = 0) -> tuple[int, int]:
    """Status date in microseconds since 1970 and import sequence of the exam that begins at ``start``."""
    return _VERSION.unpack_from(row, start + _VERSION_AT)


def placed(row: Row, start: int = 0) -> Placed:
    """What the live exam at ``start`` adds, and where."""
    return _PLACED.unpack_from(row, start + _PLACED_AT)


def precedence(row: Row, start: int) -> tuple[bool, int, int, int, bytes]:
    """Which of a student's live exams counts: the greatest. Scored first, then by (completed, version)."""
    status_us, sequence, completed_us = _PRECEDENCE.unpack_from(row, start + _VERSION_AT)
    # Identity last: two exams may share everything else, and then any fixed choice will do.
    exam = row[start + 1 : start + 1 + EXAM_BYTES]
    return is_scored(placed(row, start)[1]), completed_us, status_us, sequence, exam
