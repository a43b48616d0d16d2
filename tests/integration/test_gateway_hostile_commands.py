"""Commands to open streams that are forged, foreign, oversized or no commands: refused, and the stream notices nothing."""

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
    OTHER_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
)
from integration.raw_http import RawConnection, get

TOPIC = f"school/{SCHOOL}"
OTHER = {"topics": [f"school/{SECOND_SCHOOL}"]}


class Watched:
    """An open stream, and a client of the same subject to command it."""

    def __init__(self, gateway: GatewayProcess, worker: FakeWorker, client: httpx.Client) -> None:
        self.gateway = gateway
        self.client = client
        self._worker = worker
        self._stream = stream(client, TOPIC)
        self._reader = self._stream.__enter__()
        self.id: str = self._reader.until("subscribed").data["stream"]
        self._reader.until("put")
        self._told = len(self._reader.seen)

    def command(self, content: bytes, **headers: str) -> httpx.Response:
        """Send a body as a change of the stream."""
        return self.client.post(
            f"/v1/streams/{self.id}/subscription",
            content=content,
            headers={"Content-Type": "application/json", **headers},
        )

    def assert_undisturbed(self) -> None:
        """It still watches what it watched, and was told nothing of it."""
        self._worker.apply(SECOND_SCHOOL, [scored(2400, 2)])
        self._worker.apply(SCHOOL, [scored(2470, 3)])
        patch = self._reader.until("patch")
        assert [one["id"] for one in patch.data["organizations"]] == [SCHOOL]
        assert "subscribed" not in {event.kind for event in self._reader.seen[self._told :]}

    def close(self) -> None:
        """Hang up."""
        self._stream.__exit__(None, None, None)


@pytest.fixture(scope="module")
def worker() -> Iterator[FakeWorker]:
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        for school in (SCHOOL, SECOND_SCHOOL, OTHER_SCHOOL):
            made.apply(school, [scored(2450, 3)])
        made.serve()
        yield made


@pytest.fixture(scope="module")
def gateway(worker: FakeWorker) -> Iterator[GatewayProcess]:
    host = worker.redis.connection_pool.connection_kwargs
    with gateway_process(f"redis://{host['host']}:{host['port']}/0") as running:
        yield running
        status, log = running.stop()
        assert status == 0 and "Traceback" not in log and "request failed" not in log


@pytest.fixture
def watched(gateway: GatewayProcess, worker: FakeWorker) -> Iterator[Watched]:
    with gateway.client(DISTRICT) as client:
        made = Watched(gateway, worker, client)
        yield made
        made.assert_undisturbed()
        made.close()


@pytest.mark.parametrize("command", ["subscription", "renew"])
@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("a.b", id="of a node that there is not"),
        pytest.param("*.*", id="a pattern"),
        pytest.param("gateway:*.x", id="a channel"),
        pytest.param("a.b\r\nPUBLISH x y", id="a command to Redis"),
        pytest.param("a.b\x00", id="with a NUL"),
        pytest.param("..", id="a path upwards"),
        pytest.param("a/b.c", id="a path"),
        pytest.param("\uff21.b", id="not ASCII"),
        pytest.param("a" * 10_000 + ".b", id="of 10 kB"),
        pytest.param(f"{SCHOOL}.{SCHOOL}", id="of a school"),
    ],
)
def test_a_forged_stream_id_is_no_stream(watched: Watched, command: str, forged: str) -> None:
    answer = watched.client.post(f"/v1/streams/{quote(forged, safe='')}/{command}", json=OTHER)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_stream_id_that_is_nearly_right_is_no_stream(watched: Watched) -> None:
    node, _, stream_part = watched.id.partition(".")
    for forged in (f"{node}.", f"{node}.x", f"{watched.id}x", f"{node}.{stream_part[:-1]}", f" {watched.id}"):
        answer = watched.client.post(f"/v1/streams/{quote(forged)}/subscription", json=OTHER)
        assert answer.status_code == 404, forged


@pytest.mark.parametrize("command", ["subscription", "renew"])
def test_another_sites_page_cannot_command_a_stream_with_the_cookie(watched: Watched, command: str) -> None:
    cookie = f"scores_session={watched.gateway.token(DISTRICT)}"
    with watched.gateway.client(Cookie=cookie, **{"Sec-Fetch-Site": "cross-site"}) as page:
        assert page.post(f"/v1/streams/{watched.id}/{command}", json=OTHER).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no topics"),
        pytest.param(b'{"topics":[1]}', id="a number for a topic"),
        pytest.param(b'{"topics":[null]}', id="null for a topic"),
        pytest.param(b'{"topics":["school/1\\r\\ndata: x"]}', id="a line break"),
        pytest.param(b'{"topics":["\\ud800"]}', id="half a surrogate"),
        pytest.param(b"[" * 60_000, id="lists within lists"),
        pytest.param(b'{"topics":' + b"[" * 60_000, id="topics within topics"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="objects within objects"),
        pytest.param(b'{"topics":["school/%s"],"grades":[3]}' % SCHOOL.encode(), id="a number for a grade"),
        pytest.param(b'{"topics":["school/%s"],"years":[true]}' % SCHOOL.encode(), id="true for a year"),
        pytest.param(b'{"topics":["school/%s"],"years":[1e400]}' % SCHOOL.encode(), id="a year without end"),
        pytest.param(
            b'{"topics":["school/%s"],"years":[%s]}' % (SCHOOL.encode(), b"9" * 5_000), id="5,000 digits"
        ),
        pytest.param(b'\xef\xbb\xbf{"topics":["school/%s"]}' % SCHOOL.encode(), id="a byte order mark"),
    ],
)
def test_a_body_that_is_no_subscription_is_refused_with_the_remedy(watched: Watched, body: bytes) -> None:
    refused = watched.command(body)
    assert refused.status_code == 400
    assert 20 < len(refused.json()["detail"]) < 600


def test_more_topics_than_a_stream_takes_are_refused_with_the_limit(watched: Watched) -> None:
    topics = b",".join(b'"school/1999001%07d"' % number for number in range(501))
    refused = watched.command(b'{"topics":[%s]}' % topics)
    assert refused.status_code == 400 and "up to 500" in refused.json()["detail"]


def test_a_body_of_a_gigabyte_is_refused_with_the_limit_long_before_it_is_there(watched: Watched) -> None:
    asked = get(
        f"/v1/streams/{watched.id}/subscription",
        watched.gateway.token(DISTRICT),
        *(b"Content-Type: application/json", b"Content-Length: 1000000000"),
    )
    with RawConnection(watched.gateway.port) as sender:
        sender.send(asked.replace(b"GET", b"POST", 1) + b'{"topics":["' + b"x" * 100_000)
        refused = sender.answer()
    assert refused.status == 413 and "65536 bytes" in json.loads(refused.body)["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_as_a_pages_form_sends_it_is_refused(watched: Watched, kind: str) -> None:
    refused = watched.command(b'{"topics":["%s"]}' % TOPIC.encode(), **{"Content-Type": kind})
    assert refused.status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_commands_are_only_posted(watched: Watched, method: str) -> None:
    answer = watched.client.request(method, f"/v1/streams/{watched.id}/subscription")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"
