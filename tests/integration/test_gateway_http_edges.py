"""HTTP as it is rarely spoken: 1.0, HEAD, pipelines, odd methods and framings, Accept; answered plainly or not at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    GatewayProcess,
    gateway_process,
    redis_server,
    wait_until,
)
from integration.gateway_probes import counted
from integration.raw_http import RawConnection, get

STREAM = f"/v1/stream?topic=school/{SCHOOL}"


@pytest.fixture(scope="module")
def worker() -> Iterator[FakeWorker]:
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        made.apply(SCHOOL, [scored(2450, 3)])
        made.serve()
        yield made


@pytest.fixture(scope="module")
def gateway(worker: FakeWorker) -> Iterator[GatewayProcess]:
    host = worker.redis.connection_pool.connection_kwargs
    with gateway_process(
        f"redis://{host['host']}:{host['port']}/0", SCORES_ACCESS_LOG="yes", SCORES_HEARTBEAT_SECONDS="1"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def token(gateway: GatewayProcess) -> str:
    return gateway.token(DISTRICT)


@pytest.fixture
def connection(gateway: GatewayProcess) -> Iterator[RawConnection]:
    with RawConnection(gateway.port) as made:
        yield made


def test_http_1_0_gets_the_same_frames_without_chunks_until_the_connection_ends(
    connection: RawConnection, worker: FakeWorker, token: str
) -> None:
    opened = connection.send(get(STREAM, token, version="1.0")).head()
    assert opened.status == 200
    assert opened.field("transfer-encoding") is None and opened.field("connection") == "close"
    assert connection.until(b"\n").startswith(b": ok\n")
    assert connection.until(b"event: put\n")
    frame = connection.until(b"\n\n")
    put = json.loads(frame.removeprefix(b"data: "))
    assert put["organizations"][0]["id"] == SCHOOL
    worker.apply(SCHOOL, [scored(2451, 3)])
    before = connection.until(b"event: patch\n")
    # Nothing but lines of events: no length of a chunk among them.
    names = (b"", b"id", b"event", b"data", b"retry")
    assert all(line.partition(b":")[0] in names for line in before.split(b"\n"))
    json.loads(connection.until(b"\n\n").removeprefix(b"data: "))


def test_http_1_0_gets_plain_answers_and_farewells_with_their_length(
    connection: RawConnection, token: str
) -> None:
    answer = connection.send(
        get(f"/v1/aggregates/{SCHOOL}", token, b"Connection: keep-alive", version="1.0")
    ).answer()
    assert answer.status == 200 and json.loads(answer.body)["preliminary"] is True
    assert answer.field("connection") == "close" and connection.rest() == b""


def test_head_has_the_headers_of_a_stream_and_ends_there(
    connection: RawConnection, gateway: GatewayProcess, token: str
) -> None:
    answer = connection.send(get(STREAM, token).replace(b"GET", b"HEAD", 1)).head()
    assert answer.status == 200
    assert answer.field("content-type") == "text/event-stream; charset=utf-8"
    assert answer.field("x-accel-buffering") == "no"
    # The very next bytes are the next answer's.
    assert connection.send(get("/healthz")).answer().status == 200
    assert connection.send(get(STREAM).replace(b"GET", b"HEAD", 1)).head().status == 401
    wait_until(lambda: counted(gateway, "scores_sse_connections") == 0, what="that no stream is open")


@pytest.mark.parametrize("accept", [b"text/event-stream", b"*/*", b"application/json, */*;q=0.1"])
def test_curl_and_a_browser_are_sent_the_stream(connection: RawConnection, token: str, accept: bytes) -> None:
    opened = connection.send(get(STREAM, token, b"Accept: " + accept)).head()
    assert opened.status == 200
    assert opened.field("content-type") == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((b"Accept: application/json",), id="JSON"),
        pytest.param((b"Accept: text/html", b"Accept: application/json"), id="in two headers"),
        pytest.param((b"Accept: */*, text/event-stream;q=0",), id="by name"),
    ],
)
def test_a_client_that_excludes_a_stream_is_told_what_is_offered(
    connection: RawConnection, token: str, fields: tuple[bytes, ...]
) -> None:
    refused = connection.send(get(STREAM, token, *fields)).answer()
    assert refused.status == 406
    assert refused.field("content-type") == "application/problem+json"
    assert "text/event-stream" in json.loads(refused.body)["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_stream_is_only_got(connection: RawConnection, token: str, method: str) -> None:
    asked = get(STREAM, token, b"Content-Length: 2").replace(b"GET", method.encode(), 1) + b"{}"
    refused = connection.send(asked).answer()
    assert refused.status == 405 and refused.field("content-type") == "application/problem+json"
    assert "GET" in (refused.field("allow") or "")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"BREW /v1/stream HTTP/1.1\r\nHost: gateway\r\n\r\n", id="an unknown method"),
        pytest.param(b"get /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n", id="a method in small letters"),
        pytest.param(b"CONNECT gateway:443 HTTP/1.1\r\nHost: gateway\r\n\r\n", id="a tunnel"),
        pytest.param(b"GET /healthz HTTP/3.0\r\nHost: gateway\r\n\r\n", id="a version to come"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"GET http://[::1 HTTP/1.1\r\n\r\n", id="half an address"),
        pytest.param(b"GET ?topic HTTP/1.1\r\n\r\n", id="no path"),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two lengths of a body",
        ),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            id="5 and 6 bytes",
        ),
        pytest.param(b"POST /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="less than none"),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n", id="10^30 bytes"
        ),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    connection: RawConnection, request_bytes: bytes
) -> None:
    refused = connection.send(request_bytes).answer()
    assert refused.status == 400
    assert refused.field("content-type") == "application/problem+json"
    assert refused.field("connection") == "close"
    assert connection.rest() == b""


def test_requests_sent_at_once_are_answered_in_their_order(connection: RawConnection, token: str) -> None:
    asked = [get("/healthz"), get(f"/v1/aggregates/{SCHOOL}", token), get("/v2/nothing"), get("/readyz")]
    connection.send(b"".join(asked))
    assert [connection.answer().status for _ in asked] == [200, 200, 404, 200]


def test_what_is_sent_behind_a_streams_request_is_passed_over(
    connection: RawConnection, gateway: GatewayProcess, worker: FakeWorker, token: str
) -> None:
    connection.send(get(STREAM, token) + get("/v2/nothing"))
    opened = connection.head()
    # Which the answer says: nobody shall wait for another one on this connection.
    assert opened.status == 200 and opened.field("connection") == "close"
    connection.until(b"event: put\n")
    connection.send(get("/v2/nothing") + b"\r\nEHLO gateway\r\n\r\n" + b"\x00" * 1_000_000)
    worker.apply(SCHOOL, [scored(2452, 3)])
    assert b"HTTP/1.1" not in connection.until(b"event: patch\n")
    connection.socket.close()
    wait_until(lambda: counted(gateway, "scores_sse_connections") == 0, what="the end of the stream")


def test_thousands_of_requests_sent_at_once_are_not_taken_up(
    connection: RawConnection, gateway: GatewayProcess, token: str
) -> None:
    connection.send(get(STREAM, token) + b"GET / HTTP/1.1\r\n\r\n" * 3_000)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.rest().count(b"HTTP/1.1 ") <= 1
    wait_until(lambda: counted(gateway, "scores_sse_connections") == 0, what="the end of the stream")


def test_an_offer_to_speak_another_protocol_is_passed_over(connection: RawConnection, token: str) -> None:
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    assert connection.send(get(STREAM, token, *fields)).head().status == 200
    assert connection.until(b"event: put\n")


def test_a_body_behind_a_streams_request_is_read_and_forgotten(
    connection: RawConnection, worker: FakeWorker, token: str
) -> None:
    connection.send(get(STREAM, token, b"Content-Length: 5000000"))
    connection.until(b"event: put\n")
    connection.send(b"x" * 5_000_000)
    worker.apply(SCHOOL, [scored(2453, 3)])
    assert connection.until(b"event: patch\n")


def test_credentials_in_an_address_are_in_no_log_whatever_becomes_of_the_request(
    gateway: GatewayProcess, token: str
) -> None:
    secret = f"access_token=secret-1&token={token}"
    asked = [
        get(f"{STREAM}&{secret}", token),  # opened
        get(f"{STREAM}&{secret}"),  # 401
        get(f"/v1/stream?topic=none&{secret}", token),  # 400
        get(f"{STREAM}&{secret}", token, b"Accept: image/png"),  # 406
        get(f"/v2/nothing?{secret}"),  # 404
        get(f"/v1/stream?{secret}&{'x' * 70_000}"),  # 431
        b"BREW " + get(f"/v1/stream?{secret}"),  # no request
        get(f"/v1/streams/a.b/renew?{secret}", token).replace(b"GET", b"POST", 1),
    ]
    for request_bytes in asked:
        with RawConnection(gateway.port) as connection:
            assert connection.send(request_bytes).head().status in (200, 400, 401, 404, 406, 431)
    _, log = gateway.stop()
    assert "path=/v1/stream status=200" in log and "path=/v2/nothing status=404" in log
    assert "secret-1" not in log and token.split(".")[2] not in log
    assert "Traceback" not in log and "request failed" not in log
    gateway.start()
