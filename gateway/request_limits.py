"""How long and how large a request may be, and how long an answer may stay unread: uvicorn bounds none of it.

Left alone, a client could hold a connection with one byte of a header a minute, make one connection hold megabytes of
headers or thousands of pipelined requests, or pin an answer in memory by never reading it. Streams are not timed here:
once its request is whole, a connection has no timer until its answer is complete.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from http import HTTPStatus
from typing import ClassVar, Final, Literal
from weakref import WeakKeyDictionary

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.problems import problem

# 500 topics take 15 kB of a query, and a token up to 8 kB.
HEAD_BYTES: Final = 65_536
# Browsers send one request after another; 3,600 that fit one read would take 10 MB.
PIPELINED_REQUESTS: Final = 16
# Connections without a whole head; one more closes the oldest, so that idlers cannot take every file descriptor. Clients
# of a herd that comes back pass through this state in milliseconds.
UNFINISHED_HEADS: Final = 8_192

_RESET: Final = struct.pack("ii", 1, 0)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 that waits for no client without end."""

    # Slots: with more than thirty attributes in its dictionary, every connection would cost a kilobyte more.
    __slots__ = ("_began", "_incoming", "_overhead", "_received", "_refused", "_timer")

    _began: float  # when what is incoming began
    _incoming: Literal["head", "body"] | None
    _received: int  # bytes since then
    _overhead: int  # bytes since the last piece of a body: head, chunk extensions, trailers
    _refused: tuple[HTTPStatus, str] | None
    _timer: asyncio.TimerHandle | None  # for what is incoming, or else for what is unread

    head_seconds: ClassVar[float] = 10.0  # from the connection, or the first byte of a later request
    body_seconds: ClassVar[float] = 30.0  # and a second more for every ``body_rate`` bytes that came
    body_rate: ClassVar[float] = 500.0
    unread_seconds: ClassVar[float] = 10.0  # in which not a byte of an answer leaves
    linger_seconds: ClassVar[float] = 2.0  # after a refusal, for the client to read it

    # Connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._timer = None
        self._refused = None
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Instead of uvicorn's: its warning would let anybody fill the log, a line for every bad request.
        if self._refused is not None:
            return  # passed over until the client has read why
        self._unset_keepalive_if_required()
        self._received += len(data)
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing to upgrade to; the request itself has been taken
        except httptools.HttpParserError:
            self._refuse(*(self._refused or (HTTPStatus.BAD_REQUEST, "This is no HTTP request.")))
            return
        if self._incoming is not None and self._overhead > HEAD_BYTES:
            self._refuse(*_TOO_LARGE)
        elif self._incoming is None and self.timeout_keep_alive_task is None and self._answered():
            self._await_head()  # blank lines ended uvicorn's wait for the next request, and began none

    def eof_received(self) -> None:
        super().eof_received()
        self._rest()
        self._watch_unread()  # the transport closes, but not before all that it has is read

    # Requests.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._incoming != "head":
            self._await_head()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES:
            self._refused = _TOO_LARGE
        elif len(self.pipeline) >= PIPELINED_REQUESTS:
            self._refused = (
                HTTPStatus.BAD_REQUEST,
                "Too many requests are sent without waiting for answers.",
            )
        if self._refused is not None:
            raise _Refused
        self._heads().pop(self, None)
        self._begin("body")  # the timer stays, and finds out when it is due: most requests have no body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._rest()
        self._watch_unread()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_unread()

    # What is waited for, one thing at a time.

    def _await_head(self) -> None:
        self._begin("head")
        self._arm(self.head_seconds)
        heads = self._heads()
        heads[self] = None
        if len(heads) > _most_unfinished():
            next(iter(heads)).drop()

    def _begin(self, incoming: Literal["head", "body"]) -> None:
        self._incoming = incoming
        self._began = self.loop.time()
        self._received = self._overhead = 0

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._late)

    def _rest(self) -> None:
        self._heads().pop(self, None)
        self._incoming = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        left = self._body_seconds_left() if self._incoming == "body" else 0.0
        if left > 0:
            self._arm(left)
        else:
            self.drop()

    def _body_seconds_left(self) -> float:
        if self.flow.read_paused:
            return self.body_seconds  # it is we who do not take it
        granted = self.body_seconds + self._received / self.body_rate
        return self._began + granted - self.loop.time()

    def _watch_unread(self) -> None:
        if self._incoming is not None:
            return  # timed already
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unread = self.transport.get_write_buffer_size()
        if unread:
            self._timer = self.loop.call_later(self.unread_seconds, self._still_unread, unread)

    def _still_unread(self, before: int) -> None:
        self._timer = None
        if self.streaming() and not self.transport.is_closing():
            return  # a stream looks after its own reader
        if self.transport.get_write_buffer_size() >= before:
            self.drop()
        else:
            self._watch_unread()

    # Ends.

    def drop(self) -> None:
        """Reset the connection, and forget what is buffered for it.

        A polite end would keep the buffers, ours and the kernel's, until somebody reads them.
        """
        self._rest()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self._rest()
        if not self._answered():  # this would land in the midst of another answer
            self.transport.close()
            self._watch_unread()
            return
        self._refused = (status, detail)
        answer = problem(status, detail, {"Connection": "close"})
        fields = [*self.server_state.default_headers, *answer.raw_headers]
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        # Not closed yet: with bytes of the request still to come, that would be a reset, and the answer lost.
        self.transport.write_eof()
        self._arm(self.linger_seconds)

    def streaming(self) -> bool:
        """Whether an answer is under way that goes on for as long as it likes."""
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _answered(self) -> bool:
        return not self.streaming() and (self.cycle is None or self.cycle.response_complete)

    def _heads(self) -> dict[BoundedProtocol, None]:
        return _unfinished_heads.setdefault(self.server_state, {})


class _Refused(Exception):
    """Ends the parsing of a request; what to answer is set before."""


_TOO_LARGE: Final = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The address and the headers together have more than {HEAD_BYTES} bytes; name fewer topics in one stream.",
)

_unfinished_heads: Final[WeakKeyDictionary[ServerState, dict[BoundedProtocol, None]]] = WeakKeyDictionary()


def _most_unfinished() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(UNFINISHED_HEADS, files // 2)
