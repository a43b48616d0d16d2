"""From the bytes of a record to what the engine decides on: decoded, checked, pseudonymized, resolved.

Pure, and in the hot path: this runs once for every event of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Final, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

from schemas.aggregates import cell_field
from schemas.assessments import Assessment, Registry
from schemas.errors import InvalidInput, RefusedAssessment, UnknownAssessment
from schemas.events import (
    CdsCode,
    ClaimScore,
    GradeCode,
    Level,
    Score,
    Status,
    UtcTime,
    microseconds,
)
from schemas.identifiers import Grade, StudentId
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from streams.scoring import LIVE, SCORED, UNDER_APPEAL, StoredExam, school_number

Attribution = Literal["current", "tested"]

_KEY_DIGITS: Final = 24
_RESOLVED_AT_MOST: Final = 20_000  # assessment ids come from outside; a season has some hundreds


class CountedFields(Struct, frozen=True, gc=False, kw_only=True):
    """The fields of ``ExamResult`` that decide what is counted, under the same constraints.

    Decoding these alone spares the rest its cost; a contract test keeps the two definitions together.
    """

    assessment_id: Annotated[str, Meta(min_length=1, max_length=250)]
    opportunity_id: Annotated[str, Meta(min_length=1, max_length=80)]
    school_year: Annotated[int, Meta(ge=2000, le=2199)]
    status: Status
    status_date: UtcTime
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    student_id: Annotated[str, Meta(min_length=1, max_length=65)] | None = None
    school: CdsCode | None = None
    grade: GradeCode | None = None
    enrolled_grade: GradeCode | None = None
    tested_school: CdsCode | None = None
    completed: UtcTime | None = None
    condition: Literal["Valid", "SD", "NS", "IN"] = "Valid"
    validity: Literal["valid", "invalid"] = "valid"
    attempted: Literal["Y", "P", "N"] | None = None
    include_indicator: Literal["Y", "T", "N", "E", "R"] | None = None
    scale_score: Score | None = None
    level: Level | None = None
    claims: Annotated[tuple[ClaimScore, ...], Meta(max_length=6)] = ()


_decode: Final = msgspec.json.Decoder(CountedFields).decode


class Record(Protocol):
    """What we need of a consumed record; aiokafka's ConsumerRecord is one."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...


class Incoming(NamedTuple):
    """One event, ready to be decided on."""

    record: Record
    student: str  # pseudonym
    unit: bytes  # the field of the student's exams for this assessment and year
    exam: StoredExam


class Rejection(NamedTuple):
    """One record that cannot be applied, and why."""

    record: Record
    reason: Reason
    detail: str


class _Resolved(NamedTuple):
    """What the registry says of an assessment id, prepared for the hot path."""

    assessment: Assessment
    unit_suffix: bytes
    cell: str  # empty when the test spans grades
    levels: int
    lowest: int
    highest: int


