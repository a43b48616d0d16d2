"""What must hold for every request to the push side: nothing is opened but what is granted, and the rest says why not."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from gateway.commands import Commands, carry_out
from gateway.connections import ConnectionLimits, Connections
from gateway.metrics import Metrics
from gateway.problems import problem_response
from gateway.service import Gateway
from gateway.sse import CloseReason
from gateway.stream import StreamLimits
from gateway.stream_routes import stream_routes
from gateway.subscriptions import Subscription, SubscriptionLimits, SubscriptionRequest
from gateway.tokens import Principal, TokenRefused
from hostile.inputs import Input
from hostile.sound import schools
from hostile.stream_mutations import OPEN_STREAM
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE
from schemas.aggregates import cell_field
from schemas.errors import ScoreStreamError
from schemas.events import OrganizationEntry
from schemas.identifiers import OrganizationId, district_of
from schemas.organization_list import OrganizationList

_ANSWERS: Final = frozenset({200, 202, 400, 401, 403, 404, 406, 413, 415, 503})
_LONGEST_DETAIL: Final = 700
_LIMITS: Final = SubscriptionLimits()


class StreamCheck:
    """Sends requests to the routes of streams; a context manager that owns an event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._district = district_of(OrganizationId(schools()[0]))
        grants = (Grant(READER_ROLE, self._district),)
        reader = Principal(
            "a reader",
            grants,
            datetime.max.replace(tzinfo=UTC),
            "a token",
            BUILT_IN_ROLES.rights(grants),
        )
        self._stream = _OpenStream(reader)
        self._organizations = OrganizationList(
            (OrganizationEntry(cds=cds, name=f"School {cds}", kind="school") for cds in schools()), 1
        )
        self._app = _application(reader, self._stream, self._organizations)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def check(self, given: Input) -> str:
        """What became of one request: "accepted" for 200 and 202, or "rejected: " and the status code."""
        request, *fields = (given.head or b"").split(b"\n")
        method, _, target = request.partition(b" ")
        path, _, query = target.partition(b"?")
        self._stream.told = None
        status, headers, body = self._runner.run(self._send(method, path, query, fields, given.body or b""))
        assert status in _ANSWERS, f"answered {status}"
        for name, value in headers:
            assert not set(b"\r\n\x00") & set(name + value), f"a header of the sender's making: {name!r}"
        if status in (200, 202):
            self._check_accepted(method, query)
            return "accepted"
        detail = msgspec.json.decode(body)["detail"]
        assert 0 < len(detail) <= _LONGEST_DETAIL, f"a detail of {len(detail)} characters"
        assert self._stream.told is None, "refused, and yet the stream was told"
        return f"rejected: {status}"

    def _check_accepted(self, method: bytes, query: bytes) -> None:
        if method == b"GET":
            # Decided anew from the text alone: whatever is asked for must be below the granted district.
            for topic in parse_qs(query.decode("latin-1"), keep_blank_values=True).get("topic", ["none"]):
                digits = "".join(sign for sign in topic if sign in "0123456789")
                assert digits[:7] == self._district[:7], f"opened {topic[:80]!r}"
        elif self._stream.told is not None:
            told = self._stream.told
            views = told.views(self._stream.principal, self._organizations)
            assert len(views) <= _LIMITS.organizations
            for view in views:
                assert view.organization[:7] == self._district[:7], f"shows {view.organization}"
            told.cells(cell_field(2026, "ELA-SUM", "03"))
            said = msgspec.json.decode(msgspec.json.encode(told.described()))
            again = msgspec.convert(said, SubscriptionRequest).subscription(_LIMITS)
            assert again == told, "what the subscriber is told means something else"

    async def _send(
        self, method: bytes, path: bytes, query: bytes, fields: list[bytes], body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        messages: list[Any] = []
        pieces = iter([body[:1000], body[1000:]])

        async def receive() -> dict[str, object]:
            piece = next(pieces, b"")
            return {"type": "http.request", "body": piece, "more_body": len(piece) == 1000}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            # A stream that is opened would not end; HEAD goes the same way, to the headers.
            "method": "HEAD" if method == b"GET" else method.decode(),
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": [(name, value) for name, _, value in (field.partition(b": ") for field in fields)],
            "client": ("192.0.2.1", 40_000),
            "server": ("gateway", 8080),
            "scheme": "http",
            "root_path": "",
        }
        await self._app(scope, receive, send)
        start = messages[0]
        return start["status"], start["headers"], b"".join(one["body"] for one in messages[1:])


class _OpenStream:
    """The stream that commands find."""

    id = OPEN_STREAM

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        topic = f"district/{district_of(OrganizationId(schools()[0]))}"
        self.subscription = SubscriptionRequest((topic,)).subscription(_LIMITS)
        self.told: Subscription | None = None

    @property
    def subject(self) -> str:
        return self.principal.subject

    def close(self, reason: CloseReason) -> None:
        pass

    def reassess(self, principal: Principal) -> None:
        pass

    def change(self, subscription: Subscription) -> None:
        self.told = subscription

    def renew(self, principal: Principal) -> None:
        pass


class _NoTickets:
    """Nobody was given a ticket."""

    async def redeem(self, ticket: str, *, address: str, reconnecting: bool) -> Any:
        raise TokenRefused("ticket", "There is no such ticket.")


def _application(reader: Principal, stream: _OpenStream, organizations: OrganizationList) -> Starlette:
    hours = itertools.count(0, 3600)
    connections = Connections(ConnectionLimits(), clock=lambda: float(next(hours)))  # never too often
    connections.entered(stream, "")
    node = OPEN_STREAM.partition(".")[0]
    # Other nodes do not answer here.
    commands = Commands(
        cast(Any, None),
        node,
        partial(carry_out, connections, _LIMITS, lambda holder: holder.principal(BUILT_IN_ROLES)),
        answer_seconds=0.0,
    )
    settings = SimpleNamespace(subscriptions=_LIMITS, streams=StreamLimits())
    gateway = Gateway(
        settings=cast(Any, settings),
        tables=cast(Any, None),
        hub=cast(Any, SimpleNamespace(directory=organizations)),
        credentials=cast(Any, SimpleNamespace(by_header_or_cookie=lambda request: reader)),
        metrics=Metrics(),
        connections=connections,
        commands=commands,
        revocations=cast(Any, None),
        tickets=cast(Any, _NoTickets()),
    )

    async def refuse(request: object, error: Exception) -> Any:
        return problem_response(error)

    app = Starlette(
        routes=stream_routes(),
        exception_handlers=dict.fromkeys((ScoreStreamError, HTTPException, RedisError), refuse),
    )
    app.state.gateway = gateway
    return app
