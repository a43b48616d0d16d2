"""Which endpoints a change is for, and whether it is news to them; pure.

A change of an organization concerns those who follow it, or one above it with everything below. Whether they may see it is
judged when they are told; here it only decides from which topic they hear: who sees exact figures from the exact cells'
topic, who sees published ones from the published cells'. So a cell that is held back moves nothing, not even the time of a
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from schemas.access.permissions import Rights, VisibilityClass
from schemas.aggregates import CellField, cell_name
from schemas.identifiers import OrganizationId, ancestry
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.messages import Told


class Followers:
    """Endpoints by the organizations that they follow."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._alone: dict[OrganizationId, list[Endpoint]] = {}
        self._below: dict[OrganizationId, list[Endpoint]] = {}
        for endpoint in endpoints:
            for followed in endpoint.follows:
                chosen = self._below if followed.below else self._alone
                chosen.setdefault(followed.organization, []).append(endpoint)

    def of(self, organization: OrganizationId) -> dict[str, Endpoint]:
        """Those that follow an organization, by id."""
        found = {one.id: one for one in self._alone.get(organization, ())}
        for above in ancestry(organization):
            if above in self._below:
                found |= {one.id: one for one in self._below[above]}
        return found

    def around(self, district: OrganizationId) -> dict[str, Endpoint]:
        """Those that follow a district, or anything above or below it."""
        found: dict[str, Endpoint] = {}
        for chosen in (self._alone, self._below):
            for organization, endpoints in chosen.items():
                if organization in ancestry(district) or district in ancestry(organization):
                    found |= {one.id: one for one in endpoints}
        return found


def cell_listeners(
    followers: Mapping[str, Endpoint],
    organization: OrganizationId,
    field: CellField,
    rights: Callable[[Endpoint], Rights],
    *,
    published: bool,
) -> Iterator[Endpoint]:
    """Those of an organization's followers that hear of a change of one of its cells."""
    for endpoint in followers.values():
        if EventType.AGGREGATE_UPDATED not in endpoint.events or not wants(endpoint, field):
            continue
        kind = rights(endpoint).visibility(organization)
        if kind is not None and (kind is VisibilityClass.MASKED) is published:
            yield endpoint


def listeners(followers: Mapping[str, Endpoint], event: EventType) -> Iterator[Endpoint]:
    """Those that want to hear of events of a kind."""
    return (endpoint for endpoint in followers.values() if event in endpoint.events)


def affected_by_release(endpoint: Endpoint, district: OrganizationId) -> list[OrganizationId]:
    """The organizations of an endpoint whose figures a district's release state decides about, but for those below it."""
    found: dict[OrganizationId, None] = {}
    for followed in endpoint.follows:
        organization = followed.organization
        if organization in ancestry(district) or district in ancestry(organization):
            found[organization] = None
            if followed.below:
                found |= dict.fromkeys(one for one in ancestry(district) if organization in ancestry(one))
    return list(found)


def follows_schools_of(endpoint: Endpoint, district: OrganizationId) -> bool:
    """Whether an endpoint follows everything below a district."""
    return any(
        followed.below and followed.organization in ancestry(district) for followed in endpoint.follows
    )


def wants(endpoint: Endpoint, field: CellField) -> bool:
    """Whether a cell is one of those that an endpoint asked for, by test and grade."""
    if not endpoint.tests and not endpoint.grades:
        return True
    name = cell_name(field)
    return (not endpoint.tests or name.test in endpoint.tests) and (
        not endpoint.grades or name.grade in endpoint.grades
    )


def is_news(now: Told, known: Told | None, points: float | None) -> bool:
    """Whether a cell is another than the one that was told, and by so much that its endpoint wants to hear of it."""
    if known is None:
        return True
    if now.summed or known.summed:
        later = (now.version, now.changed_ms) != (known.version, known.changed_ms)
    else:
        later = now.version > known.version or now.changed_ms > known.changed_ms
    if not later or points is None:
        return later
    if now.share is None or known.share is None:
        return now.share is not known.share
    return abs(now.share - known.share) >= points
