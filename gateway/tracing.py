"""The spans of a gateway: of imports, and of ticks that reached screens. Only imported where there are traces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from opentelemetry.trace import Span, SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.imports.records import IMPORTS_PATH
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.process.spans import Attributes, Spans, traceparent_of
from schemas.topics import EXAM_RESULTS
from schemas.tracing import TRACEPARENT, TraceContext, newest_batches, parse_traceparent

# Between two spans of ticks; there may be a hundred ticks in a second, and one in a second shows what they take.
_PUSH_SECONDS: Final = 1.0


class TracedImports:
    """ASGI middleware: a span around each import.

    It begins a trace of its own, and is only linked to the one that the caller names: whoever calls, known to us or not,
    would otherwise decide what is recorded here.
    """

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != IMPORTS_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        attributes = {"http.request.method": "POST", "http.route": IMPORTS_PATH}
        with self._spans.span(
            f"POST {IMPORTS_PATH}", SpanKind.SERVER, attributes, links=_callers(scope)
        ) as span:

            async def send_noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, send_noting_status)


class TracedPublisher:
    """Gives what is published the trace that it belongs to, in a header."""

    def __init__(self, publisher: EventPublisher, spans: Spans) -> None:
        self._publisher = publisher
        self._spans = spans

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Return when every record is acknowledged; see ``EventPublisher``."""
        if not records:
            return
        attributes: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.operation.name": "send",
            "messaging.destination.name": EXAM_RESULTS,
            "messaging.batch.message_count": len(records),
        }
        with self._spans.span(f"send {EXAM_RESULTS}", SpanKind.PRODUCER, attributes) as span:
            await self._publisher.publish(_with_trace(records, span))


class PushSpans:
    """A span, at most once a second, of a tick: from a change noticed to its frames handed over.

    It is linked to the batches that were the latest of their partitions then, as far as they have moved since the last span.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._next_monotonic = 0.0
        self._linked: Mapping[int, int] = {}

    def tick(self, applied: Mapping[int, int], seconds: float, organizations: int, frames: int) -> None:
        """A tick has ended.

        Args:
            applied: the next offset of each partition, as it was read with the notices.
            seconds: since the first of its changes was noticed.
        """
        now = time.monotonic()
        if now < self._next_monotonic:
            return
        self._next_monotonic = now + _PUSH_SECONDS
        batches, self._linked = newest_batches(self._linked, applied), dict(applied)
        attributes = {"scores.push.organizations": organizations, "scores.push.frames": frames}
        began_ns = time.time_ns() - int(seconds * 1e9)
        with self._spans.span(
            "push changes", SpanKind.PRODUCER, attributes, links=batches, start_ns=began_ns
        ):
            pass


def _callers(scope: Scope) -> list[TraceContext]:
    named = [value for name, value in scope["headers"] if name == TRACEPARENT.encode()]
    found = parse_traceparent(named[0]) if len(named) == 1 else None
    return [] if found is None else [found]


def _with_trace(records: Sequence[OutgoingRecord], span: Span) -> Sequence[OutgoingRecord]:
    parent = traceparent_of(span)
    if parent is None:
        return records
    header = (TRACEPARENT, parent.encode())
    return [replace(record, headers=(*record.headers, header)) for record in records]
