"""Clients that take their time, send too much or read nothing: how long and how much a connection of the gateway bears.

The clock is turned by hand, and the transport is a list.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway import request_limits
from gateway.request_limits import HEAD_BYTES, PIPELINED_REQUESTS, BoundedProtocol

pytestmark = pytest.mark.anyio

ASK = b"GET /short HTTP/1.1\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\n\r\n"
POST = b"POST /body HTTP/1.1\r\nContent-Length: %d\r\n\r\n"


class HandClock:
    """The part of an event loop that the protocol uses, with a time that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, asyncio.TimerHandle, Callable[..., None]]] = []
        self._number = itertools.count()

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        handle = asyncio.TimerHandle(self._now + delay, callback, args, loop)
        heapq.heappush(self._due, (handle.when(), next(self._number), handle, callback))
        return handle

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    def pass_seconds(self, seconds: float) -> None:
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._now, _, handle, _ = heapq.heappop(self._due)
            if not handle.cancelled():
                handle._run()
        self._now = end


class ListTransport(asyncio.Transport):
    """Takes what is written, and reads none of it while ``unread`` is set."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 8080)})
        self.written = b""
        self.unread = 0
        self.aborted = self.ended = self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """A client's connection to an application of three addresses: a short answer, an endless one, one for bodies."""

    def __init__(self, state: ServerState | None = None, clock: HandClock | None = None) -> None:
        self.clock = clock or HandClock()
        self.transport = ListTransport()
        config = uvicorn.Config(_application, log_config=None, lifespan="off")
        self.protocol = BoundedProtocol(config, state or ServerState(), {}, self.clock)  # type: ignore[arg-type]  # the part of a loop
        self.protocol.connection_made(self.transport)

    @property
    def dropped(self) -> bool:
        return self.transport.aborted

    async def send(self, data: bytes) -> None:
        """Deliver some bytes, and let the application answer."""
        self.protocol.data_received(data)
        for _ in range(10):
            await asyncio.sleep(0)


async def _application(scope: Any, receive: Any, send: Any) -> None:
    while scope["path"] == "/body" and (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/stream":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.body", "body": b"ok"})


async def hang_up(connection: Connection) -> None:
    """Let the application of an endless answer come to its end."""
    connection.protocol.connection_lost(ConnectionResetError())
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_head_that_comes_byte_by_byte_has_ten_seconds() -> None:
    slow = Connection()
    for byte in itertools.islice(itertools.cycle(b"X-A: b\r\n"), 9):
        await slow.send(b"GET / HTTP/1.1\r\n" if slow.clock.time() == 0 else bytes([byte]))
        slow.clock.pass_seconds(1.1)
        assert not slow.dropped
    slow.clock.pass_seconds(0.2)
    assert slow.dropped and not slow.transport.written


async def test_a_connection_that_says_nothing_has_as_long() -> None:
    silent = Connection()
    silent.clock.pass_seconds(9.9)
    assert not silent.dropped
    silent.clock.pass_seconds(0.2)
    assert silent.dropped


async def test_the_head_of_a_later_request_is_timed_from_its_first_byte() -> None:
    client = Connection()
    await client.send(ASK)
    client.clock.pass_seconds(4)  # of the seconds that uvicorn waits for another request
    await client.send(b"GET ")
    client.clock.pass_seconds(9.9)
    assert not client.dropped
    client.clock.pass_seconds(0.2)
    assert client.dropped


async def test_blank_lines_between_requests_keep_no_connection_open() -> None:
    client = Connection()
    await client.send(ASK)
    for _ in range(11):
        await client.send(b"\r\n")
        client.clock.pass_seconds(1)
    assert client.dropped


async def test_an_open_stream_is_not_timed() -> None:
    watcher = Connection()
    await watcher.send(STREAM)
    watcher.clock.pass_seconds(3600)
    assert not watcher.transport.closing
    await hang_up(watcher)


async def test_a_body_may_take_long_as_long_as_it_flows() -> None:
    sender = Connection()
    await sender.send(POST % 1_000_000)
    for _ in range(120):
        await sender.send(b"x" * 550)
        sender.clock.pass_seconds(1)
    assert not sender.dropped
    sender.clock.pass_seconds(60)  # 30 s, and what the surplus of 50 bytes a second earned
    assert sender.dropped


