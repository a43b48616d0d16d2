"""The bodies of webhooks as bytes.

Nothing in a body is of the moment in which it was written: times are those of the data, lists are in one order. So the same
facts give the same bytes, and the same message id (``schemas.webhooks.ids``), whenever and by whomever they are written.

A thin body says what changed and where to read it; reading it is then permitted and audited like any other reading. A full one
brings the figures as they were when it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET

from schemas.aggregate_changes import ResultChange
from schemas.aggregates import CellName
from schemas.figures import Figures, rfc3339
from schemas.identifiers import OrganizationId, level_of
from schemas.releases import ReleaseKey, ReleaseState
from schemas.webhooks.endpoints import DisabledReason, Endpoint, EventType
from schemas.webhooks.payload_types import (
    AggregateData,
    AggregateUpdated,
    ChangedCell,
    ChangedResult,
    DisabledData,
    EndpointDisabled,
    EndpointPing,
    OrganizationPart,
    PingData,
    ReleaseChanged,
    ReleaseData,
    ResultData,
    ResultInvalidated,
    ResultRescored,
)

THIN_BYTES: Final = 20_000  # the specification's advice for a body
FULL_BYTES: Final = 256_000  # a quarter of what common servers take (nginx: 1 MB) before they answer 413


class ToldCell(NamedTuple):
    """A cell that is to be told of; ``figures`` matter in full bodies only, where None says that there are none any more."""

    name: CellName
    version: int
    changed_ms: int
    figures: Figures | None = None


class Body(NamedTuple):
    """The bytes to be signed and sent, the cells that they tell of, and the highest version among them."""

    content: bytes
    cells: tuple[CellName, ...] = ()
    version: int = 0


_Part = TypeVar("_Part", ToldCell, ResultChange)

_encode: Final = msgspec.json.Encoder().encode


def organization_part(organization: OrganizationId, name: str) -> OrganizationPart:
    """An organization as bodies name it."""
    return OrganizationPart(organization, name, level_of(organization).value)


def aggregate_updated(
    organization: OrganizationPart, cells: Sequence[ToldCell], *, base_url: str, full: bool = False
) -> list[Body]:
    """Bodies that tell of these cells, as many as their size asks for.

    Args:
        cells: at least one; what the endpoint may see, as it may see it: that is not checked here.
        base_url: of the gateway, as receivers reach it.
    """
    ordered = sorted(cells, key=lambda cell: cell.name)
    as_of = rfc3339(_latest(ordered))
    link = _aggregates_link(base_url, organization.id)

    def written(some: Sequence[ToldCell]) -> bytes:
        changed = [_changed_cell(cell, full=full) for cell in some]
        data = AggregateData(organization, changed, as_of, link)
        return _encode(AggregateUpdated(timestamp=rfc3339(_latest(some)), preliminary=True, data=data))

    return [
        Body(content, tuple(cell.name for cell in some), max(cell.version for cell in some))
        for some, content in _parted(ordered, written, FULL_BYTES if full else THIN_BYTES)
    ]


def results_changed(
    event: EventType, organization: OrganizationPart, results: Sequence[ResultChange], *, base_url: str
) -> list[Body]:
    """Bodies that tell of exams of one school, rescored or invalidated as ``event`` says; at least one exam.

    Raises:
        KeyError: ``event`` is neither.
    """
    kind = _RESULT_PAYLOADS[event]
    link = _aggregates_link(base_url, organization.id)

    def written(some: Sequence[ResultChange]) -> bytes:
        changed = [
            ChangedResult(one.assessment_id, one.opportunity_id, one.school_year, one.status_date)
            for one in some
        ]
        data = ResultData(organization, changed, link)
        return _encode(kind(timestamp=rfc3339(_latest(some)), preliminary=True, data=data))

    ordered = sorted(results, key=lambda one: (one.changed_ms, one.id))
    return [Body(content) for _, content in _parted(ordered, written, THIN_BYTES)]


def release_changed(key: ReleaseKey, state: ReleaseState, *, changed_ms: int, base_url: str) -> Body:
    """The body that tells of a release state; ``changed_ms`` is when it came to be so."""
    data = ReleaseData(
        school_year=key.school_year,
        district=key.district,
        subject=key.subject,
        report=key.report,
        state=_STATE_WORDS[state],
        link=_aggregates_link(base_url, key.district),
    )
    return Body(_encode(ReleaseChanged(timestamp=rfc3339(changed_ms), preliminary=True, data=data)))


def ping(endpoint: str, *, at_ms: int, confirmation: str | None = None) -> Body:
    """The body of a ping.

    Args:
        at_ms: when it was ordered; so it is the same message however often it is written.
        confirmation: the token to be answered, when an address is asked whether it wants webhooks.
    """
    data = PingData(endpoint, UNSET if confirmation is None else confirmation)
    return Body(_encode(EndpointPing(timestamp=rfc3339(at_ms), preliminary=True, data=data)))


def disabled(endpoint: Endpoint, reason: DisabledReason, *, at_ms: int, base_url: str) -> Body:
    """The body that tells an owner, at another endpoint, that this one was disabled. Nothing its receiver said is in it."""
    data = DisabledData(
        endpoint=endpoint.id,
        description=endpoint.description,
        reason=reason,
        link=f"{base_url.rstrip('/')}/v1/webhooks/endpoints/{endpoint.id}",
    )
    return Body(_encode(EndpointDisabled(timestamp=rfc3339(at_ms), preliminary=True, data=data)))


_RESULT_PAYLOADS: Final[dict[EventType, type[ResultRescored | ResultInvalidated]]] = {
    EventType.RESULT_RESCORED: ResultRescored,
    EventType.RESULT_INVALIDATED: ResultInvalidated,
}
_STATE_WORDS: Final[dict[ReleaseState, Literal["loading", "reviewing", "released"]]] = {
    ReleaseState.LOADING: "loading",
    ReleaseState.REVIEWING: "reviewing",
    ReleaseState.RELEASED: "released",
}


def _changed_cell(cell: ToldCell, *, full: bool) -> ChangedCell:
    year, test, grade = cell.name
    changed = rfc3339(cell.changed_ms)
    return ChangedCell(test, year, grade, cell.version, changed, cell.figures if full else UNSET)


def _latest(changes: Sequence[ToldCell] | Sequence[ResultChange]) -> int:
    return max(change.changed_ms for change in changes)


def _aggregates_link(base_url: str, organization: str) -> str:
    return f"{base_url.rstrip('/')}/v1/aggregates/{organization}"


def _parted(
    items: Sequence[_Part], written: Callable[[Sequence[_Part]], bytes], limit: int
) -> list[tuple[Sequence[_Part], bytes]]:
    """The items in equal parts, each of which comes to at most ``limit`` bytes, and each part written: halves, or halves of halves."""
    content = written(items)
    if len(content) <= limit or len(items) == 1:
        return [(items, content)]
    half = (len(items) + 1) // 2
    return _parted(items[:half], written, limit) + _parted(items[half:], written, limit)
