"""Who may have an endpoint follow what, and who may look after somebody else's: pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from gateway.tokens import Principal
from schemas.access.permissions import Forbidden, Permission, Rights
from schemas.errors import ScoreStreamError
from schemas.identifiers import OrganizationId, OrganizationLevel, district_of, level_of
from schemas.organization_list import OrganizationList
from schemas.webhooks.endpoints import SUBSCRIBABLE, Endpoint, EventType, Followed

ABOUT_PERSONS: Final = frozenset({EventType.RESULT_RESCORED, EventType.RESULT_INVALIDATED})


class PersonsNotSeen(Forbidden):
    """Names the permission: whoever is told this sees the organizations' aggregates, and nothing is said of which."""

    def __init__(self) -> None:
        ScoreStreamError.__init__(
            self,
            f"The events {' and '.join(sorted(ABOUT_PERSONS))} are about single results; they take "
            f"{Permission.INDIVIDUAL_PII_READ} at every organization that is followed, and this token lacks it. Leave them out.",
        )


def events_for(rights: Rights, follows: Iterable[Followed]) -> tuple[EventType, ...]:
    """What an endpoint is told whose owner did not say what: all that they may be told."""
    if _sees_persons(rights, follows):
        return SUBSCRIBABLE
    return tuple(event for event in SUBSCRIBABLE if event not in ABOUT_PERSONS)


def check_follows(
    rights: Rights, follows: Collection[Followed], events: Collection[EventType], known: OrganizationList
) -> None:
    """Let pass what these rights may follow.

    Raises:
        Forbidden: an organization is not open to them, or does not exist.
        PersonsNotSeen: single results are, which the rights do not show.
    """
    # In this order what exists takes no longer to refuse than what does not.
    if not all(rights.visibility(one.organization) and one.organization in known for one in follows):
        raise Forbidden
    if not ABOUT_PERSONS.isdisjoint(events) and not _sees_persons(rights, follows):
        raise PersonsNotSeen


def is_owner(principal: Principal, endpoint: Endpoint) -> bool:
    """Whether an endpoint is somebody's own. Another issuer's subject of the same name is somebody else."""
    return (principal.subject, principal.issuer) == (endpoint.subject, endpoint.issuer)


def may_manage(rights: Rights, organizations: Iterable[OrganizationId]) -> bool:
    """Whether these rights look after other people's endpoints that follow these organizations.

    It takes both permissions for the whole district of each, or for the county or state that it is.
    """
    return all(
        rights.covers(permission, _responsible(one))
        for one in organizations
        for permission in (Permission.WEBHOOKS_MANAGE, Permission.CUSTOM_AGGREGATE_READ)
    )


def may_see(principal: Principal, endpoint: Endpoint) -> bool:
    """Whether somebody may see an endpoint, how it fares and what was sent there; and pause, delete or test it."""
    return is_owner(principal, endpoint) or may_manage(
        principal.rights, (one.organization for one in endpoint.follows)
    )


def _responsible(organization: OrganizationId) -> OrganizationId:
    is_school = level_of(organization) is OrganizationLevel.SCHOOL
    return district_of(organization) if is_school else organization


def _sees_persons(rights: Rights, follows: Iterable[Followed]) -> bool:
    return all(rights.covers(Permission.INDIVIDUAL_PII_READ, one.organization) for one in follows)