async def test_a_body_that_we_do_not_take_is_not_the_senders_fault() -> None:
    sender = Connection()
    await sender.send(POST % 1_000_000)
    sender.protocol.flow.pause_reading()
    sender.clock.pass_seconds(300)
    assert not sender.dropped
    sender.protocol.flow.resume_reading()
    sender.clock.pass_seconds(60)
    assert sender.dropped


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"X-Filler: %s\r\n" % (b"x" * 900), id="headers"),
        pytest.param(b"x" * 900, id="an address"),
    ],
)
async def test_a_head_without_end_is_refused_with_the_limit(part: bytes) -> None:
    client = Connection()
    await client.send(b"GET /short" + (b" HTTP/1.1\r\n" if part.startswith(b"X") else b"?"))
    while not client.transport.ended:
        await client.send(part)
    head, _, body = client.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and b"application/problem+json" in head
    assert str(HEAD_BYTES) in json.loads(body)["detail"]
    await client.send(b"x" * 100_000)  # still under way; passed over
    assert client.transport.written == head + b"\r\n\r\n" + body
    client.clock.pass_seconds(2.1)
    assert client.dropped


async def test_a_head_just_within_the_limit_is_answered() -> None:
    async def answered(size: int) -> bool:
        client = Connection()
        await client.send(b"GET /short?" + b"x" * (size - len("/short?")) + b" HTTP/1.1\r\n\r\n")
        return client.transport.written.startswith(b"HTTP/1.1 200 ")

    assert await answered(HEAD_BYTES - 100)
    assert not await answered(HEAD_BYTES + 1)


async def test_trailers_without_end_are_refused() -> None:
    client = Connection()
    await client.send(b"POST /short HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    for _ in range(HEAD_BYTES // 900 + 2):
        await client.send(b"X-Trailer: " + b"x" * 900 + b"\r\n")
    assert client.transport.ended or client.transport.closing


async def test_a_body_of_any_size_is_no_head() -> None:
    client = Connection()
    await client.send(POST % (10 * HEAD_BYTES))
    for _ in range(10):
        await client.send(b"x" * HEAD_BYTES)
    assert b"200 OK" in client.transport.written


async def test_pipelined_requests_are_answered_up_to_a_limit() -> None:
    modest, greedy = Connection(), Connection()
    await modest.send(ASK * PIPELINED_REQUESTS)
    for _ in range(PIPELINED_REQUESTS):
        await asyncio.sleep(0.0)
    assert modest.transport.written.count(b"200 OK") == PIPELINED_REQUESTS
    assert not modest.transport.closing
    await greedy.send(STREAM + ASK * 3_000)
    assert greedy.transport.closing and len(greedy.protocol.pipeline) <= PIPELINED_REQUESTS
    await hang_up(greedy)


async def test_what_is_no_request_is_answered_unless_a_stream_is_under_way() -> None:
    client, watcher = Connection(), Connection()
    await client.send(b"EHLO gateway\r\n")
    assert client.transport.written.startswith(b"HTTP/1.1 400 ") and client.transport.ended
    await watcher.send(STREAM)
    so_far = watcher.transport.written
    await watcher.send(b"EHLO gateway\r\n")
    assert watcher.transport.written == so_far and watcher.transport.closing
    await hang_up(watcher)


async def test_an_answer_that_nobody_reads_is_forgotten_after_ten_seconds() -> None:
    client = Connection()
    client.transport.unread = 1_000_000
    await client.send(ASK)
    client.clock.pass_seconds(9.9)
    assert not client.dropped
    client.clock.pass_seconds(0.2)
    assert client.dropped


async def test_an_answer_that_is_read_slowly_is_not() -> None:
    client = Connection()
    client.transport.unread = 1_000_000
    await client.send(ASK)
    for _ in range(20):
        client.clock.pass_seconds(9)
        client.transport.unread -= 50_000
    assert not client.dropped


async def test_whoever_asks_again_without_having_read_gets_no_more_time() -> None:
    client = Connection()
    client.transport.unread = 1_000_000
    client.protocol.pause_writing()
    await client.send(ASK)  # waits for the earlier answer to leave
    client.clock.pass_seconds(10.1)
    assert client.dropped
    await hang_up(client)


async def test_a_stream_looks_after_its_own_reader_until_the_client_half_closes() -> None:
    watcher = Connection()
    await watcher.send(STREAM)
    watcher.transport.unread = 50_000
    watcher.clock.pass_seconds(60)
    assert not watcher.dropped
    watcher.protocol.eof_received()
    watcher.transport.close()  # as a transport does at the end of what comes in
    watcher.clock.pass_seconds(10.1)
    assert watcher.dropped
    await hang_up(watcher)


async def test_when_too_many_say_nothing_the_one_that_came_first_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_limits, "UNFINISHED_HEADS", 2)
    state, clock = ServerState(), HandClock()
    first, second = Connection(state, clock), Connection(state, clock)
    await second.send(STREAM)  # not waited for any more
    third, fourth = Connection(state, clock), Connection(state, clock)
    assert [one.dropped for one in (first, second, third, fourth)] == [True, False, False, False]
    await hang_up(second)
