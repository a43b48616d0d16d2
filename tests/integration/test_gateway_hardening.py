"""What hostile values do to a real gateway: in topics, ids, filters, headers and names, of any length. Nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    GatewayProcess,
    gateway_process,
    redis_server,
)
from integration.raw_http import RawConnection, get

TOPIC = f"school/{SCHOOL}"
ELA = "2026:ELA-SUM:03"
EVIL_SCHOOL = "19990010000109"
EVIL_NAME = 'Gum\r\n\r\nid: 1\r\nevent: put\ndata: {"forged":true}\n\n\u2028\u2029\x85\x00\x0b</script>"\\'
# What any answer of the gateway may carry; a header made by a client would be another.
KNOWN_FIELDS = {
    *("date", "content-type", "content-length", "cache-control", "connection", "www-authenticate", "allow"),
    *("x-content-type-options", "referrer-policy", "cross-origin-resource-policy", "retry-after"),
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations([*ORGANIZATIONS, {"cds": EVIL_SCHOOL, "name": EVIL_NAME, "kind": "school"}])
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.apply(EVIL_SCHOOL, [scored(2450, 3)])
        worker.serve()
        with gateway_process(server.url, SCORES_ACCESS_LOG="yes") as running:
            yield running
            _, log = running.stop()
            assert "Traceback" not in log and "request failed" not in log


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(DISTRICT) as made:
        yield made


@pytest.fixture(scope="module")
def token(gateway: GatewayProcess) -> str:
    return gateway.token(DISTRICT)


def test_a_schools_name_that_is_made_of_frames_stays_a_name(gateway: GatewayProcess, token: str) -> None:
    with RawConnection(gateway.port) as watcher:
        watcher.send(get(f"/v1/stream?topic=school/{EVIL_SCHOOL}", token)).head()
        seen = watcher.until(b"event: put\n") + watcher.until(b"\n\n")
    lines = [line for line in seen.replace(b"\r\n", b"\n").split(b"\n") if b"Gum" in line]
    assert len(lines) == 1 and b"\r" not in lines[0] and b"\x00" not in lines[0]
    put = json.loads(lines[0].removeprefix(b"data: "))
    assert put["organizations"][0]["name"] == EVIL_NAME
    assert not [line for line in seen.split(b"\n") if line.startswith((b"id: 1\r", b'data: {"forged"'))]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{TOPIC}\r\nX-Forged: yes", id="with a line break"),
        pytest.param(f"{TOPIC}\rdata: x", id="with a carriage return"),
        pytest.param(f"{TOPIC}\n\ndata: x", id="with an empty line"),
        pytest.param(f"{TOPIC}\x00", id="with a NUL"),
        pytest.param("school/1999\u20280010000101", id="with a line separator"),
        pytest.param("school/１９９９００１００００１０１", id="in wide digits"),
        pytest.param("school/١٩٩٩٠٠١٠٠٠٠١٠١", id="in Arabic digits"),
        pytest.param(f"SCHOOL/{SCHOOL}", id="in capitals"),
        pytest.param(f"school/../{SCHOOL}", id="of a path"),
        pytest.param(f"{TOPIC}/../../{DISTRICT}", id="of a path below"),
        pytest.param(f"district/{DISTRICT}/*", id="of a pattern"),
        pytest.param(f"{{{TOPIC}}}", id="of a template"),
        pytest.param("school/" + "1" * 10_000, id="of 10 kB"),
        pytest.param("school/" + "-" * 10_000 + SCHOOL + "x", id="of 10 kB of hyphens"),
        pytest.param('school/"}\\', id="with quotes"),
    ],
)
def test_a_topic_made_to_break_out_is_named_in_a_problem_and_nowhere_else(
    gateway: GatewayProcess, token: str, text: str
) -> None:
    with RawConnection(gateway.port) as client:
        refused = client.send(get(f"/v1/stream?topic={quote(text, safe='')}", token)).answer()
        assert refused.status == 400
        assert {name for name, _ in refused.fields} <= KNOWN_FIELDS
        body = json.loads(refused.body)
        assert set(body) == {"type", "title", "status", "detail"} and len(body["detail"]) < 500
        assert "is no topic" in body["detail"]
        # And the connection goes on as if nothing had been.
        assert client.send(get("/healthz")).answer().status == 200


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(b"topic=school/\xc3\xa9", id="raw UTF-8"),
        pytest.param(b"topic=school/\xff\xfe", id="raw bytes that are no text"),
        pytest.param(b"topic=%ff%fe", id="escaped bytes that are no text"),
        pytest.param(b"topic=%c0%af%ed%a0%80", id="overlong and surrogate"),
        pytest.param(b"topic=%", id="half an escape"),
        pytest.param(b"topic=%u0031", id="another kind of escape"),
        pytest.param(b"&&&=&;topic", id="signs only"),
        pytest.param(b"topic[]=" + TOPIC.encode(), id="brackets"),
    ],
)
def test_bytes_that_are_no_query_are_refused(gateway: GatewayProcess, token: str, query: bytes) -> None:
    with RawConnection(gateway.port) as client:
        assert client.send(get(b"/v1/stream?" + query, token)).answer().status == 400


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"Last-Event-ID: g1.1\x00", id="a NUL"),
        pytest.param(b"Last-Event-ID: g1.1\rX-Forged: yes", id="a carriage return"),
        pytest.param(b"Last-Event-ID: g1.1\x01", id="a control character"),
        pytest.param(b"Last-Event-ID : g1.1", id="a blank before the colon"),
        pytest.param(b"Last\xe9Event: 1", id="a name that is not ASCII"),
        pytest.param(b": nothing", id="no name"),
        pytest.param(b"no colon", id="no colon"),
    ],
)
def test_a_header_that_servers_could_read_differently_is_refused_and_the_connection_closed(
    gateway: GatewayProcess, token: str, field: bytes
) -> None:
    with RawConnection(gateway.port) as client:
        refused = client.send(get(f"/v1/stream?topic={TOPIC}", token, field)).answer()
        assert refused.status == 400
        assert refused.field("content-type") == "application/problem+json"
        assert refused.field("connection") == "close"
        assert client.rest() == b""


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"Last-Event-ID: \xe2\x80\xa8id: 1", id="an id that is not ASCII"),
        pytest.param(b"Last-Event-ID: g1.1, g1.2", id="two ids"),
        pytest.param(b"Last-Event-ID: g1.1\tdata: x", id="an id with a tab"),
        pytest.param(b"Last-Event-ID: " + b"g" * 10_000, id="an id of 10 kB"),
        pytest.param(b"Last-Event-ID: g1." + b"9" * 10_000, id="an id of 10,000 digits"),
        pytest.param("Last-Event-ID: g1.１７７７".encode(), id="an id in wide digits"),
        pytest.param(b"Last-Event-ID: {g1.0}:cells:" + SCHOOL.encode(), id="a key of the tables"),
        pytest.param(b"X-Forwarded-For: " + b"1," * 5_000, id="10 kB of addresses"),
        pytest.param(b"X-Forwarded-For: \xff\xfe'; --", id="an address that is none"),
        pytest.param(b"X-Forwarded-Proto: gopher", id="another protocol"),
        pytest.param(b"Accept-Encoding: gzip, br, zstd", id="compression"),
        pytest.param(b"Range: bytes=0-10", id="a range"),
        pytest.param(b"If-None-Match: *", id="a condition"),
        pytest.param(b"Cookie: " + b"a=b; " * 2_000, id="2,000 cookies"),
        pytest.param(b"Cookie: scores_session=x\xff; \xff=1", id="a cookie that is not ASCII"),
    ],
)
def test_an_odd_header_changes_nothing_and_brings_everything(
    gateway: GatewayProcess, token: str, field: bytes
) -> None:
    with RawConnection(gateway.port) as watcher:
        opened = watcher.send(get(f"/v1/stream?topic={TOPIC}", token, field)).head()
        assert opened.status == 200
        assert opened.field("content-encoding") is None
        seen = watcher.until(b"event: put\n") + watcher.until(b"\n\n")
    assert b"Cedar Elementary" in seen
    assert b"id: 1\n" not in seen and b"data: x" not in seen


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId"])
@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("g1.1\r\ndata: x", id="with a line break"),
        pytest.param("g1.1\x00", id="with a NUL"),
        pytest.param("g" * 10_000, id="of 10 kB"),
        pytest.param("g0." + "0" * 10_000, id="of 10,000 zeros"),
        pytest.param("\ud7ff.1", id="not ASCII"),
    ],
)
def test_a_forged_id_in_the_address_brings_everything_and_is_not_repeated(
    gateway: GatewayProcess, token: str, name: str, forged: str
) -> None:
    target = f"/v1/stream?topic={TOPIC}&{name}={quote(forged)}"
    with RawConnection(gateway.port) as watcher:
        assert watcher.send(get(target, token)).head().status == 200
        seen = watcher.until(b"event: put\n") + watcher.until(b"\n\n")
    assert b"Cedar Elementary" in seen and b"data: x" not in seen and b"g0." not in seen


@pytest.mark.parametrize(
    "since",
    ["yesterday", "2026-05-04", "2026-05-04T12:00:00", "-1", "1e99", "9" * 10_000, "2026-02-30T00:00:00Z"],
    ids=["a word", "a day", "without zone", "negative", "a float", "10,000 digits", "a day that is none"],
)
def test_a_time_that_is_none_is_refused_with_the_form(client: httpx.Client, since: str) -> None:
    refused = client.get("/v1/stream", params={"topic": TOPIC, "since": since})
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("Since is '") and len(refused.json()["detail"]) < 400


@pytest.mark.parametrize(
    "since", ["0", "999999999999999", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]
)
def test_a_time_before_or_after_everything_opens_a_stream(client: httpx.Client, since: str) -> None:
    with client.stream("GET", "/v1/stream", params={"topic": TOPIC, "since": since}) as response:
        assert response.status_code == 200
        assert any(line == "event: progress" for line in response.iter_lines())
