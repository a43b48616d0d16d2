"""Ways to a client: what a stream writes its bytes to, and the way that any ASGI server offers.

A line takes whatever it is given, at once, and says when it holds enough: ``Holder.paused``. From then until
``Holder.resumed`` a stream gives it nothing but its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Receive, Send

# What one connection holds in this process before its stream is told to pause, besides the kernel's buffer.
HIGH_WATER_BYTES: Final = 16_384
NO_DESCRIPTOR: Final = -1


class Chunk:
    """Some frames as bytes, and once more as one chunk of an HTTP/1.1 body; shared by all who get the same."""

    __slots__ = ("framed", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.framed = b"%x\r\n%b\r\n" % (len(raw), raw)


class Line(Protocol):
    """The way to one client."""

    # The socket, when a chunk's ``framed`` bytes may go straight to it; ``NO_DESCRIPTOR`` when something is in the way.
    descriptor: int

    def write_on(self, chunk: Chunk, sent: int) -> None:
        """Send the rest of a chunk's ``framed`` bytes, of which the socket has taken so many."""

    def write(self, chunk: Chunk) -> None:
        """Send; may call ``paused`` before it returns."""

    def unsent(self) -> bool:
        """Whether some of what was written is still in this process."""

    def end(self) -> None:
        """End the answer as HTTP wants it, after all that was written."""

    def reset(self) -> None:
        """Drop the connection with all that is still to be sent."""


class Holder(Protocol):
    """Who writes to a line, and is told how it fares; all calls come from the event loop."""

    def paused(self) -> None:
        """Too much is unsent."""

    def resumed(self) -> None:
        """It is sent."""

    def gone(self) -> None:
        """The connection is over; called once, and last."""


class PlainLine:
    """A line over ASGI's ``send``, for servers that have nothing faster."""

    def __init__(self, holder: Holder, send: Send) -> None:
        self.descriptor = NO_DESCRIPTOR  # the server has it
        self._holder = holder
        self._send = send
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._work = asyncio.Event()
        self._sending: asyncio.Future[None] | None = None

    def write_on(self, chunk: Chunk, sent: int) -> None:
        """Never called: there is no descriptor."""
        raise AssertionError("nothing was sent straight to a socket")

    def write(self, chunk: Chunk) -> None:
        """Put behind what is still to be sent."""
        self._chunks.append(chunk.raw)
        self._held += len(chunk.raw)
        self._work.set()
        if self._held > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._holder.paused()

    def unsent(self) -> bool:
        """Whether the server has not taken all."""
        return self._held > 0

    def end(self) -> None:
        """End after what was written."""
        self._ended = True
        self._work.set()

    def reset(self) -> None:
        """Stop sending; the server drops a connection whose answer was not ended."""
        if self._sending is not None:
            self._sending.cancel()

    async def run(self, start: Callable[[Line], None], receive: Receive) -> None:
        """Start a stream on this line, and send until it has ended, was reset, or its client has hung up."""
        self._sending = asyncio.ensure_future(self._send_all())
        hung_up = asyncio.ensure_future(_until_gone(receive))
        try:
            start(self)
            await asyncio.wait({self._sending, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hung_up.cancel()
            failed = self._sending.done() and not self._sending.cancelled() and self._sending.exception()
            self._sending.cancel()
            self._holder.gone()
        if failed:
            raise failed

    async def _send_all(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._chunks:
                body = self._chunks.popleft()
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
                self._held -= len(body)
                if self._paused and not self._chunks:
                    self._paused = False
                    self._holder.resumed()
            if self._ended:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
