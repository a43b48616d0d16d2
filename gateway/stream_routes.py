"""Streams over HTTP: opening one, and telling an open one what to watch or with which token to go on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import sse
from gateway.accepting import NOT_ACCEPTABLE, accepts_event_stream
from gateway.commands import Outcome, Result, new_stream_id
from gateway.connections import counted_address
from gateway.problems import RETRY_AFTER_SECONDS, problem
from gateway.request_bodies import read_body
from gateway.request_scope import PRINCIPAL
from gateway.service import Gateway, gateway_of
from gateway.stream import Stream, farewell
from gateway.streaming_response import StreamingResponse
from gateway.subscriptions import SubscriptionRequest
from gateway.tokens import Principal
from gateway.topics import parse_since
from schemas.access.permissions import Forbidden
from schemas.audit import AuditKind
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.process.audit.auditor import AuditUnavailable

_LARGEST_BODY: Final = 65_536  # 500 topics are 20 kB
_AFTER_CHANGE_SECONDS: Final = 2

_decode_request: Final = msgspec.json.Decoder(SubscriptionRequest).decode


def stream_routes() -> list[Route]:
    """The routes of this module."""
    return [
        Route("/v1/stream", StreamEndpoint(), methods=["GET"]),
        Route("/v1/streams/{stream}/subscription", change, methods=["POST"]),
        Route("/v1/streams/{stream}/renew", renew, methods=["POST"]),
    ]


class StreamEndpoint:
    """``GET /v1/stream``: live results of the asked topics.

    An ASGI application, not a function of a request: nothing of the request, whose query may name 500 topics, is kept
    while the stream is open.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await _opened(HTTPConnection(scope))
        await answer(scope, receive, send)


async def change(request: Request) -> Response:
    """Let an open stream watch something else."""
    gateway = gateway_of(request)
    principal = gateway.credentials.by_header_or_cookie(request)
    asked = await asked_subscription(request)
    gateway.views(principal, asked.subscription(gateway.settings.subscriptions))
    return await _commanded(gateway, request, principal, asked)


async def renew(request: Request) -> Response:
    """Let an open stream go on with the token of this request."""
    gateway = gateway_of(request)
    principal = gateway.credentials.by_header_or_cookie(request)
    return await _commanded(gateway, request, principal, None)


async def _opened(request: HTTPConnection) -> ASGIApp:
    if not accepts_event_stream(", ".join(request.headers.getlist("accept"))):
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, NOT_ACCEPTABLE)
    gateway = gateway_of(request)
    try:
        principal, asked = await _asked_by(gateway, request)
        cursor, since_ms = _from_where(request)
        stream = Stream(
            hub=gateway.hub,
            subscription=asked.subscription(gateway.settings.subscriptions),
            principal=principal,
            limits=gateway.settings.streams,
            metrics=gateway.metrics,
            stream_id=new_stream_id(gateway.node),
            cursor=cursor,
            since_ms=since_ms,
            left=gateway.left,
        )
    except DependencyUnavailable:
        # The tables, an issuer's keys or what has been revoked: a status other than 200 would end EventSource for good.
        return _turned_away(gateway, sse.CloseReason.NOT_READY)
    if gateway.draining:
        return _turned_away(gateway, sse.CloseReason.DRAINING)
    address = counted_address(request.client.host if request.client else None)
    refusal = gateway.connections.admit(principal.subject, address)
    if refusal is not None:
        return _turned_away(gateway, refusal)
    if request.scope["method"] == "HEAD":
        return _headers_only
    gateway.connections.entered(stream, address)
    try:
        await gateway.notes.opened(stream, request, cursor, since_ms)
    except AuditUnavailable:
        # What nobody could account for later is not shown; the client comes back by itself.
        stream.gone()
        return _turned_away(gateway, sse.CloseReason.NOT_READY)
    except BaseException:
        stream.gone()
        raise
    gateway.metrics.connects.labels("opened").inc()
    return StreamingResponse(stream)


