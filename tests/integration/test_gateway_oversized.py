"""Too much of everything: topics, filters, headers, addresses; refused with the limit that it exceeds."""

from __future__ import annotations

import json
from collections.abc import Iterator

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
    stream,
)
from integration.raw_http import RawConnection, get

TOPIC = f"school/{SCHOOL}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.serve()
        with gateway_process(server.url) as running:
            yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(DISTRICT) as made:
        yield made


def test_thousands_of_topics_are_refused_with_the_limit(gateway: GatewayProcess) -> None:
    target = "/v1/stream?" + "&".join(f"topic=school/1999001{number:07d}" for number in range(2_000))
    with RawConnection(gateway.port) as client:
        refused = client.send(get(target, gateway.token(DISTRICT))).answer()
    assert refused.status == 400 and "up to 500" in json.loads(refused.body)["detail"]


def test_one_topic_five_hundred_times_is_one_organization(client: httpx.Client) -> None:
    with stream(client, *[TOPIC] * 500) as reader:
        assert reader.until("subscribed").data["topics"] == [TOPIC]
        assert [one["id"] for one in reader.until("put").data["organizations"]] == [SCHOOL]
    refused = client.get("/v1/stream", params={"topic": [TOPIC] * 501})
    assert refused.status_code == 400 and "up to 500" in refused.json()["detail"]


def test_a_filter_said_again_and_again_counts_once(client: httpx.Client) -> None:
    query = {"topic": TOPIC, "test": ["ELA-SUM"] * 64, "grade": ["3", "03"] * 32, "year": ["2026"] * 64}
    with client.stream("GET", "/v1/stream", params=query) as response:
        assert response.status_code == 200
        told = next(line for line in response.iter_lines() if line.startswith("data: "))
    told = json.loads(told.removeprefix("data: "))
    assert (told["tests"], told["grades"], told["years"]) == (["ELA-SUM"], ["03"], [2026])


@pytest.mark.parametrize(
    ("query", "named"),
    [
        pytest.param({"test": ["ELA-SUM"] * 65}, "up to 64", id="65 tests"),
        pytest.param({"grade": [f"{number}" for number in range(1_000)]}, "up to 64", id="1,000 grades"),
        pytest.param({"year": ["2026\r\nX: y"]}, "year is", id="a year with a line break"),
        pytest.param({"year": ["２０２６"]}, "year is", id="a year in wide digits"),
        pytest.param({"test": ["ELA-SUM\x00"]}, "test is", id="a test with a NUL"),
        pytest.param({"test": [""]}, "test is", id="an empty test"),
        pytest.param({"test": ["A" * 10_000]}, "test is", id="a test of 10 kB"),
        pytest.param({"grade": ["٣"]}, "is not a grade", id="a grade in Arabic digits"),
        pytest.param({"grade": ["9" * 5_000]}, "is not a grade", id="a grade of 5,000 digits"),
    ],
)
def test_a_filter_made_to_do_harm_is_refused_with_the_remedy(
    client: httpx.Client, query: dict[str, list[str]], named: str
) -> None:
    refused = client.get("/v1/stream", params={"topic": TOPIC, **query})
    assert refused.status_code == 400
    assert named in refused.json()["detail"].lower() and len(refused.json()["detail"]) < 400


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get("/v1/stream?topic=" + "x" * 100_000), id="a query of 100 kB"),
        pytest.param(get("/" + "x" * 100_000), id="a path of 100 kB"),
        pytest.param(get("/v1/stream", None, b"Last-Event-ID: " + b"x" * 100_000), id="a header of 100 kB"),
        pytest.param(get("/v1/stream", None, *[b"X-A: b"] * 20_000), id="20,000 headers"),
        pytest.param(get("/v1/stream", "x" * 100_000), id="a token of 100 kB"),
    ],
)
def test_a_request_of_a_hundred_kilobytes_is_refused_with_the_limit(
    gateway: GatewayProcess, request_bytes: bytes
) -> None:
    with RawConnection(gateway.port) as client:
        refused = client.send(request_bytes).answer()
        assert refused.status == 431
        assert "65536 bytes" in json.loads(refused.body)["detail"]
        assert refused.field("connection") == "close"
        assert client.rest() == b""


def test_a_token_of_ten_kilobytes_opens_nothing(gateway: GatewayProcess) -> None:
    with RawConnection(gateway.port) as client:
        refused = client.send(get(f"/v1/stream?topic={TOPIC}", "x." * 5_000)).answer()
    assert refused.status == 401 and "8192" in json.loads(refused.body)["detail"]
