"""The ASGI response that carries a stream.

Ours rather than sse-starlette's, whose response costs four tasks, a lock and a timer per connection, and waits without
end for a reader that has stopped reading. The bytes are the same; a test sends one stream through both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from starlette.types import Receive, Scope, Send

from gateway import sse
from gateway.edge import DIRECT_SEND
from gateway.metrics import Metrics
from gateway.stream import Stream

logger = logging.getLogger(__name__)

ABORT_EXTENSION: Final = (
    "scores.abort"  # our server's way to drop a connection with all that is buffered for it
)


class StreamingResponse:
    """Sends a stream until it ends, its client hangs up, or its client does not read for too long."""

    def __init__(self, stream: Stream, metrics: Metrics, *, send_timeout_seconds: float) -> None:
        self._stream = stream
        self._metrics = metrics
        self._send_timeout_seconds = send_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        self._metrics.connections.inc()
        reason = sse.CloseReason.FAULT
        # Each layer of the application wraps ``send``; from here on none of them has anything to add.
        direct: Send = scope.get("extensions", {}).get(DIRECT_SEND, send)
        sending = asyncio.ensure_future(self._send_all(direct))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                reason = sse.CloseReason.CLIENT_GONE
                return
            reason = sending.result()
            abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT_EXTENSION)
            if reason is sse.CloseReason.SLOW_READER and abort is not None:
                # What is buffered will never be read, and a polite close would wait for it.
                abort()
                await gone
        finally:
            gone.cancel()
            await _stopped(sending)
            self._metrics.connections.dec()
            self._metrics.closes.labels(reason.text).inc()

    async def _send_all(self, send: Send) -> sse.CloseReason:
        async with aclosing(self._stream.frames()) as frames:
            async for encoded in frames:
                try:
                    async with asyncio.timeout(self._send_timeout_seconds):
                        await send({"type": "http.response.body", "body": encoded, "more_body": True})
                except TimeoutError:
                    return sse.CloseReason.SLOW_READER
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return self._stream.reason


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stopped(task: asyncio.Future[sse.CloseReason]) -> None:
    """Cancel, and wait until the stream has left the hub."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
