"""Events as they stand in Kafka: JSON bodies, CloudEvents attributes in the headers.

An exam result event carries the exam's *whole state* after what happened, never a difference; a later version replaces
an earlier one completely. There is no "rescored" status in the field: a rescore is the same exam with a later status
date. New fields get defaults and meanings never change; anything else is a new topic and type version.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.assessment_definitions import Subject

# The lengths, because Python's $ lets a line feed follow.
CdsCode = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{14}$", max_length=14, description="CDS code: county 2, district 5, school 7 digits"
    ),
]
DistrictCode = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{2}(?!00000)[0-9]{5}0000000$",
        max_length=14,
        description="CDS code of a district: county 2, district 5, seven zeros",
    ),
]
GradeCode = Annotated[str, Meta(pattern=r"^(KG|0[1-9]|1[0-2])$", max_length=2, description="KG, 01 ... 12")]
UtcTime = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone")]
Level = Annotated[int, Meta(ge=1, le=4)]
Score = Annotated[int, Meta(ge=0, le=4095, description="whole scale points")]

Status = Literal[
    "scored",
    "completed",
    "reported",
    "submitted",
    "handscoring",
    "pending",
    "paused",
    "expired",
    "appeal",
    "invalidated",
    "reset",
]


class ClaimScore(Struct, frozen=True, gc=False, omit_defaults=True):
    """The result of one claim, domain or composite, in the registry's codes (``SOCK_R``, ``1-L``)."""

    code: Annotated[str, Meta(min_length=1, max_length=40)]
    level: Level | None = None
    score: Score | None = None


class Subgroups(Struct, frozen=True, gc=False, omit_defaults=True):
    """What the report says of the student's groups on the day of the test; absent means not said."""

    sex: str | None = None
    ethnicities: tuple[str, ...] = ()
    english_acquisition: str | None = None
    english_learner: bool | None = None
    disability: bool | None = None
    section_504: bool | None = None
    economic_disadvantage: bool | None = None
    migrant: bool | None = None


class ExamResult(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One exam after one event: scored, rescored, appealed, invalidated or reset.

    Identity is (assessment_id, opportunity_id); the opportunity id alone repeats in real data. Order is
    (status_date, sequence). ``student_id`` may be absent in a reset only, where the record key (the pseudonym) says whose
    exam is taken away.
    """

    assessment_id: Annotated[str, Meta(min_length=1, max_length=250)]
    opportunity_id: Annotated[str, Meta(min_length=1, max_length=80)]
    school_year: Annotated[int, Meta(ge=2000, le=2199, description="the year in which the school year ends")]
    status: Status
    status_date: UtcTime
    sequence: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="import sequence; breaks ties of status_date")
    ]
    student_id: Annotated[str, Meta(min_length=1, max_length=65)] | None = None
    school: CdsCode | None = None
    grade: GradeCode | None = None
    enrolled_grade: GradeCode | None = None
    tested_school: CdsCode | None = None
    completed: UtcTime | None = None
    completeness: Literal["Complete", "Partial"] = "Complete"
    condition: Literal["Valid", "SD", "NS", "IN"] = "Valid"
    validity: Literal["valid", "invalid"] = "valid"
    attempted: Literal["Y", "P", "N"] | None = None
    include_indicator: Literal["Y", "T", "N", "E", "R"] | None = None
    scale_score: Score | None = None
    scale_score_text: Annotated[str, Meta(max_length=40)] | None = None
    scale_score_error: Annotated[str, Meta(max_length=40)] | None = None
    level: Level | None = None
    claims: Annotated[tuple[ClaimScore, ...], Meta(max_length=6)] = ()
    subgroups: Subgroups | None = None


class OrganizationEntry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One entry of the organization directory; keyed by its CDS code, the latest wins."""

    cds: CdsCode
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    kind: Literal["school", "district", "county", "state"]
    charter: Literal["direct", "local"] | None = None
    active: bool = True


class ReleaseEntry(Struct, frozen=True, gc=False, kw_only=True):
    """The release state of one district's results from now on; keyed by year, district, subject and report."""

    school_year: Annotated[int, Meta(ge=2000, le=2199, description="the year in which the school year ends")]
    district: DistrictCode
    subject: Subject
    report: Literal["individual", "aggregate"]
    state: Literal["loading", "reviewing", "released"]


class ClosingEntry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A test of a school year is closed, or reopened; keyed by both. Each record is one change, and all of them are kept.

    It holds from ``schemas.closings.LEAD_MS`` after the time that Kafka gave the record, or from ``at`` when that is later.
    """

    school_year: Annotated[int, Meta(ge=2000, le=2199, description="the year in which the school year ends")]
    test: Annotated[str, Meta(pattern=r"^[A-Z0-9.-]+$", max_length=80)]
    change: Literal["closed", "reopened"]
    at: UtcTime | None = None
    by: Annotated[str, Meta(max_length=100, description="who did it, as far as the command knows")] | None = (
        None
    )


EVENT_TYPES: Final[dict[str, type[Struct]]] = {
    "scores.exam-result.v1": ExamResult,
    "scores.organization.v1": OrganizationEntry,
    "scores.release.v1": ReleaseEntry,
    "scores.closing.v1": ClosingEntry,
}
EXAM_RESULT_TYPE: Final = "scores.exam-result.v1"
ORGANIZATION_TYPE: Final = "scores.organization.v1"
RELEASE_TYPE: Final = "scores.release.v1"
CLOSING_TYPE: Final = "scores.closing.v1"

decode_exam_result: Final = msgspec.json.Decoder(ExamResult).decode
decode_organization: Final = msgspec.json.Decoder(OrganizationEntry).decode
decode_release: Final = msgspec.json.Decoder(ReleaseEntry).decode
decode_closing: Final = msgspec.json.Decoder(ClosingEntry).decode
encode_event: Final = msgspec.json.Encoder().encode

_BRACKETS_AT_MOST: Final = 600

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def too_nested(body: bytes) -> bool:
    """Whether a body has so many brackets (an event has a dozen) that nobody may decode it.

    Nested a thousand deep, in a field that is not even read, they end the decoder with RecursionError; and how deep is
    too deep depends on the caller's stack, so that one process might take what another does not.
    """
    return len(body) > _BRACKETS_AT_MOST and body.count(b"[") + body.count(b"{") > _BRACKETS_AT_MOST


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact (``datetime.timestamp`` is a float and is not)."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The aware UTC datetime of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


def cloud_event_headers(
    event_type: str, event_id: str, source: str, time: datetime
) -> list[tuple[str, bytes]]:
    """CloudEvents attributes in binary mode, as Kafka headers."""
    stamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_time", stamp.encode()),
        ("content-type", b"application/json"),
    ]
