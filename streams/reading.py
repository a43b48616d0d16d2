"""From the bytes of a record to what the engine decides on: decoded, checked, pseudonymized, resolved.

Pure, and in the hot path: this runs once for every event of the state.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Callable
from copy import copy
from typing import Annotated, Final, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.aggregates import CellField, Contribution, cell_field, contribution
from schemas.assessments import Assessment, Registry
from schemas.canary import names_canary
from schemas.errors import InvalidInput, RefusedAssessment, UnknownAssessment
from schemas.events import (
    ClaimScore,
    Level,
    Score,
    Status,
    UtcTime,
    microseconds,
    too_nested,
)
from schemas.identifiers import GRADES, Grade, StudentId, is_canary
from schemas.keys import Attribution
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from streams.rows import (
    LIVE,
    TOMBSTONE,
    Row,
    exam_ids,
    grade_number,
    pack_live,
    pack_tombstone,
    place,
    school_number,
    unit_suffix,
)

_KEY_DIGITS: Final = 24
_LONGEST_DETAIL: Final = 500  # characters; the decoder's own words may repeat a value of a megabyte
_RESOLVED_AT_MOST: Final = 20_000  # assessment ids come from outside; a season has some hundreds
_CLAIMS_AT_MOST: Final = 5_000  # a season has some hundreds of kinds, unless claims come with scores
_PARTS_AT_MOST: Final = 2_000  # of each assessment, likewise


# Patterns, as the event has them, cost more than the rest of decoding. A list means the same for grades; of codes the
# digits are looked for only where the directory does not have them.
Code = Annotated[str, Meta(min_length=14, max_length=14)]
GradeCode = Literal["KG", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"]


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
    student_id: Annotated[StudentId, Meta(min_length=1, max_length=65)] | None = None
    school: Code | None = None
    grade: GradeCode | None = None
    enrolled_grade: GradeCode | None = None
    tested_school: Code | None = None
    completed: UtcTime | None = None
    condition: Literal["Valid", "SD", "NS", "IN"] = "Valid"
    validity: Literal["valid", "invalid"] = "valid"
    attempted: Literal["Y", "P", "N"] | None = None
    include_indicator: Literal["Y", "T", "N", "E", "R"] | None = None
    scale_score: Score | None = None
    level: Level | None = None
    claims: Raw = Raw(b"[]")  # decoded where their bytes are new: there are few kinds of them


_decode: Final = msgspec.json.Decoder(CountedFields).decode


class _Claims(Struct, frozen=True):
    claims: Annotated[tuple[ClaimScore, ...], Meta(max_length=6)]


_decode_claims: Final = msgspec.json.Decoder(_Claims).decode


class Record(Protocol):
    """What we need of a consumed record; ``streams.fetching`` makes them."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since 1970


SchoolCell = tuple[int, CellField]  # a school's CDS code as a number, and the name of one of its cells
Counted = tuple[SchoolCell, Contribution]  # what a live exam adds, and to which cell of its school


class Incoming(Struct, frozen=True, gc=False):
    """One event, ready to be decided on."""

    record: Record
    unit: bytes  # the name of the student's row for this assessment and year
    exam: Row  # the event as a row of one exam
    counted: Counted | None  # what that exam alone adds; None for a tombstone
    fields: tuple[CellField, ...]  # the test's cell of each grade, in the order of GRADES


class Rejection(NamedTuple):
    """One record that cannot be applied, and why."""

    record: Record
    reason: Reason
    detail: str


