"""``POST /v1/stream/tickets``: a one-use ticket for a stream, for pages of other origins (``gateway.tickets``)."""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.holders import holder_of
from gateway.private_answers import private_json
from gateway.service import gateway_of
from gateway.stream_routes import asked_subscription
from schemas.audit import AuditKind
from schemas.figures import rfc3339


class IssuedTicket(Struct, frozen=True):
    """A ticket as it is handed out, and until when it must be redeemed."""

    ticket: str
    expires: str


def ticket_routes() -> list[Route]:
    """The routes of this module."""
    return [Route("/v1/stream/tickets", issue, methods=["POST"])]


async def issue(request: Request) -> Response:
    """A ticket for one stream in the name of the header's token, never of the cookie's."""
    gateway = gateway_of(request)
    principal = gateway.credentials.by_header_only(request)
    asked = await asked_subscription(request)
    gateway.views(principal, asked.subscription(gateway.settings.subscriptions))
    ticket, expires = await gateway.tickets.issue(holder_of(principal), asked)
    gateway.notes.read(
        request, principal, AuditKind.TICKET_ISSUED, report="aggregate", organizations=asked.topics
    )
    await gateway.audit.written()
    body = IssuedTicket(ticket, rfc3339(int(expires.timestamp() * 1000)))
    return private_json(body, HTTPStatus.CREATED)
