"""Whose an exam has ever been, so that a corrected student identifier leaves nothing behind.

An exam moves to another Kafka key when the student's identifier (or the school year) is corrected; the old key must get
a tombstone. Imports of one exam may run at the same time, and out of order, so each does two things:

1. Before producing it *claims* the exam: its holder joins the history. Holders that were there get a tombstone of this
   version, ahead of the state.
2. After Kafka's acknowledgement it *confirms* its version: the history keeps the highest one and its holder. Holders
   that joined in between, or this import's own holder when a higher version stands under another, get a tombstone of
   that highest version.

Whoever confirms last sees all holders; so at rest the exam is live under at most one, that of the highest version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from schemas.canary import names_canary
from schemas.events import ExamResult
from schemas.identifiers import StudentKey, is_canary

# Redis keeps a hash compactly while it has at most 128 fields: 10 million exams are 76 a bucket.
_BUCKETS: Final = 131_072
_VERSION: Final = struct.Struct(">QQ")
_HOLDER: Final = struct.Struct(">12sH")
_HEAD_BYTES: Final = _VERSION.size + _HOLDER.size
# Status dates count from the year 1 here, so that none is negative.
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Holder(NamedTuple):
    """Under what an exam's states are kept: a student's pseudonym and a school year."""

    student: StudentKey
    school_year: int

    def packed(self) -> bytes:
        """14 bytes, as the scripts have it."""
        return _HOLDER.pack(bytes.fromhex(self.student), self.school_year)


class Version(NamedTuple):
    """The order of an exam's states."""

    status_date: datetime
    sequence: int

    def packed(self) -> bytes:
        """16 bytes that sort like the version."""
        return _VERSION.pack((self.status_date - _BEGINNING) // _MICROSECOND, self.sequence)


@dataclass(frozen=True, slots=True)
class History:
    """All holders of an exam, and its highest confirmed version with its holder."""

    holders: tuple[Holder, ...]
    newest: tuple[Version, Holder] | None = None

    @classmethod
    def unpack(cls, packed: bytes) -> History:
        """From the bytes that the scripts answer with."""
        micros, sequence = _VERSION.unpack_from(packed)
        newest = None
        if sequence:
            version = Version(_BEGINNING + micros * _MICROSECOND, sequence)
            newest = (version, _holder(packed, _VERSION.size))
        return cls(tuple(_holder(packed, at) for at in range(_HEAD_BYTES, len(packed), _HOLDER.size)), newest)


class ExamClaim(NamedTuple):
    """One exam about to be produced: which, under whom, in which version."""

    exam: bytes  # digest of its identity, 12 bytes
    holder: Holder
    version: Version

    @property
    def key(self) -> str:
        """The Redis hash that holds the exam's history."""
        return f"scores:imports:exams:{int.from_bytes(self.exam[:4], 'big') % _BUCKETS}"


def exam_claim(event: ExamResult, student: StudentKey) -> ExamClaim:
    """What an event claims. A canary's exam is another than the one of the same name that is none."""
    canary = "\0canary" if names_canary(event.school, event.tested_school) else ""
    identity = f"{event.assessment_id}\0{event.opportunity_id}{canary}".encode()
    return ExamClaim(
        blake2b(identity, digest_size=12).digest(),
        Holder(student, event.school_year),
        Version(event.status_date, event.sequence),
    )


def tombstones_before(claim: ExamClaim, history: History) -> Iterator[tuple[Holder, Version]]:
    """The tombstones that go ahead of a state, as the history stood when it was claimed."""
    for holder in history.holders:
        if holder != claim.holder:
            yield holder, claim.version


def tombstones_after(
    claim: ExamClaim, claimed: History, confirmed: History
) -> Iterator[tuple[Holder, Version]]:
    """The tombstones still owed once a version is confirmed; almost always none."""
    if confirmed.newest is None:
        return
    version, holder = confirmed.newest
    if holder != claim.holder:
        yield claim.holder, version
    elif version == claim.version:
        for other in confirmed.holders:
            if other != holder and other not in claimed.holders:
                yield other, version
    # Else a higher version of the same holder's is newest, and its own import saw to the others.


def tombstone(event: ExamResult, holder: Holder, version: Version) -> ExamResult:
    """The event that takes an exam away from a holder. The record key alone says whose it was, and a school that it was a canary's."""
    return ExamResult(
        assessment_id=event.assessment_id,
        opportunity_id=event.opportunity_id,
        school_year=holder.school_year,
        status="reset",
        status_date=version.status_date,
        sequence=version.sequence,
        school=event.school if event.school is not None and is_canary(event.school) else None,
    )


def _holder(packed: bytes, at: int) -> Holder:
    student, school_year = _HOLDER.unpack_from(packed, at)
    return Holder(StudentKey(student.hex()), school_year)
