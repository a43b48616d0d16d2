"""The reading side of the API, but for streams: aggregates, organizations, the page's session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.audit.notes import narrowed_by, watched_organizations
from gateway.credentials import SESSION_COOKIE, bearer_token
from gateway.grant_claims import claim_of
from gateway.images import CellImage, put_data, whole_fragment
from gateway.private_answers import PRIVATE, private_json
from gateway.service import gateway_of
from gateway.spreadsheets import csv_text
from gateway.subscriptions import Subscription
from gateway.tokens import TokenRefused
from gateway.topics import Topic, parse_filter
from schemas.access.permissions import Permission, Rights
from schemas.audit import AuditKind
from schemas.errors import InvalidInput
from schemas.figures import FIGURES_HEADER, Figures, figures_row, rfc3339
from schemas.identifiers import CANARY_COUNTY, STATE, OrganizationId, is_canary, organization_id
from schemas.organization_list import OrganizationList, OrganizationSummary

_LONGEST_COOKIE: Final = 4_000  # browsers drop what is longer, with name and attributes at 4,096

_decode_figures: Final = msgspec.json.Decoder(Figures).decode


def api_routes() -> list[Route]:
    """The routes of this module."""
    return [
        Route("/v1/aggregates/{organization}", aggregates, methods=["GET"]),
        Route("/v1/organizations", organizations, methods=["GET"]),
        Route("/v1/session", session, methods=["GET"]),
        Route("/v1/session", open_session, methods=["POST"]),
        Route("/v1/session", close_session, methods=["DELETE"]),
    ]


async def aggregates(request: Request) -> Response:
    """All cells of one organization, as they stand."""
    gateway = gateway_of(request)
    principal = gateway.credentials.by_header_or_cookie(request)
    query = request.query_params
    as_csv = wants_csv(query.get("format"), request.headers.get("accept", ""))
    wanted = parse_filter(
        years=query.getlist("year") or None,
        tests=query.getlist("test") or None,
        grades=query.getlist("grade") or None,
    )
    topic = Topic(organization_id(request.path_params["organization"]))
    views = gateway.views(principal, Subscription((topic,)))
    gateway.notes.read(
        request,
        principal,
        report="aggregate",
        detail="csv" if as_csv else "json",
        **watched_organizations(principal, [str(topic)]),
        **narrowed_by(wanted),
    )
    await gateway.audit.written()
    # The whole organization, whose picture is shared with others; narrowed afterwards. Last, so that nothing may be
    # withdrawn between this and the answer.
    [snapshot] = await gateway.hub.snapshots(views)
    shown = snapshot.shown(wanted)
    if as_csv:
        return Response(
            _csv(snapshot.organization, shown, stale=snapshot.stale),
            media_type="text/csv; charset=utf-8",
            headers={
                **PRIVATE,
                "Content-Disposition": f'inline; filename="preliminary-{snapshot.organization.id}.csv"',
            },
        )
    complete = None if snapshot.stale else gateway.hub.complete_ms
    body = put_data([whole_fragment(snapshot.organization, shown)], snapshot.cursor, stale=snapshot.stale)
    body = body[:-1] + b',"complete":%s}' % msgspec.json.encode(
        None if complete is None else rfc3339(complete)
    )
    return Response(body, media_type="application/json", headers=PRIVATE)


async def organizations(request: Request) -> Response:
    """The organizations that the caller may see, all or those under one."""
    gateway = gateway_of(request)
    principal = gateway.credentials.by_header_or_cookie(request)
    under = request.query_params.get("under")
    top = STATE if under is None else organization_id(under)
    known = gateway.hub.directory
    visible = _visible(principal.rights, known, top)
    if top == STATE and (canaries := _visible(principal.rights, known, CANARY_COUNTY)):
        visible = sorted([*visible, *canaries])
    asked = str(Topic(top))
    gateway.notes.read(request, principal, AuditKind.ORGANIZATIONS_LISTED, organizations=(asked,))
    body = {"organizations": [known.summary(organization) for organization in visible]}
    return private_json(body)


def _visible(rights: Rights, known: OrganizationList, top: OrganizationId) -> list[OrganizationId]:
    """What somebody may see of an organization and all below it; the canary's county is below nothing.

    Who may see how the service does, sees that there are canaries, if not their figures.
    """
    # The directory is not asked about what is not open: then what exists takes no longer than what does not.
    if is_canary(top) and rights.covers(Permission.OPERATIONS_READ, STATE):
        return known.under(top)
    if not rights.touches(Permission.CUSTOM_AGGREGATE_READ, top):
        return []
    return rights.visible_among(known.under(top))


async def session(request: Request) -> Response:
    """Who the caller is to us, what is granted, what that comes to here, and until when."""
    principal = gateway_of(request).credentials.by_header_or_cookie(request)
    body = {
        "subject": principal.subject,
        "expires": rfc3339(int(principal.expires.timestamp() * 1000)),
        **claim_of(principal.grants),
        "permissions": principal.rights.holdings(),
        "student_groups": {
            permission: sorted(groups) for permission, groups in principal.rights.student_groups.items()
        },
    }
    return private_json(body)


async def open_session(request: Request) -> Response:
    """Put the header's token into a cookie, for EventSource, which cannot send headers."""
    gateway = gateway_of(request)
    token = bearer_token(request)
    principal = gateway.credentials.by_header(request)
    if token is None or principal is None:
        raise TokenRefused("missing", "Send the token to keep: Authorization: Bearer TOKEN.")
    if len(token) > _LONGEST_COOKIE:
        raise InvalidInput(
            f"the token has {len(token)} characters; a cookie holds {_LONGEST_COOKIE}. "
            "Use it in the Authorization header instead"
        )
    answer = Response(status_code=204, headers=PRIVATE)
    answer.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=max(0, int((principal.expires - datetime.now(UTC)).total_seconds())),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


async def close_session(request: Request) -> Response:
    """Forget the cookie. The token itself stays valid until it expires."""
    answer = Response(status_code=204, headers=PRIVATE)
    answer.delete_cookie(
        SESSION_COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
    return answer


def wants_csv(form: str | None, accept: str) -> bool:
    """Whether CSV is asked for, by ``format`` or else by the Accept header.

    Raises:
        InvalidInput: ``format`` names neither form.
    """
    if form is None:
        return "text/csv" in accept and "application/json" not in accept
    if form not in ("json", "csv"):
        raise InvalidInput(f"format is '{form[:40]}'; expected json or csv")
    return form == "csv"


def _csv(organization: OrganizationSummary, shown: Sequence[CellImage], *, stale: bool) -> str:
    said = "true" if stale else "false"
    rows = (
        [*figures_row(organization.id, organization.name, _decode_figures(image.encoded)), said]
        for image in shown
    )
    return csv_text([*FIGURES_HEADER, "stale"], rows)
