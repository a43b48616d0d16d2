"""The bodies of webhooks as types: what receivers read, and what the API's description is made of.

All have ``type``, ``timestamp``, ``preliminary`` and ``data``. New fields have defaults, and what a receiver does not know it passes over.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.events import CdsCode, DistrictCode, GradeCode
from schemas.figures import Figures
from schemas.releases import Report
from schemas.webhooks.endpoints import DisabledReason, EventType

Time = Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema={"format": "date-time"})]
Preliminary = Annotated[
    bool, Meta(description="unreleased figures; they change daily", extra_json_schema={"const": True})
]
Link = Annotated[str, Meta(description="where to read it, with a token", extra_json_schema={"format": "uri"})]
SchoolYear = Annotated[int, Meta(ge=2000, le=2199, description="the year in which the school year ends")]
Version = Annotated[int, Meta(ge=0, description="grows with every change of the cell")]


class OrganizationPart(Struct, frozen=True, gc=False):
    """An organization as bodies name it."""

    id: CdsCode
    name: str
    level: Literal["school", "district", "county", "state"]


class ChangedCell(Struct, frozen=True, omit_defaults=True):
    """One cell that changed. Take it when its version or its time of change is later than yours."""

    test: str
    school_year: SchoolYear
    grade: GradeCode
    version: Version
    changed: Time
    figures: Annotated[
        Figures | UnsetType | None,
        Meta(description="in full payloads only; null: there are no results any more, or they are not shown"),
    ] = UNSET


class AggregateData(Struct, frozen=True):
    """Cells of one organization that changed."""

    organization: OrganizationPart
    cells: list[ChangedCell]
    as_of: Annotated[
        str,
        Meta(
            description="the latest change told of now, in this message and others of the same organization; RFC 3339",
            extra_json_schema={"format": "date-time"},
        ),
    ]
    link: Link


class ChangedResult(Struct, frozen=True):
    """One exam, by its identifiers: no score, and nothing of the student."""

    assessment_id: str
    opportunity_id: Annotated[str, Meta(description="unique only together with the assessment id")]
    school_year: SchoolYear
    status_date: str


class ResultData(Struct, frozen=True):
    """Exams of one school."""

    organization: OrganizationPart
    results: list[ChangedResult]
    link: Link


class ReleaseData(Struct, frozen=True):
    """A release state as it is now."""

    school_year: SchoolYear
    district: DistrictCode
    subject: str
    report: Report
    state: Literal["loading", "reviewing", "released"]
    link: Link


class PingData(Struct, frozen=True, omit_defaults=True):
    """Which endpoint is asked."""

    endpoint: str
    confirmation: Annotated[
        str | UnsetType,
        Meta(
            description="answer it, in the header webhook-confirmation or as the whole body, to have webhooks sent here"
        ),
    ] = UNSET


class DisabledData(Struct, frozen=True):
    """An endpoint that nothing is sent to any more, until somebody enables it again."""

    endpoint: str
    description: str
    reason: DisabledReason
    link: Link


class _Payload(Struct, frozen=True, kw_only=True, tag_field="type"):
    timestamp: Time
    preliminary: Preliminary


class AggregateUpdated(_Payload, frozen=True, kw_only=True, tag=EventType.AGGREGATE_UPDATED.value):
    """Aggregates of an organization changed."""

    data: AggregateData


class ResultRescored(_Payload, frozen=True, kw_only=True, tag=EventType.RESULT_RESCORED.value):
    """Exams that counted before count with another result now, at the school where they count now."""

    data: ResultData


class ResultInvalidated(_Payload, frozen=True, kw_only=True, tag=EventType.RESULT_INVALIDATED.value):
    """Exams that counted before do not count any more; the school is that where they did."""

    data: ResultData


class ReleaseChanged(_Payload, frozen=True, kw_only=True, tag=EventType.RELEASE_CHANGED.value):
    """A district's results have come further on their way to the public, or were taken back."""

    data: ReleaseData


class EndpointPing(_Payload, frozen=True, kw_only=True, tag=EventType.ENDPOINT_PING.value):
    """Asks an address whether it wants webhooks; also the test message."""

    data: PingData


class EndpointDisabled(_Payload, frozen=True, kw_only=True, tag=EventType.ENDPOINT_DISABLED.value):
    """Another endpoint of the same owner takes nothing any more."""

    data: DisabledData


Payload = (
    AggregateUpdated | ResultRescored | ResultInvalidated | ReleaseChanged | EndpointPing | EndpointDisabled
)
PAYLOADS: Final[tuple[type[Payload], ...]] = get_args(Payload)

_decode: Final[msgspec.json.Decoder[Payload]] = msgspec.json.Decoder(Payload)


def read_payload(body: bytes) -> Payload:
    """The body that these bytes are; fields that are not known here are passed over.

    Raises:
        msgspec.MsgspecError: they are none, or of a type that is not known here.
    """
    return _decode.decode(body)