async def _headers_only(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _asked_by(gateway: Gateway, request: HTTPConnection) -> tuple[Principal, SubscriptionRequest]:
    """Who asks for what: by a token and the address, or by a ticket, which says both."""
    query = request.query_params
    asked = SubscriptionRequest(
        topics=tuple(query.getlist("topic")),
        tests=tuple(query.getlist("test")) or None,
        grades=tuple(query.getlist("grade")) or None,
        years=tuple(query.getlist("year")) or None,
    )
    tickets = query.getlist("ticket")
    if not tickets:
        return gateway.credentials.by_header_or_cookie(request), asked
    if len(tickets) > 1 or asked != SubscriptionRequest(topics=()):
        raise InvalidInput(
            "a ticket says itself what is watched; send it alone, without topic, test, grade or year"
        )
    address = counted_address(request.client.host if request.client else None)
    reconnecting = sse.parse_cursor(_last_id(request)) is not None
    opened = await gateway.tickets.redeem(tickets[0], address=address, reconnecting=reconnecting)
    request.scope[PRINCIPAL] = opened.principal
    gateway.notes.read(request, opened.principal, AuditKind.TICKET_REDEEMED)
    return opened


def _from_where(request: HTTPConnection) -> tuple[sse.Cursor | None, int | None]:
    """Where the subscriber stands: by an id, or else by a time.

    An id outranks the time even if it is not one of ours: a browser that comes back repeats its first address, and what
    it had then is long outdated.
    """
    text = _last_id(request)
    since = request.query_params.get("since")
    return sse.parse_cursor(text), parse_since(since) if since and not text else None


def _last_id(request: HTTPConnection) -> str | None:
    query = request.query_params
    return request.headers.get("last-event-id") or query.get("last_event_id") or query.get("lastEventId")


def _turned_away(gateway: Gateway, reason: sse.CloseReason) -> Response:
    gateway.metrics.connects.labels(reason.text).inc()
    answer = Response(farewell(reason))
    answer.raw_headers = [*sse.HEADERS, (b"content-length", str(len(answer.body)).encode())]
    return answer


async def asked_subscription(request: Request) -> SubscriptionRequest:
    """The subscription that a request's body asks for.

    Raises:
        HTTPException: the body is too large, or no JSON by its own account.
        InvalidInput: it is not as expected.
    """
    body = await read_body(request, most_bytes=_LARGEST_BODY, remedy="name fewer topics")
    try:
        return _decode_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f'the body is not as expected: {error}; send {{"topics": ["school/<CDS>", ...]}}, and "tests", "grades", '
            '"years" to narrow'
        ) from None


async def _commanded(
    gateway: Gateway, request: Request, principal: Principal, asked: SubscriptionRequest | None
) -> Response:
    stream_id = request.path_params["stream"]
    return _answer(stream_id, await gateway.commands.ask(stream_id, principal, asked))


def _answer(stream_id: str, result: Result) -> Response:
    match result.outcome:
        case Outcome.DONE:
            return Response(
                msgspec.json.encode({"stream": stream_id}),
                status_code=HTTPStatus.ACCEPTED,
                media_type="application/json",
                headers={"Cache-Control": "no-store"},
            )
        case Outcome.TOO_OFTEN:
            return problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"This stream was told too much in a short time; ask again in {_AFTER_CHANGE_SECONDS} s.",
                {"Retry-After": str(_AFTER_CHANGE_SECONDS)},
            )
        case Outcome.INVALID:
            raise InvalidInput(result.detail)
        case Outcome.FORBIDDEN:
            raise Forbidden
        case Outcome.UNKNOWN | Outcome.FOREIGN:  # whoever guesses an id learns nothing by it
            return problem(
                HTTPStatus.NOT_FOUND,
                "You have no such stream, or not any more; open a new one: GET /v1/stream.",
            )
        case Outcome.NOT_NOW:
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"The stream cannot be reached just now; ask again in {RETRY_AFTER_SECONDS} s.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
