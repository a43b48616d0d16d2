"""What one document comes to, given what it says and what is known; nothing here asks anybody."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Flag, auto
from typing import Final
from uuid import uuid4

from msgspec.structs import replace

from gateway.imports.documents import JSON, Document
from gateway.imports.reading import Reading, Refusal
from gateway.imports.records import ImportRecord, Outcome, Submission
from schemas.access.roles import CANARY_ROLE, IMPORT_ROLE
from schemas.canary import names_canary
from schemas.errors import InvalidInput
from schemas.events import ExamResult
from schemas.imports import FieldError, ImportStatus
from schemas.trt_xml import DEFAULT_LIMITS

# Senders name files by students, and a refused document has no event that would say whose it is. In XML the identifier is
# another attribute of the same tag, before the name or after it.
_STUDENT: Final = re.compile(
    rb"""name=["'](?:StudentIdentifier|SSID)["']|"student_id"\s{0,20}:\s{0,20}"(?P<json>[^"]{1,120})"""
)
_VALUE: Final = re.compile(rb"""value=["']([^<>"']{1,120})""")
_TAG_BYTES: Final = 330  # of a tag, on each side of the name
# A report names its student a few times. What repeats it without end is not searched to its end.
_NAMED_AT_MOST: Final = 100
# Dates without a zone count as UTC, so a report of today may be hours ahead. A date further off would be the newest
# version for that long, and every correction until then would be stale.
_CLOCKS_DIFFER: Final = timedelta(days=1)
# A shorter identifier would mask digits that mean nothing.
_SHORTEST_MASKED: Final = 4


class MayLoad(Flag):
    """Whose results somebody may submit."""

    REAL = auto()
    CANARIES = auto()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who submits, under which batch name, and when."""

    creator: str
    batch: str | None
    now: datetime
    may_load: MayLoad = MayLoad.REAL


def needs_reading(earlier: ImportRecord | None) -> bool:
    """Whether the same bytes may come to something else this time."""
    return earlier is None or earlier.status < ImportStatus.ACCEPTED


def judge(
    document: Document,
    digest: str,
    sender: Sender,
    earlier: ImportRecord | None,
    reading: Reading | Refusal | None,
    schools: AbstractSet[str],
) -> Submission:
    """The outcome of a document. ``reading`` may be None only when it does not need reading."""
    if reading is None:
        assert earlier is not None
        return _duplicate(document, digest, sender, earlier)
    record = _record(document, digest, sender, ImportStatus.ACCEPTED)
    if isinstance(reading, Refusal):
        record = replace(record, status=reading.status, errors=reading.errors)
        return Submission(record, Outcome.REJECTED)
    event = reading.event
    record = replace(record, warnings=reading.warnings)
    try:
        needed = MayLoad.CANARIES if names_canary(event.school, event.tested_school) else MayLoad.REAL
    except InvalidInput as error:
        fault = FieldError(_school_element(document), event.school or "", str(error))
        record = replace(record, status=ImportStatus.BAD_DATA, errors=(fault,))
        return Submission(record, Outcome.REJECTED)
    if needed not in sender.may_load:
        fault = _not_theirs(document, event, needed)
        record = replace(record, status=ImportStatus.UNAUTHORIZED, errors=(fault,))
        return Submission(record, Outcome.REJECTED)
    if event.status_date > sender.now + _CLOCKS_DIFFER:
        fault = _future(document, event)
        record = replace(record, status=ImportStatus.BAD_DATA, errors=(fault,))
        return Submission(record, Outcome.REJECTED)
    if event.status == "reset" or event.school in schools:  # a reset takes away, wherever it was
        return Submission(record, Outcome.ACCEPTED)
    if earlier is not None:
        return _duplicate(document, digest, sender, earlier)
    fault = _unknown_school(document, event)
    record = replace(record, status=ImportStatus.UNKNOWN_SCHOOL, errors=(fault,))
    return Submission(record, Outcome.PARKED)


def repeated(first: Submission) -> Submission:
    """The outcome of the same bytes again within one request."""
    outcome = first.outcome if first.outcome is Outcome.REJECTED else Outcome.DUPLICATE
    return Submission(first.record, outcome, new=False)


def _record(document: Document, digest: str, sender: Sender, status: ImportStatus) -> ImportRecord:
    return ImportRecord(
        id=uuid4().hex,
        digest=digest,
        content_type=document.content_type,
        status=status,
        creator=sender.creator,
        created=sender.now,
        filename=_without_students(document),
        batch=sender.batch,
    )


def _duplicate(document: Document, digest: str, sender: Sender, earlier: ImportRecord) -> Submission:
    if earlier.creator == sender.creator:
        return Submission(earlier, Outcome.DUPLICATE, new=False)
    # Another sender's import is not shown, but its bytes need not travel twice.
    record = _record(document, digest, sender, earlier.status)
    record = replace(record, errors=earlier.errors, warnings=earlier.warnings)
    return Submission(record, Outcome.DUPLICATE)


def _future(document: Document, event: ExamResult) -> FieldError:
    element = "status_date" if document.content_type == JSON else "Opportunity/@statusDate"
    return FieldError(
        element,
        event.status_date.isoformat(),
        "in the future; send the time at which the exam got this status",
    )


def _not_theirs(document: Document, event: ExamResult, needed: MayLoad) -> FieldError:
    why = (
        f"a canary's school; only the canary loads results there, with the role {CANARY_ROLE}"
        if needed is MayLoad.CANARIES
        else f"no canary's school, and this token loads canaries only; results of others take the role {IMPORT_ROLE} for the state"
    )
    return FieldError(_school_element(document), event.school or "", why)


def _school_element(document: Document) -> str:
    return "school" if document.content_type == JSON else "SchoolId"


def _unknown_school(document: Document, event: ExamResult) -> FieldError:
    return FieldError(
        _school_element(document),
        event.school or "",
        "the directory has no such school; the exam is parked until it does: load it with `scores entities load`",
    )


def _without_students(document: Document) -> str | None:
    """The file's name without the identifiers of students whom the document names, sound or not.

    None when it cannot be told which those are: the document is too large to be read, or names too many.
    """
    filename, data = document.filename, document.data
    if filename is None or len(data) > DEFAULT_LIMITS.document_bytes:
        return None
    students: set[str] = set()
    for number, found in enumerate(_STUDENT.finditer(data)):
        if number == _NAMED_AT_MOST:
            return None
        named = [found["json"]] if found["json"] else _VALUE.findall(_tag_around(data, found))
        students.update(value.decode("utf-8", "replace").strip() for value in named)
    masked = sorted((student for student in students if len(student) >= _SHORTEST_MASKED), key=len)
    if not masked:
        return filename
    # In one pass: what stands for a student is not searched again.
    return re.sub("|".join(map(re.escape, reversed(masked))), "(student)", filename)


def _tag_around(data: bytes, found: re.Match[bytes]) -> bytes:
    before = re.split(rb"[<>]", data[max(0, found.start() - _TAG_BYTES) : found.start()])[-1]
    after = re.split(rb"[<>]", data[found.end() : found.end() + _TAG_BYTES], maxsplit=1)[0]
    return before + after
