"""One document read: a sound event, or a refusal with its status and every fault found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.imports.documents import JSON, XML, Document
from schemas.assessments import Assessment, Registry
from schemas.errors import InvalidInput, UnknownAssessment
from schemas.events import ExamResult, too_nested
from schemas.identifiers import Grade
from schemas.imports import FieldError, ImportStatus
from schemas.trt import TrtRefused, read_trt

# Import records outlive the exam's own data and are read by more people: they name faulty values, never whose they are.
_WITHHELD: Final = "(withheld)"
_WHOSE: Final = re.compile(
    r"student_?id|ssid|(first|middle|last|sur)_?(or_?surname|name)|birth|dob", re.IGNORECASE
)
_LONGEST_VALUE: Final = 80
_LONGEST_MESSAGE: Final = 300  # the decoder's own words may repeat a value, however long it is
# An event has half a kilobyte; Kafka takes no message above a megabyte, and one that it refuses could never be produced.
_LARGEST_EVENT_BYTES: Final = 65_536
# As for reports: systems write 0001-01-01 for "never", and that must not become a version.
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END_OF_TIME: Final = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """A sound event, without its sequence number; warnings tell what was odd and taken all the same."""

    event: ExamResult
    warnings: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a document is not taken."""

    status: ImportStatus
    errors: tuple[FieldError, ...]


class DocumentReader:
    """Reads documents under one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, document: Document) -> Reading | Refusal:
        """The event that a document holds, or why it holds none."""
        if document.content_type == XML:
            outcome = self._read_xml(document.data)
        elif document.content_type == JSON:
            outcome = self._read_json(document.data)
        else:
            fault = FieldError(
                "Content-Type",
                document.content_type[:_LONGEST_VALUE],
                "not a kind of document that is taken; expected application/xml or application/json",
            )
            outcome = Refusal(ImportStatus.BAD_FORMAT, (fault,))
        if isinstance(outcome, Refusal):
            return Refusal(outcome.status, _discreet(outcome.errors))
        return Reading(outcome.event, _discreet(outcome.warnings))

    def _read_xml(self, data: bytes) -> Reading | Refusal:
        try:
            return Reading(*read_trt(data, self._registry))
        except TrtRefused as refused:
            return Refusal(refused.status, refused.errors)

    def _read_json(self, data: bytes) -> Reading | Refusal:
        if len(data) > _LARGEST_EVENT_BYTES:
            return _unreadable(f"the event has {len(data)} bytes; at most {_LARGEST_EVENT_BYTES} are read")
        if too_nested(data):
            return _unreadable("hundreds of brackets; an event has a dozen")
        try:
            submitted = _decode_submitted(data)
        except msgspec.ValidationError as error:
            return _invalid(str(error), data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _unreadable(f"not JSON: {error}")
        event = ExamResult(**{name: getattr(submitted, name) for name in ExamResult.__struct_fields__})
        try:
            assessment = self._registry.resolve(event.assessment_id, event.school_year)
        except UnknownAssessment as error:
            fault = FieldError("assessment_id", event.assessment_id[:_LONGEST_VALUE], str(error))
            return Refusal(ImportStatus.UNKNOWN_ASMT, (fault,))
        if faults := tuple(_faults(event, assessment)):
            return Refusal(ImportStatus.BAD_DATA, faults)
        if assessment.school_year == event.school_year:
            return Reading(event)
        # The year that the assessment's id carries outranks the one that the event says. An exam's history is kept by
        # year, and two years for one and the same set of exams would make it take away what it has just put there.
        told = FieldError(
            "school_year",
            str(event.school_year),
            f"taken as {assessment.school_year}, the year of {event.assessment_id}",
        )
        return Reading(msgspec.structs.replace(event, school_year=assessment.school_year), (told,))


class _SubmittedExam(ExamResult, frozen=True, gc=False, kw_only=True):
    """An event as producers may submit it: the sequence is ours to give."""

    sequence: int = 0


_decode_submitted: Final = msgspec.json.Decoder(_SubmittedExam).decode
_decode_any: Final = msgspec.json.Decoder().decode
_AT_PATH: Final = re.compile(r"(?P<message>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>\w+)`")
_STEP: Final = re.compile(r"(\w+)|\[(\d+)\]")


def _faults(event: ExamResult, assessment: Assessment) -> Iterator[FieldError]:
    """What the event's own schema cannot see; the stream workers would reject the same."""
    if event.student_id is None:
        yield FieldError(
            "student_id", "", "missing; only records in Kafka itself may say it by their key alone"
        )
    for element, moment in (("status_date", event.status_date), ("completed", event.completed)):
        if moment is not None and not _FIRST_MOMENT <= moment < _END_OF_TIME:
            yield FieldError(
                element, moment.isoformat(), "not of this century; send the time at which it was"
            )
    if event.status == "reset":
        return
    if event.school is None:
        yield FieldError("school", "", f"missing; a {event.status} exam needs its school's CDS code")
    score, bounds = event.scale_score, assessment.score_range
    if score is not None and bounds is not None and not bounds[0] <= score <= bounds[1]:
        yield FieldError(
            "scale_score", str(score), f"outside {bounds[0]}-{bounds[1]}, the range of {event.assessment_id}"
        )
    enrolled = event.enrolled_grade or event.grade
    for element, value, check in (
        ("enrolled_grade", enrolled, lambda: assessment.cell_grade(Grade(enrolled) if enrolled else None)),
        ("level", event.level, lambda: assessment.levels_code(event.level or 1, ())),
        ("claims", "", lambda: assessment.levels_code(1, event.claims)),
    ):
        try:
            check()
        except InvalidInput as error:
            yield FieldError(element, "" if value is None else str(value), str(error))


def _unreadable(message: str) -> Refusal:
    return Refusal(ImportStatus.BAD_FORMAT, (FieldError("", "", message[:_LONGEST_MESSAGE]),))


def _invalid(message: str, data: bytes) -> Refusal:
    found = _AT_PATH.fullmatch(message)
    text, path = (found["message"], found["path"] or "") if found else (message, "")
    text = text[:_LONGEST_MESSAGE]
    if missing := _MISSING.fullmatch(text):
        element = f"{path}.{missing['field']}".lstrip(".")
        return Refusal(ImportStatus.BAD_DATA, (FieldError(element, "", "missing"),))
    if not path:
        return Refusal(ImportStatus.INVALID, (FieldError("", "", f"not an exam result event: {text}"),))
    return Refusal(ImportStatus.BAD_DATA, (FieldError(path, _value_at(path, data), text),))


def _value_at(path: str, data: bytes) -> str:
    try:
        value: Any = _decode_any(data)
        for name, index in _STEP.findall(path):
            value = value[name] if name else value[int(index)]
        return str(value)[:_LONGEST_VALUE] if isinstance(value, str | int | float) else ""
    except (msgspec.DecodeError, ValueError, LookupError, TypeError):
        # The fault was found before the end: what follows may be no JSON, or say the same field again otherwise.
        return ""


def _discreet(errors: tuple[FieldError, ...]) -> tuple[FieldError, ...]:
    return tuple(
        msgspec.structs.replace(error, value=_WITHHELD)
        if error.value and _WHOSE.search(error.element)
        else error
        for error in errors
    )
