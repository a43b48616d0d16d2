"""Endpoints as they are asked for: the bodies of requests, and what they make of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.tokens import Principal
from gateway.topics import parse_filter
from schemas.errors import InvalidInput
from schemas.identifiers import GRADE_NUMBER, Grade, organization_id
from schemas.webhooks.addresses import check_url
from schemas.webhooks.endpoints import (
    SUBSCRIBABLE,
    Description,
    Endpoint,
    EventType,
    Followed,
    IntervalSeconds,
    PayloadKind,
    Points,
    Rate,
    SecretKind,
)

MOST_FOLLOWED: Final = 500  # as topics of a stream; a worker looks at each when something changes
_SHOWN: Final = 40

Signing = Annotated[tuple[SecretKind, ...], Meta(min_length=1, max_length=2)]


class WantedFollow(Struct, frozen=True, forbid_unknown_fields=True):
    """An organization to follow, and whether everything below it is, too."""

    organization: str
    below: bool = True


Follows = Annotated[tuple[WantedFollow, ...], Meta(min_length=1, max_length=MOST_FOLLOWED)]


class EndpointChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a change; what is left out stays as it is. With ``revision``, only if that is still the latest."""

    url: str | UnsetType = UNSET
    follows: Follows | UnsetType = UNSET
    events: tuple[EventType, ...] | UnsetType = UNSET
    tests: tuple[str, ...] | UnsetType = UNSET
    grades: tuple[str, ...] | UnsetType = UNSET
    points: Points | UnsetType | None = UNSET
    interval_seconds: IntervalSeconds | UnsetType = UNSET
    payload: PayloadKind | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    private_network: bool | UnsetType = UNSET
    revision: int | UnsetType = UNSET


class NewEndpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body that makes an endpoint.

    Without ``events`` it is told of all that its owner may be told; without ``signing`` it gets a secret for v1.
    """

    url: str
    follows: Follows
    events: tuple[EventType, ...] | UnsetType = UNSET
    tests: tuple[str, ...] | UnsetType = UNSET
    grades: tuple[str, ...] | UnsetType = UNSET
    points: Points | UnsetType | None = UNSET
    interval_seconds: IntervalSeconds | UnsetType = UNSET
    payload: PayloadKind | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    private_network: bool | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    signing: Signing | UnsetType = UNSET


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a rotation: of which kinds the new secrets are (as before without), and whether the old ones end at once."""

    signing: Signing | None = None
    at_once: bool = False


class SinceOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a recovery or bulk retry: what was made since a time with its zone, or milliseconds since 1970."""

    since: str | int | None = None


def asked_fields(order: EndpointChange | NewEndpoint) -> dict[str, Any]:
    """What a body says of an endpoint's own fields, as they are kept.

    Raises:
        InvalidInput: an organization, event, test or grade is not one.
    """
    given = {
        name: value
        for name in order.__struct_fields__
        if name not in ("revision", "signing") and (value := getattr(order, name)) is not UNSET
    }
    if "follows" in given:
        given["follows"] = _follows(given["follows"])
    if "events" in given:
        given["events"] = _events(given["events"])
    if given.get("tests"):
        given["tests"] = tuple(sorted(parse_filter(tests=given["tests"]).tests or ()))
    if given.get("grades"):
        grades = parse_filter(grades=given["grades"]).grades or ()
        given["grades"] = tuple(sorted(grades, key=lambda grade: GRADE_NUMBER[Grade(grade)]))
    return given


def check_address(endpoint: Endpoint, *, allow_private: bool) -> None:
    """Let pass where a deployment may deliver to.

    Raises:
        InvalidInput: it is no address, one where it may not, or a private one where that is not allowed.
    """
    if endpoint.private_network and not allow_private:
        raise InvalidInput(
            "private_network is true, and this deployment delivers to public addresses only; leave it out, or let its "
            "operators set SCORES_WEBHOOK_ALLOW_PRIVATE"
        )
    check_url(endpoint.url, endpoint.private_network)


def granted_by(principal: Principal) -> dict[str, Any]:
    """The fields of an endpoint that say in whose name it is told: that of whoever changed it last."""
    issued = principal.issued
    return {
        "subject": principal.subject,
        "issuer": principal.issuer,
        "grants": principal.grants,
        "token_id": principal.token_id,
        "issued_ms": 0 if issued is None else int(issued.timestamp() * 1000),
        "revoked_ms": None,
    }


def altered(endpoint: Endpoint, now_ms: int, **fields: Any) -> Endpoint:
    """The same endpoint with other fields, as its next revision."""
    return msgspec.structs.replace(endpoint, **fields, updated_ms=now_ms, revision=endpoint.revision + 1)


def _follows(wanted: Sequence[WantedFollow]) -> tuple[Followed, ...]:
    found: dict[str, Followed] = {}
    for one in wanted:
        organization = organization_id(one.organization)
        if organization in found:
            raise InvalidInput(f"{organization} is followed twice; name it once")
        found[organization] = Followed(organization, one.below)
    return tuple(found.values())


def _events(wanted: Sequence[EventType]) -> tuple[EventType, ...]:
    other = [event for event in wanted if event not in SUBSCRIBABLE]
    if other:
        raise InvalidInput(
            f"events has '{other[0][:_SHOWN]}', which nobody subscribes to: it comes by itself; expected some of "
            f"{', '.join(SUBSCRIBABLE)}"
        )
    if not wanted:
        raise InvalidInput("events is empty; pause the endpoint, or leave events out")
    return tuple(event for event in SUBSCRIBABLE if event in wanted)
