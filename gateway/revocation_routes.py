"""``/v1/revocations``: which tokens open nothing any more, and one more of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.private_answers import private_json
from gateway.request_bodies import read_order
from gateway.revocations import Revocation, RevocationKind
from gateway.service import Gateway, gateway_of
from gateway.tokens import Principal
from schemas.access.permissions import Forbidden, Permission
from schemas.audit import AuditKind, shortened
from schemas.errors import InvalidInput
from schemas.figures import rfc3339
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, level_of, organization_id

_LARGEST_BODY: Final = 4_096
_LONGEST_NAME: Final = 512  # of a subject, a token id or an issuer


class RevocationOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request: exactly one of ``subject``, ``token`` and ``district``."""

    subject: str | None = None
    token: str | None = None
    district: str | None = None
    issuer: str = ""


class ListedRevocation(Struct, frozen=True):
    """A revocation as it leaves the process."""

    kind: str
    value: str
    issuer: str
    at: str
    by: str


class ListedRevocations(Struct, frozen=True):
    """Several of them."""

    revocations: tuple[ListedRevocation, ...]


_ORDER: Final = msgspec.json.Decoder(RevocationOrder)


def revocation_routes() -> list[Route]:
    """The routes of this module."""
    return [
        Route("/v1/revocations", revocations, methods=["GET"]),
        Route("/v1/revocations", revoke, methods=["POST"]),
    ]


async def revocations(request: Request) -> Response:
    """Those that the caller could have made."""
    gateway, principal = _asking(request)
    if not principal.rights.anywhere(Permission.TOKEN_REVOKE):
        raise Forbidden
    known = [one for one in gateway.revocations.known if _may(principal, one.kind, one.value)]
    return private_json(ListedRevocations(tuple(_listed(one) for one in known)))


async def revoke(request: Request) -> Response:
    """Let the tokens of a subject, one token, or the tokens of a district open nothing from now on, on every node."""
    gateway, principal = _asking(request)
    order = await read_order(request, _ORDER, most_bytes=_LARGEST_BODY, example='{"subject": "..."}')
    wanted = _wanted(order, principal)
    if not _may(principal, wanted.kind, wanted.value):
        raise Forbidden
    stored = await gateway.revocations.append(wanted)
    by_district = wanted.kind is RevocationKind.DISTRICT
    gateway.notes.read(
        request,
        principal,
        AuditKind.REVOKED,
        organizations=(f"district/{wanted.value}",) if by_district else (),
        rule=Permission.TOKEN_REVOKE.value,
        outcome=wanted.kind.value,
        detail="" if by_district else shortened(wanted.value),
    )
    return private_json(_listed(stored), HTTPStatus.CREATED)


def _asking(request: Request) -> tuple[Gateway, Principal]:
    gateway = gateway_of(request)
    return gateway, gateway.credentials.by_header_only(request)


def _wanted(order: RevocationOrder, principal: Principal) -> Revocation:
    named = {
        RevocationKind.SUBJECT: order.subject,
        RevocationKind.TOKEN: order.token,
        RevocationKind.DISTRICT: order.district,
    }
    given = [(kind, value) for kind, value in named.items() if value is not None]
    if len(given) != 1:
        raise InvalidInput("a revocation names exactly one of subject, token and district")
    [(kind, value)] = given
    if not value or max(len(value), len(order.issuer)) > _LONGEST_NAME:
        raise InvalidInput(f"the {kind} or issuer is empty or has more than {_LONGEST_NAME} characters")
    if kind is RevocationKind.DISTRICT:
        if order.issuer:
            raise InvalidInput("a district's tokens are revoked whoever issued them; leave issuer out")
        if level_of(organization_id(value)) is not OrganizationLevel.DISTRICT:
            raise InvalidInput(f"'{value}' is no district; a district's code ends with seven zeros")
    return Revocation(kind, value, issuer=order.issuer, by=principal.subject)


def _may(principal: Principal, kind: RevocationKind, value: str) -> bool:
    # The directory is not asked: what does not exist is refused as what is somebody else's, and as fast.
    where = OrganizationId(value) if kind is RevocationKind.DISTRICT else STATE
    return principal.rights.covers(Permission.TOKEN_REVOKE, where)


def _listed(one: Revocation) -> ListedRevocation:
    return ListedRevocation(one.kind.value, one.value, one.issuer, rfc3339(one.at_ms), one.by)
