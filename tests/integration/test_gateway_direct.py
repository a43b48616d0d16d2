"""Streams that take over their connection: the same bytes as through plain ASGI, few reads, bounded waiting."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
import uvicorn
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    SECOND_SCHOOL,
    EventReader,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.lines import Chunk, Line
from gateway.server import configure, listening_socket
from gateway.streaming_response import StreamingResponse

TOPIC = f"school/{SCHOOL}"
ELA = "2026:ELA-SUM:03"


class Recorded:
    """A stream with a fixed course, much of it."""

    def start(self, line: Line) -> None:
        line.write(Chunk(b": ok\nretry: 4187\n\n"))
        for number in range(5):
            line.write(Chunk(b"data: %s\n\n" % (b"%d" % number * 10_000)))
        line.end()

    def paused(self) -> None:
        """It holds nothing back."""

    def resumed(self) -> None:
        """It holds nothing back."""

    def gone(self) -> None:
        """It keeps nothing."""


async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/stream":
        await StreamingResponse(Recorded())(scope, receive, send)  # type: ignore[arg-type]  # it has what is used
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextlib.contextmanager
def serving(protocol: type[asyncio.Protocol] | None = None) -> Iterator[int]:
    """The recorded stream behind our connections, or behind another protocol's."""
    config = configure(recorded)
    if protocol is not None:
        config.http = protocol
    listener = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(config)
    running = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    running.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        running.join(60)
        listener.close()


