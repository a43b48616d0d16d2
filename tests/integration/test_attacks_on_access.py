"""Somebody with a token of one school district puts another's code wherever a code can be put, and learns nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
)

NO_DISTRICT, NO_SCHOOL = "19990090000000", "19990090000901"
OTHERS = (OTHER_DISTRICT, OTHER_SCHOOL)  # they exist, and are somebody else's
NOWHERE = (NO_DISTRICT, NO_SCHOOL)  # they do not

# Wherever a request names an organization: method, path and body; {district} and {school} are the ones named.
PLACES: dict[str, tuple[str, str, Any]] = {
    "a stream of a school": ("GET", "/v1/stream?topic=school/{school}", None),
    "a stream of a district": ("GET", "/v1/stream?topic=district/{district}", None),
    "a stream of a district's schools": ("GET", "/v1/stream?topic=district/{district}/schools", None),
    "a stream, beside one's own": ("GET", "/v1/stream?topic=school/" + SCHOOL + "&topic=school/{school}", None),
    "a stream, first": ("GET", "/v1/stream?topic=school/{school}&topic=school/" + SCHOOL, None),
    "a stream that comes back": ("GET", "/v1/stream?topic=school/{school}&last_event_id=g1.1", None),
    "a stream since then": ("GET", "/v1/stream?topic=school/{school}&since=1777896000000", None),
    "a stream of one test": ("GET", "/v1/stream?topic=school/{school}&test=ELA-SUM", None),
    "aggregates of a school": ("GET", "/v1/aggregates/{school}", None),
    "aggregates of a district": ("GET", "/v1/aggregates/{district}", None),
    "aggregates as a table": ("GET", "/v1/aggregates/{school}?format=csv", None),
    "organizations below": ("GET", "/v1/organizations?under={district}", None),
    "organizations below a school": ("GET", "/v1/organizations?under={school}", None),
    "a ticket": ("POST", "/v1/stream/tickets", {"topics": ["school/{school}"]}),
    "a ticket for a district's schools": ("POST", "/v1/stream/tickets", {"topics": ["district/{district}/schools"]}),
    "a change": ("POST", "/v1/streams/{stream}/subscription", {"topics": ["school/{school}"]}),
    "a change to a district's schools": (
        "POST",
        "/v1/streams/{stream}/subscription",
        {"topics": ["district/{district}/schools"]},
    ),
    "a revocation": ("POST", "/v1/revocations", {"district": "{district}"}),
    "a release state": ("PUT", "/v1/releases/2026/{district}/ELA/aggregate", {"state": "released"}),
    "release states": ("GET", "/v1/releases?district={district}", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.apply(OTHER_SCHOOL, [scored(2510, 4)])
        worker.serve()
        with gateway_process(server.url) as running:
            yield running


@pytest.mark.parametrize("role", ["PII", "PRIVACY_OFFICER", "SandboxDistrictAdmin"])
@pytest.mark.parametrize("place", PLACES)
def test_another_districts_code_is_answered_as_one_that_does_not_exist(
    gateway: GatewayProcess, place: str, role: str
) -> None:
    method, path, body = PLACES[place]
    with (
        gateway.client(DISTRICT) as mine,
        stream(mine, f"school/{SCHOOL}") as reader,
        gateway.client(Authorization=f"Bearer {gateway.token(DISTRICT, role=role)}") as client,
    ):
        stream_id = reader.until("subscribed").data["stream"]
        answers = [ask(client, method, path, body, codes, stream_id) for codes in (OTHERS, NOWHERE)]
    others, nowhere = answers
    assert others.status_code == nowhere.status_code
    assert others.content == nowhere.content
    assert told(others) == told(nowhere)
    if others.status_code == 200:
        assert others.json() == {"organizations": []}
    else:
        assert others.status_code == 403
        assert others.headers["content-type"] == "application/problem+json"
        assert not any(code in others.text for code in (*OTHERS, *NOWHERE))


def ask(
    client: httpx.Client, method: str, path: str, body: Any, codes: tuple[str, str], stream_id: str
) -> httpx.Response:
    """The answer when these codes, of a district and a school, are named."""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.format(district=codes[0], school=codes[1], stream=stream_id)
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items()}
        return [filled(one) for one in value]

    return client.request(method, filled(path), json=None if body is None else filled(body))


def told(answer: httpx.Response) -> dict[str, str]:
    """What the headers say, but for the time of day."""
    return {name: value for name, value in answer.headers.items() if name != "date"}


def test_a_stream_of_somebody_else_is_a_stream_that_is_not_there(gateway: GatewayProcess) -> None:
    stranger = gateway.token(DISTRICT, subject="stranger@example.test")
    with (
        gateway.client(DISTRICT) as mine,
        stream(mine, f"school/{SCHOOL}") as reader,
        gateway.client(Authorization=f"Bearer {stranger}") as client,
    ):
        stream_id: str = reader.until("subscribed").data["stream"]
        node = stream_id.partition(".")[0]
        for known in (stream_id, f"{node}.AAAAAAAAAAAA"):
            for path, body in (("renew", None), ("subscription", {"topics": [f"school/{SCHOOL}"]})):
                answer = client.post(f"/v1/streams/{known}/{path}", json=body)
                assert answer.status_code == 404
                assert answer.json()["detail"].startswith("You have no such stream")


@pytest.mark.parametrize(
    "stream_id", ["x", "x.y", "../../v1", "%2e%2e", "a.b.c", "*.*", "gateway:*", "AAAAAAAAAAAA.AAAAAAAAAAAA"]
)
def test_an_id_that_is_guessed_leads_nowhere(gateway: GatewayProcess, stream_id: str) -> None:
    with gateway.client(DISTRICT) as client:
        assert client.post(f"/v1/streams/{stream_id}/renew").status_code == 404