class _Resolved(Struct, frozen=True):
    """What the registry says of an assessment id, prepared for the hot path."""

    assessment: Assessment
    unit_suffix: bytes
    canary_suffix: bytes  # of the row that a student's canary exams have for themselves
    fields: tuple[CellField, ...]
    grade: Grade | None  # None when the test spans grades
    levels: int
    lowest: int
    highest: int
    exam_id: Callable[[str], bytes]  # of an opportunity
    # By school; where the test spans grades, by school and grade. Last, the end of the unit's name.
    places: dict[str, tuple[int, SchoolCell, bytes]]
    parts: dict[tuple[object, ...], Contribution]  # see ``_contribution``


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
        self._student_digest = pseudonymizer.student_digest
        self._is_school = is_school
        self.attribution = attribution
        self._by_tested_school = attribution == "tested"
        self._resolved: dict[tuple[str, int], _Resolved] = {}
        self._sound_claims: dict[bytes, tuple[ClaimScore, ...]] = {}

    def under(self, attribution: Attribution) -> Reader:
        """This reader, or one like it that follows another rule."""
        if attribution == self.attribution:
            return self
        other = copy(self)
        other.attribution = attribution
        other._by_tested_school = attribution == "tested"
        return other

    def read(self, record: Record) -> Incoming | Rejection:
        """Read one record.

        The result does not depend on anything but the record, the directory and the registry.
        """
        value = record.value or b""
        if too_nested(value):
            return Rejection(record, Reason.UNDECODABLE, "hundreds of brackets; an event has a dozen")
        try:
            event = _decode(value)
            claims = bytes(event.claims)
            if claims not in self._sound_claims:
                self._decode_claims(claims)
        except msgspec.ValidationError as error:
            return Rejection(record, Reason.INVALID, str(error)[:_LONGEST_DETAIL])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(record, Reason.UNDECODABLE, str(error)[:_LONGEST_DETAIL])
        try:
            resolved = self._resolved.get((event.assessment_id, event.school_year))
            return self._read(record, event, claims, resolved or self._resolve(event))
        except _Refused as refusal:
            return Rejection(record, refusal.reason, str(refusal))
        except RefusedAssessment as error:
            return Rejection(record, Reason.REFUSED_ASSESSMENT, str(error))
        except UnknownAssessment as error:
            return Rejection(record, Reason.UNKNOWN_ASSESSMENT, str(error))
        except InvalidInput as error:
            return Rejection(record, Reason.INVALID, str(error))

    def _decode_claims(self, claims: bytes) -> None:
        sound: _Claims = _decode_claims(b'{"claims":%b}' % claims)  # in its field, which errors name
        if len(self._sound_claims) >= _CLAIMS_AT_MOST:
            self._sound_claims.clear()
        self._sound_claims[claims] = sound.claims

    def _read(self, record: Record, event: CountedFields, claims: bytes, resolved: _Resolved) -> Incoming:
        if event.student_id is None:
            student = self._student_of_tombstone(record, event)
        else:
            student = self._student_digest(event.student_id)
            if record.key != hexlify(student):
                raise _Refused(
                    Reason.WRONG_KEY,
                    "the record key is not the student's pseudonym; check the producer's secret",
                )
        exam = resolved.exam_id(event.opportunity_id)
        status_us = microseconds(event.status_date)
        tested_school = event.tested_school
        if tested_school is not None:
            if not self._is_school(tested_school):
                _check_digits("tested_school", tested_school)
            names_canary(event.school, tested_school)
        school = tested_school if self._by_tested_school and tested_school else event.school
        if event.status == "reset":
            if event.school is not None:
                _check_digits("school", event.school)
            tombstone = pack_tombstone(TOMBSTONE, exam, status_us, event.sequence)
            canary = names_canary(event.school, tested_school)
            unit = student + (resolved.canary_suffix if canary else resolved.unit_suffix)
            return Incoming(record, unit, tombstone, None, resolved.fields)
        if school is None:
            raise _Refused(Reason.INVALID, f"a {event.status} exam needs a school")
        grade, at = resolved.grade, school
        if grade is None:
            enrolled = event.enrolled_grade or event.grade
            grade = resolved.assessment.cell_grade(Grade(enrolled) if enrolled else None)
            at = school + grade
        number, cell, suffix = resolved.places.get(at) or self._place(at, school, grade, resolved)
        completed_us = microseconds(event.completed) if event.completed is not None else status_us
        part = self._contribution(event, claims, resolved)
        live = pack_live(LIVE, exam, status_us, event.sequence, completed_us, number, part)
        return Incoming(record, student + suffix, live, (cell, part), resolved.fields)

    def _student_of_tombstone(self, record: Record, event: CountedFields) -> bytes:
        key = record.key or b""
        if event.status != "reset":
            raise _Refused(
                Reason.INVALID, f"a {event.status} exam needs a student_id; only a reset may omit it"
            )
        if len(key) != _KEY_DIGITS or not set(key) <= set(b"0123456789abcdef"):
            raise _Refused(
                Reason.WRONG_KEY, f"the record key is not a student pseudonym of {_KEY_DIGITS} digits"
            )
        return unhexlify(key)

    def _resolve(self, event: CountedFields) -> _Resolved:
        assessment = self._registry.resolve(event.assessment_id, event.school_year)
        lowest, highest = assessment.score_range or (0, 4095)
        year, test, grades = assessment.school_year, assessment.test, assessment.grades
        resolved = _Resolved(
            assessment,
            unit_suffix(year, test, grades[0]),
            unit_suffix(year, test, grades[0], canary=True),
            tuple(cell_field(year, test, grade) for grade in GRADES),
            grades[0] if len(grades) == 1 else None,
            len(assessment.levels),
            lowest,
            highest,
            exam_ids(event.assessment_id),
            {},
            {},
        )
        if len(self._resolved) >= _RESOLVED_AT_MOST:
            self._resolved.clear()
        self._resolved[event.assessment_id, event.school_year] = resolved
        return resolved

    def _place(
        self, at: str, school: str, grade: Grade, resolved: _Resolved
    ) -> tuple[int, SchoolCell, bytes]:
        if not self._is_school(school):
            _check_digits("school", school)
            raise _Refused(
                Reason.UNKNOWN_ORGANIZATION, f"school {school} is not in the directory; load it and retry"
            )
        number = place(school, grade)
        cell = (school_number(number), resolved.fields[grade_number(number)])
        suffix = resolved.canary_suffix if is_canary(school) else resolved.unit_suffix
        found = resolved.places[at] = number, cell, suffix  # at most as many as there are schools and grades
        return found

    def _contribution(self, event: CountedFields, claims: bytes, resolved: _Resolved) -> Contribution:
        score = event.scale_score
        if score is not None and not resolved.lowest <= score <= resolved.highest:
            raise _Refused(
                Reason.INVALID,
                f"scale score {score} is outside {resolved.lowest}-{resolved.highest} of {event.assessment_id}",
            )
        # All but the score, which is added to it: a few hundred kinds, of which most students have one of a few dozen.
        kind = (
            event.status,
            event.level,
            event.condition,
            event.validity,
            event.attempted,
            event.include_indicator,
            claims,
        )
        part = resolved.parts.get(kind)
        if part is None or score is None:
            part = self._contribution_but_score(event, claims, resolved)
            if score is None:
                return part
            if len(resolved.parts) >= _PARTS_AT_MOST:
                resolved.parts.clear()
            resolved.parts[kind] = part
        return Contribution(part + score) if part else part

    def _contribution_but_score(
        self, event: CountedFields, claims: bytes, resolved: _Resolved
    ) -> Contribution:
        """That of a score of 0; of no score when the result does not count, whatever its score."""
        level = event.level
        if level is not None and level > resolved.levels:
            raise _Refused(
                Reason.INVALID,
                f"level {level} is above the {resolved.levels} levels of {event.assessment_id}",
            )
        if event.scale_score is None or level is None or not _countable(event):
            return contribution(None)
        levels = resolved.assessment.levels_code(level, self._sound_claims[claims])
        return contribution(0, levels, under_appeal=event.status == "appeal")


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _check_digits(field: str, code: str) -> None:
    if not (code.isascii() and code.isdigit()):
        raise _Refused(Reason.INVALID, f"{field} is not a CDS code of 14 digits")


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
