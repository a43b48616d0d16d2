"""The ASGI response that carries a stream.

Ours rather than sse-starlette's, whose response costs four tasks, a lock and a timer per connection, and waits without
end for a reader that has stopped reading. The bytes are the same; a test sends one stream through both.

Where the server hands over connections (``gateway.server``), the application is done with a stream as soon as it has begun:
no task and no layer of the application waits for it. Any other server gets the same bytes through ``send``.
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from gateway import sse
from gateway.edge import DIRECT_SEND
from gateway.lines import Holder, Line, PlainLine
from gateway.stream import Stream

HAND_OVER_EXTENSION: Final = "scores.hand_over"  # our server's way to give a connection away


class Handover(Protocol):
    """One connection that can be taken from the server."""

    def prepare(self) -> bool:
        """The answer to come will be the last on its connection, and of unknown length; before its head is sent.

        False when its client has gone meanwhile, and there is nobody to answer.
        """

    def take(self, holder: Holder) -> Line | None:
        """The connection, from now on ``holder``'s; None when its client has gone."""


class StreamingResponse:
    """Sends a stream until it ends, its client hangs up, or its client does not read for too long."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope.get("extensions", {})
        handover: Handover | None = extensions.get(HAND_OVER_EXTENSION)
        try:
            if handover is not None and not handover.prepare():
                self._stream.gone()
                return
            await send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
            line = None if handover is None else handover.take(self._stream)
        except BaseException:
            self._stream.gone()
            raise
        if handover is None:
            # Each layer of the application wraps ``send``; from here on none of them has anything to add.
            await PlainLine(self._stream, extensions.get(DIRECT_SEND, send)).run(self._stream.start, receive)
        elif line is None:
            self._stream.gone()
        else:
            try:
                self._stream.start(line)
            except BaseException:
                self._stream.fail()
                raise
