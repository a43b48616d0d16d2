"""A connection of uvicorn's that a stream can take over: from then on ready bytes go straight to the transport.

What uvicorn does for every message of an answer - a coroutine, checks, framing - is done here once for all who get the same
bytes. And what it keeps for every request - parser, task, the application's layers, headers - is let go when the stream has
begun: an open stream is a transport, this object and a ``Stream``.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.lines import HIGH_WATER_BYTES, NO_DESCRIPTOR, Chunk, Holder, Line
from gateway.request_limits import BoundedProtocol
from gateway.streaming_response import HAND_OVER_EXTENSION

_NOTHING_QUEUED: Final[deque[object]] = deque(maxlen=0)


class Connection(BoundedProtocol):
    """HTTP/1.1 until it is taken; then a line."""

    __slots__ = ("_chunked", "_holder", "_socket", "descriptor")

    descriptor: int
    _chunked: bool
    _socket: int
    _holder: Holder | None

    # As a connection of uvicorn's.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._holder = None
        self._socket = self.descriptor = NO_DESCRIPTOR
        super().connection_made(transport)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        handover = Handover(self, self.cycle)
        self.scope["extensions"] = {HAND_OVER_EXTENSION: handover}  # type: ignore[dict-item]  # not a mapping

    def data_received(self, data: bytes) -> None:
        if self._holder is None:
            super().data_received(data)
        # Else passed over: the answer has said that no other request will be heard on this connection.

    def pause_writing(self) -> None:
        if self._holder is None:
            super().pause_writing()
        else:
            self._holder.paused()

    def resume_writing(self) -> None:
        if self._holder is None:
            super().resume_writing()
        else:
            self._holder.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        holder, self._holder = self._holder, None
        self._socket = self.descriptor = NO_DESCRIPTOR  # soon it is another connection's
        if holder is not None:
            holder.gone()

    def streaming(self) -> bool:
        """Whether an answer is under way that goes on for as long as it likes."""
        return self._holder is not None or super().streaming()

    # As a line.

    def write(self, chunk: Chunk) -> None:
        """Send; may call ``paused`` before it returns."""
        ready = chunk.framed if self._chunked else chunk.raw
        if self._socket != NO_DESCRIPTOR and not self.transport.get_write_buffer_size():
            # Straight to the kernel, which nearly always takes it all; the transport would queue it until later.
            try:
                sent = os.write(self._socket, ready)
            except OSError:  # full, or broken: the transport finds out which, and says so
                sent = 0
            if sent == len(ready):
                if self._chunked:  # clients of HTTP/1.0 get other bytes
                    self.descriptor = self._socket
                return
            ready = ready[sent:]
        self.descriptor = NO_DESCRIPTOR
        self.transport.write(ready)

    def write_on(self, chunk: Chunk, sent: int) -> None:
        """Leave the rest to the transport, which finds out why."""
        self.descriptor = NO_DESCRIPTOR
        self.transport.write(chunk.framed[sent:])

    def unsent(self) -> bool:
        """Whether the kernel has not taken all."""
        return self.transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """End the answer, and the connection once all is sent."""
        self._socket = self.descriptor = NO_DESCRIPTOR
        if self._chunked:
            self.transport.write(b"0\r\n\r\n")
        self.transport.close()

    def reset(self) -> None:
        """Drop the connection with all that is still to be sent."""
        self.drop()

    def hold(self, holder: Holder, cycle: RequestResponseCycle) -> Line | None:
        """Leave the connection to a holder; None when its client has gone."""
        if cycle.disconnected or self.transport.is_closing():
            return None
        self._holder = holder
        self._socket = _descriptor(self.transport)
        self._chunked = bool(cycle.chunked_encoding)
        cycle.response_complete = True  # as far as uvicorn is concerned
        self._rest()  # what is still to come of the request is passed over, however long it takes
        self._unset_keepalive_if_required()
        self.flow.resume_reading()  # or the client's hanging up would not be noticed
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if self.flow.write_paused:
            holder.paused()
        self._let_go()
        return self

    def _let_go(self) -> None:
        """Forget the request, and whatever was sent behind it: together several kilobytes."""
        # None, or nothing, where uvicorn expects something only while it has a request to serve.
        self.cycle = None  # type: ignore[assignment]
        self.parser = None  # type: ignore[assignment]
        self.flow = None  # type: ignore[assignment]
        self.scope = None  # type: ignore[assignment]
        self.headers = None  # type: ignore[assignment]
        self.url = b""
        self.pipeline = _NOTHING_QUEUED  # type: ignore[assignment]


def _descriptor(transport: asyncio.Transport) -> int:
    """The socket to write to; none where the transport has to encrypt first."""
    if transport.get_extra_info("sslcontext") is not None:
        return NO_DESCRIPTOR
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor


class Handover:
    """What an application needs to take the connection of its request."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle

    def prepare(self) -> bool:
        """The answer to come will be the last on its connection, and of unknown length; before its head is sent.

        False when its client has gone meanwhile, and there is nobody to answer.
        """
        if self._connection.transport.is_closing():
            self._cycle.disconnected = True  # uvicorn finds out a moment later, and would miss the answer
            return False
        self._cycle.keep_alive = False
        if self._cycle.scope["http_version"] == "1.0":
            # Such clients know no chunks; uvicorn would send them nevertheless.
            self._cycle.chunked_encoding = False
        return True

    def take(self, holder: Holder) -> Line | None:
        """The connection, from now on ``holder``'s; None when its client has gone."""
        return self._connection.hold(holder, self._cycle)
