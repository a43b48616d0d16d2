"""One-use tickets at a real gateway: redeemed once, good for their stream's reconnects, worth nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest
import redis as redis_client
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    OTHER_SCHOOL,
    SCHOOL,
    STATE,
    EventReader,
    GatewayProcess,
    RedisServer,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)

from schemas.keys import TicketKeys

TOPIC = f"school/{SCHOOL}"
DASHBOARD = "https://dashboard.example.test"
NO_SCHOOL = "19990010000999"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.apply(OTHER_SCHOOL, [scored(2510, 4)])
        worker.serve()
        yield server


@pytest.fixture(scope="module")
def gateway(redis: RedisServer) -> Iterator[GatewayProcess]:
    with gateway_process(redis.url, SCORES_ALLOWED_ORIGINS=DASHBOARD, SCORES_ACCESS_LOG="yes") as running:
        yield running


def ticket_for(gateway: GatewayProcess, *topics: str, token: str = "") -> str:
    bearer = {"Authorization": f"Bearer {token or gateway.token(DISTRICT)}"}
    with gateway.client(**bearer) as client:
        answer = client.post("/v1/stream/tickets", json={"topics": topics or [TOPIC]})
    assert answer.status_code == 201, answer.text
    ticket: str = answer.json()["ticket"]
    return ticket


def opened(gateway: GatewayProcess, ticket: str, **headers: str) -> httpx.Response:
    """The answer to a connection with a ticket; a stream that opened is closed at once."""
    with (
        gateway.client(**headers) as client,
        client.stream("GET", "/v1/stream", params={"ticket": ticket}) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
        return answer


def test_a_ticket_opens_its_stream_once_and_nobody_finds_it_in_redis(
    gateway: GatewayProcess, redis: RedisServer
) -> None:
    ticket = ticket_for(gateway)
    assert len(ticket) == 43  # 256 bits
    with redis_client.Redis.from_url(redis.url) as store:
        assert not list(store.scan_iter(f"*{ticket}*"))
        keys = TicketKeys(sha256(ticket.encode()).hexdigest())
        assert 0 < store.ttl(keys.fresh) <= 30
        with gateway.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
            assert reader.until("subscribed").data["topics"] == [TOPIC]
            assert reader.until("put").cells(SCHOOL)
            assert not store.exists(keys.fresh)
    replayed = opened(gateway, ticket)
    assert replayed.status_code == 401
    assert replayed.headers["content-type"] == "application/problem+json"


def test_the_streams_own_reconnects_go_on_with_what_changed(
    gateway: GatewayProcess, redis: RedisServer
) -> None:
    ticket = ticket_for(gateway)
    with gateway.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
        last = reader.until("put").id
        assert last is not None
    worker = FakeWorker(redis.url)
    worker.apply(SCHOOL, [scored(2460, 3)])
    for _ in range(2):  # as often as it takes
        with (
            gateway.client(**{"Last-Event-ID": last}) as client,
            stream(client, query={"ticket": [ticket]}) as reader,
        ):
            assert reader.until("patch").cells(SCHOOL)
            assert not [event for event in reader.seen if event.kind == "put"]


def test_a_spent_ticket_found_elsewhere_is_worth_nothing(gateway: GatewayProcess) -> None:
    ticket = ticket_for(gateway)
    with gateway.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
        last = reader.until("put").id
    assert last is not None
    thief = {"X-Forwarded-For": "203.0.113.9"}
    refusals = [
        opened(gateway, ticket, **thief),
        opened(gateway, ticket, **thief, **{"Last-Event-ID": last}),
        opened(gateway, ticket, **{"Last-Event-ID": "no-id-of-ours"}),
        opened(gateway, "never-issued", **{"Last-Event-ID": last}),
        opened(gateway, "x" * 5_000),
        opened(gateway, "é"),
    ]
    assert {answer.status_code for answer in refusals} == {401}
    assert len({answer.content for answer in refusals}) == 1
    assert opened(gateway, ticket, **{"Last-Event-ID": last}).status_code == 200


@pytest.mark.parametrize("more", ["topic=school/" + OTHER_SCHOOL, "test=ELA-SUM", "grade=03", "year=2026"])
def test_a_ticket_is_for_what_was_asked_and_for_nothing_else(gateway: GatewayProcess, more: str) -> None:
    ticket = ticket_for(gateway)
    with gateway.client() as client:
        answer = client.get(f"/v1/stream?ticket={ticket}&{more}")
        assert answer.status_code == 400 and "alone" in answer.json()["detail"]
        other = ticket_for(gateway)
        assert client.get(f"/v1/stream?ticket={ticket}&ticket={other}").status_code == 400
    assert opened(gateway, ticket).status_code == 200  # it was not spent on that


def test_a_ticket_for_what_is_not_open_is_refused_as_for_what_does_not_exist(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client:
        answers = [
            client.post("/v1/stream/tickets", json={"topics": [f"school/{school}"]})
            for school in (OTHER_SCHOOL, NO_SCHOOL)
        ]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].content == answers[1].content


def test_a_ticket_takes_a_token_in_the_header(gateway: GatewayProcess) -> None:
    body = {"topics": [TOPIC]}
    with gateway.client() as client:
        assert client.post("/v1/stream/tickets", json=body).status_code == 401
    with gateway.client(Cookie=f"scores_session={gateway.token(DISTRICT)}") as client:
        assert client.post("/v1/stream/tickets", json=body).status_code == 401


def test_a_ticket_ends_with_its_token(gateway: GatewayProcess) -> None:
    ticket = ticket_for(gateway, token=gateway.token(DISTRICT, seconds=6))
    with gateway.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
        last = reader.until("put").id
        assert reader.until("bye").data["reason"] == "token_expired"
    assert last is not None
    refused = opened(gateway, ticket, **{"Last-Event-ID": last})
    assert refused.status_code == 401 and "expired" in refused.json()["detail"]


def test_a_ticket_is_revoked_with_its_token(gateway: GatewayProcess) -> None:
    token = gateway.token(DISTRICT, subject="lea@example.test")
    fresh, spent = ticket_for(gateway, token=token), ticket_for(gateway, token=token)
    officer = gateway.token(STATE, role="PRIVACY_OFFICER")
    with gateway.client() as client, stream(client, query={"ticket": [spent]}) as reader:
        last = reader.until("put").id
        assert last is not None
        with gateway.client(Authorization=f"Bearer {officer}") as other:
            assert other.post("/v1/revocations", json={"subject": "lea@example.test"}).status_code == 201
        assert reader.until("bye").data["reason"] == "revoked"
    assert opened(gateway, fresh).status_code == 401
    assert opened(gateway, spent, **{"Last-Event-ID": last}).status_code == 401


def test_pages_of_the_listed_origin_may_ask_and_no_others(gateway: GatewayProcess) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with gateway.client() as client:
        allowed = client.options("/v1/stream/tickets", headers={"Origin": DASHBOARD, **preflight})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == DASHBOARD
        assert "access-control-allow-credentials" not in allowed.headers
        for origin in ("https://evil.example.test", f"{DASHBOARD}.evil.test", "null", DASHBOARD.upper()):
            refused = client.options("/v1/stream/tickets", headers={"Origin": origin, **preflight})
            assert "access-control-allow-origin" not in refused.headers
    with gateway.client(DISTRICT, Origin=DASHBOARD) as client:
        assert client.get("/v1/organizations").headers["access-control-allow-origin"] == DASHBOARD
        with stream(client, TOPIC) as reader:
            assert reader.response.headers["access-control-allow-origin"] == DASHBOARD
            assert reader.response.headers["vary"] == "Origin"
    with (
        gateway.client(DISTRICT, Origin="https://evil.example.test") as client,
        stream(client, TOPIC) as reader,
    ):
        assert "access-control-allow-origin" not in reader.response.headers


def test_another_origins_page_gets_nowhere_with_the_cookie(gateway: GatewayProcess) -> None:
    cookie = f"scores_session={gateway.token(DISTRICT)}"
    with gateway.client(Cookie=cookie, Origin=DASHBOARD, **{"Sec-Fetch-Site": "cross-site"}) as client:
        assert client.get(f"/v1/stream?topic={TOPIC}").status_code == 401


def test_tickets_stay_out_of_the_log(redis: RedisServer) -> None:
    with gateway_process(redis.url, SCORES_ACCESS_LOG="yes") as logging_gateway:
        ticket = ticket_for(logging_gateway)
        assert opened(logging_gateway, ticket).status_code == 200
        assert opened(logging_gateway, ticket).status_code == 401
        _, log = logging_gateway.stop()
    assert "path=/v1/stream status=401" in log
    assert ticket not in log and sha256(ticket.encode()).hexdigest() not in log
    assert "ticket=" not in log


def test_a_redeemed_ticket_serves_no_longer_than_a_stream_lives(redis: RedisServer) -> None:
    with gateway_process(redis.url, SCORES_STREAM_MAX_AGE_SECONDS="1") as short:
        ticket = ticket_for(short)
        with short.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
            last = reader.until("put").id
            assert last is not None
            assert reader.until("bye").data["reason"] == "max_age"
        # Its token, and an unused ticket, would do for much longer.
        wait_until(lambda: opened(short, ticket, **{"Last-Event-ID": last}).status_code == 401, seconds=20)


def test_without_redis_a_ticket_is_not_lost_and_its_stream_is_told_to_come_back() -> None:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.serve()
        with gateway_process(server.url) as gateway:
            ticket = ticket_for(gateway)
            server.stop()
            with gateway.client() as client, stream(client, query={"ticket": [ticket]}) as reader:
                bye = EventReader.until(reader, "bye")
                assert bye.data["reason"] == "not_ready" and bye.data["reconnect"] is True
            with gateway.client(DISTRICT) as client:
                assert client.post("/v1/stream/tickets", json={"topics": [TOPIC]}).status_code == 503