def answer(port: int, request: bytes) -> bytes:
    """All bytes that come back, but for the date."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    return re.sub(rb"date: [^\r]*\r\n", b"", received)


def request(path: str, version: str = "1.1", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: gateway", *headers, "", ""]).encode()


def test_a_stream_on_its_own_connection_is_the_same_bytes_as_through_any_server() -> None:
    with serving() as ours, serving(HttpToolsProtocol) as theirs:
        asked = request("/stream", "1.1", "Connection: close")
        direct = answer(ours, asked)
        assert direct == answer(theirs, asked)
        assert direct.endswith(b"\r\n0\r\n\r\n") and len(direct) > 50_000
        # Without being asked to, we say that the connection ends with the stream.
        assert answer(ours, request("/stream")) == direct


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    with serving() as port:
        head, _, body = answer(port, request("/stream", "1.0")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head and b"connection: close" in head
    assert body.startswith(b": ok\nretry: 4187\n\ndata: 000") and body.endswith(b"444\n\n")


def test_plain_answers_keep_their_connection_and_a_stream_ends_it() -> None:
    with serving() as port:
        several = request("/plain") * 3 + request("/stream") + request("/plain") * 2
        received = answer(port, several)
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.endswith(b"\r\n0\r\n\r\n")


def test_a_body_behind_the_request_of_a_stream_is_passed_over() -> None:
    with serving() as port:
        asked = request("/stream", "1.1", "Content-Length: 100000") + b"x" * 100_000
        assert answer(port, asked).endswith(b"\r\n0\r\n\r\n")


# A whole gateway.


@pytest.fixture(scope="module")
def worker() -> Iterator[FakeWorker]:
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        made.apply(SCHOOL, [scored(2450, 3)])
        made.apply(SECOND_SCHOOL, [scored(2300, 1)], partition=1)
        made.serve()
        yield made


@pytest.fixture(scope="module", params=["yes", "no"], ids=["io_uring", "plain writes"])
def gateway(request: pytest.FixtureRequest, worker: FakeWorker) -> Iterator[GatewayProcess]:
    address = worker.redis.connection_pool.connection_kwargs
    with gateway_process(
        f"redis://{address['host']}:{address['port']}/0",
        SCORES_STREAMS_PER_SUBJECT="1000",
        SCORES_IO_URING=request.param,
    ) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(DISTRICT) as made:
        yield made


def whole_reads(worker: FakeWorker) -> int:
    """How many times Redis was asked for all cells of an organization, or of a share of it."""
    stats: Any = worker.redis.info("commandstats")
    return int(stats.get("cmdstat_hgetall", {"calls": 0})["calls"])


def test_two_hundred_newcomers_cost_one_read_of_each_organization(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    asked = (
        f"GET /v1/stream?topic={TOPIC}&topic=district/{DISTRICT} HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {gateway.token(DISTRICT)}\r\n\r\n"
    ).encode()
    before = whole_reads(worker)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=60))
            for _ in range(200)
        ]
        for connection in connections:
            connection.sendall(asked)
        for connection in connections:
            received = b""
            while b"event: put" not in received:
                piece = connection.recv(65_536)
                assert piece, received
                received += piece
    assert whole_reads(worker) - before == 2 * worker.partitions


def test_a_subscription_is_changed_without_reconnecting(client: httpx.Client, worker: FakeWorker) -> None:
    with stream(client, TOPIC) as reader:
        opened = reader.until("subscribed")
        reader.until("put")
        accepted = client.post(
            f"/v1/streams/{opened.data['stream']}/subscription", json={"topics": [f"school/{SECOND_SCHOOL}"]}
        )
        assert accepted.status_code == 202, accepted.text
        changed = reader.until("subscribed")
        assert (changed.data["dropped"], changed.data["organizations"]) == ([SCHOOL], 1)
        assert set(reader.until("put").cells(SECOND_SCHOOL)) == {ELA}
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.apply(SECOND_SCHOOL, [scored(2450, 3)])
        patch = reader.until("patch")
        assert [one["id"] for one in patch.data["organizations"]] == [SECOND_SCHOOL]
        assert patch.id is not None
    for address, kind in ((f"school/{SECOND_SCHOOL}", "progress"), (TOPIC, "put")):
        # What it was about last is resumed; its first address is not what the id knows of.
        with stream(client, address, **{"Last-Event-ID": patch.id}) as reader:
            assert first_figures(reader) in (kind, "patch" if kind == "progress" else kind)


def first_figures(reader: EventReader) -> str:
    while (event := reader.next()) is not None:
        if event.kind in ("put", "patch", "progress"):
            return event.kind
    raise AssertionError("the stream ended")


def test_a_challenged_stream_that_is_renewed_goes_on(gateway: GatewayProcess) -> None:
    with (
        gateway.client(Authorization=f"Bearer {gateway.token(DISTRICT, seconds=8)}") as short,
        gateway.client(DISTRICT) as fresh,
        stream(short, TOPIC) as reader,
    ):
        challenge = reader.until("challenge")
        expires = challenge.data["expires"]
        assert fresh.post(challenge.data["renew"]).status_code == 202
        renewed = reader.until("subscribed", lambda event: event.data["expires"] > expires)
        reader.until("progress", lambda event: event.data["as_of"] > expires)
        assert renewed.data["topics"] == [TOPIC]


def test_since_brings_what_changed_later(client: httpx.Client, worker: FakeWorker) -> None:
    earlier = worker.apply(SCHOOL, [scored(2450, 3)], grade="04")
    while (later := worker.apply(SCHOOL, [scored(2450, 3)], grade="05")) == earlier:
        pass
    with stream(client, TOPIC) as reader:
        reader.until("progress", lambda event: milliseconds(event.data["as_of"]) > later)
    with client.stream("GET", "/v1/stream", params={"topic": TOPIC, "since": str(earlier)}) as response:
        patch = EventReader(response).until("patch")
    assert set(patch.cells(SCHOOL)) == {"2026:ELA-SUM:05"}


def milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def test_nothing_is_left_of_streams_whose_clients_hung_up(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client:
        for _ in range(20):
            with stream(client, TOPIC) as reader:
                reader.until("put")
    metrics = f"{gateway.url}/metrics"
    wait_until(
        lambda: "scores_sse_connections 0.0" in httpx.get(metrics, trust_env=False, timeout=30).text,
        what="no open stream",
    )