class Reader:
    """Reads records under one registry, secret and attribution rule."""

    def __init__(
        self,
        registry: Registry,
        pseudonymizer: Pseudonymizer,
        is_school: Callable[[str], bool],
        attribution: Attribution = "current",
    ) -> None:
        self._registry = registry
        self._student_key = pseudonymizer.student_key
        self._is_school = is_school
        self._by_tested_school = attribution == "tested"
        self._resolved: dict[tuple[str, int], _Resolved] = {}

    def read(self, record: Record) -> Incoming | Rejection:
        """Read one record.

        The result does not depend on anything but the record, the directory and the registry.
        """
        try:
            event = _decode(record.value or b"")
        except msgspec.ValidationError as error:
            return Rejection(record, Reason.INVALID, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(record, Reason.UNDECODABLE, str(error))
        try:
            student = self._student(record, event)
            resolved = self._resolved.get((event.assessment_id, event.school_year)) or self._resolve(event)
            exam = self._stored(event, resolved)
        except _Refused as refusal:
            return Rejection(record, refusal.reason, str(refusal))
        except RefusedAssessment as error:
            return Rejection(record, Reason.REFUSED_ASSESSMENT, str(error))
        except UnknownAssessment as error:
            return Rejection(record, Reason.UNKNOWN_ASSESSMENT, str(error))
        except InvalidInput as error:
            return Rejection(record, Reason.INVALID, str(error))
        return Incoming(record, student, bytes.fromhex(student) + resolved.unit_suffix, exam)

    def _student(self, record: Record, event: CountedFields) -> str:
        key = (record.key or b"").decode("ascii", "replace")
        if event.student_id is not None:
            expected = self._student_key(StudentId(event.student_id))
            if key == expected:
                return key
            raise _Refused(
                Reason.WRONG_KEY, "the record key is not the student's pseudonym; check the producer's secret"
            )
        if event.status != "reset":
            raise _Refused(
                Reason.INVALID, f"a {event.status} exam needs a student_id; only a reset may omit it"
            )
        if len(key) != _KEY_DIGITS or not set(key) <= set("0123456789abcdef"):
            raise _Refused(
                Reason.WRONG_KEY, f"the record key is not a student pseudonym of {_KEY_DIGITS} digits"
            )
        return key

    def _resolve(self, event: CountedFields) -> _Resolved:
        assessment = self._registry.resolve(event.assessment_id, event.school_year)
        lowest, highest = assessment.score_range or (0, 4095)
        year, test, grades = assessment.school_year, assessment.test, assessment.grades
        resolved = _Resolved(
            assessment,
            f"{year}:{test}:{grades[0]}".encode(),
            cell_field(year, test, grades[0]) if len(grades) == 1 else "",
            len(assessment.levels),
            lowest,
            highest,
        )
        if len(self._resolved) >= _RESOLVED_AT_MOST:
            self._resolved.clear()
        self._resolved[event.assessment_id, event.school_year] = resolved
        return resolved

    def _stored(self, event: CountedFields, resolved: _Resolved) -> StoredExam:
        identity = f"{event.assessment_id}\0{event.opportunity_id}".encode()
        exam = blake2b(identity, digest_size=8).digest()
        status_us = microseconds(event.status_date)
        if event.status == "reset":
            return StoredExam(exam, status_us, event.sequence)
        school = event.tested_school if self._by_tested_school and event.tested_school else event.school
        if school is None:
            raise _Refused(Reason.INVALID, f"a {event.status} exam needs a school")
        if not self._is_school(school):
            raise _Refused(
                Reason.UNKNOWN_ORGANIZATION, f"school {school} is not in the directory; load it and retry"
            )
        cell = resolved.cell
        if not cell:
            assessment = resolved.assessment
            enrolled = event.enrolled_grade or event.grade
            grade = assessment.cell_grade(Grade(enrolled) if enrolled else None)
            cell = cell_field(assessment.school_year, assessment.test, grade)
        completed_us = microseconds(event.completed) if event.completed is not None else status_us
        score, level = event.scale_score, event.level
        if level is not None and level > resolved.levels:
            raise _Refused(
                Reason.INVALID,
                f"level {level} is above the {resolved.levels} levels of {event.assessment_id}",
            )
        if score is not None and not resolved.lowest <= score <= resolved.highest:
            raise _Refused(
                Reason.INVALID,
                f"scale score {score} is outside {resolved.lowest}-{resolved.highest} of {event.assessment_id}",
            )
        number = school_number(school)
        if score is None or level is None or not _countable(event):
            return StoredExam(exam, status_us, event.sequence, completed_us, LIVE, number, cell)
        state = LIVE | SCORED | (UNDER_APPEAL if event.status == "appeal" else 0)
        slots = resolved.assessment.slots(level, event.claims)
        return StoredExam(exam, status_us, event.sequence, completed_us, state, number, cell, score, slots)


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _countable(event: CountedFields) -> bool:
    # With score and level given. An Include Indicator, where a producer sends one, is one condition more: it can only
    # exclude, since a report that calls itself invalid must not count because of it.
    return (
        event.status != "invalidated"
        and event.validity == "valid"
        and event.condition != "IN"
        and event.attempted != "N"
        and event.include_indicator in {None, "Y"}
    )
