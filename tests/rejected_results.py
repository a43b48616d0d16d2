"""Rejected results as they stand in their topic, built as the workers and the gateway build them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cli.rejected.records import RejectedRecord, Retried, read_rejected
from schemas import rejections
from schemas.events import ExamResult, encode_event
from schemas.rejections import Reason
from schemas.topics import EXAM_RESULTS
from streams.reading import Rejection
from streams.rejected import rejected_record
from streams.topic_reading import StoredRecord

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
STUDENT = "7000000012"
KEY = b"cefcef38f19f152fa4933ba0"
SCHOOL = "99700012222222"
CE = (("ce_specversion", b"1.0"), ("ce_id", b"9d1c"), ("ce_type", b"scores.exam-result.v1"))


def result(school: str | None = SCHOOL, **fields: object) -> bytes:
    """The body of a scored exam."""
    known: dict[str, object] = {
        "assessment_id": "(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
        "opportunity_id": "100150",
        "school_year": 2026,
        "status": "scored",
        "status_date": NOON,
        "sequence": 41,
        "student_id": STUDENT,
        "school": school,
        "grade": "03",
        "scale_score": 2431,
        "level": 2,
    }
    return encode_event(ExamResult(**(known | fields)))  # type: ignore[arg-type]  # as the caller says


@dataclass(frozen=True)
class Consumed:
    """A record of the results topic, as a worker has it."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = CE


def rejected(
    reference: str = "3:1042",
    reason: Reason = Reason.UNKNOWN_ORGANIZATION,
    *,
    detail: str = "",
    value: bytes | None = None,
    key: bytes | None = KEY,
    headers: tuple[tuple[str, bytes], ...] = CE,
    minutes: int = 0,
    place: int = 0,
) -> StoredRecord:
    """A worker's rejection, so many minutes after noon, at an offset of the rejected topic."""
    origin = rejections.coordinates_of(reference)
    consumed = Consumed(key, result() if value is None else value, origin.offset, headers=headers)
    key, value, stamped = rejected_record(
        Rejection(consumed, reason, detail or f"school {SCHOOL} is not in the directory; load it and retry"),
        origin.partition,
        NOON + timedelta(minutes=minutes),
    )
    return StoredRecord(key, value, place, 0, 1, tuple(stamped))


def parked_import(
    event_id: str, *, value: bytes | None = None, key: bytes = KEY, place: int = 0
) -> StoredRecord:
    """A result that the gateway parked: it never was in the results topic."""
    headers = (
        ("ce_id", event_id.encode()),
        (rejections.HEADER_REASON, Reason.UNKNOWN_ORGANIZATION.encode()),
        (rejections.HEADER_DETAIL, b"the school is not in the directory; load it and retry"),
        (rejections.HEADER_TOPIC, EXAM_RESULTS.encode()),
        (rejections.HEADER_TIME, NOON.isoformat(timespec="milliseconds").encode()),
    )
    return StoredRecord(key, result() if value is None else value, place, 0, 1, headers)


def read(stored: StoredRecord) -> RejectedRecord:
    """A rejection as the commands see it."""
    record = read_rejected(stored)
    assert isinstance(record, RejectedRecord)
    return record


def marker_of(stored: StoredRecord) -> Retried:
    """A marker as the commands see it."""
    record = read_rejected(stored)
    assert isinstance(record, Retried)
    return record
