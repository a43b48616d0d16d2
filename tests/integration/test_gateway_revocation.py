"""Revocations over two real gateways: streams close at once on both, the next connect is refused, roles that change."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
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
    STATE,
    Event,
    EventReader,
    GatewayProcess,
    RedisServer,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from promptness import assert_within

from schemas.access.permissions import Grant
from schemas.access.roles_file import parse_roles
from schemas.identifiers import OrganizationId

OFFICER = "PRIVACY_OFFICER"
NO_DISTRICT = "19990090000000"  # of the form of one, in no directory


@contextlib.contextmanager
def filled_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.apply(OTHER_SCHOOL, [scored(2510, 4)])
        worker.serve()
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with filled_redis() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(redis: RedisServer) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    with (
        gateway_process(redis.url) as first,
        gateway_process(redis.url, SCORES_JWKS_FILE=str(first.issuer.jwks_file)) as second,
    ):
        second.issuer = first.issuer
        yield first, second


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def revoke(gateway: GatewayProcess, officer_of: str = STATE, **order: str) -> httpx.Response:
    token = gateway.token(officer_of, role=OFFICER, subject="officer@example.test")
    with gateway.client(**bearer(token)) as client:
        return client.post("/v1/revocations", json=order)


@contextlib.contextmanager
def watching(gateway: GatewayProcess, token: str, *topics: str) -> Iterator[EventReader]:
    with gateway.client(**bearer(token)) as client, stream(client, *topics) as reader:
        reader.until("put")
        yield reader


def farewell(reader: EventReader) -> tuple[dict[str, Any], float]:
    """The last event, and when it came."""
    bye = reader.until("bye")
    came = time.monotonic()
    assert reader.next() is None
    return bye.data, came


def test_a_revoked_subject_loses_its_streams_on_every_node_within_a_second_and_cannot_come_back(
    nodes: tuple[GatewayProcess, GatewayProcess],
) -> None:
    first, second = nodes
    others = first.token(DISTRICT, subject="ben@example.test")
    tokens: list[str] = []

    def lost() -> float:
        subject = f"ana{len(tokens)}@example.test"
        tokens.append(first.token(DISTRICT, subject=subject))
        with (
            watching(first, tokens[-1], f"school/{SCHOOL}") as here,
            watching(second, tokens[-1], f"district/{DISTRICT}") as there,
            watching(second, others, f"school/{SCHOOL}") as beside,
            concurrent.futures.ThreadPoolExecutor() as readers,
        ):
            endings = [readers.submit(farewell, reader) for reader in (here, there)]
            asked = time.monotonic()
            answer = revoke(second, subject=subject)
            assert answer.status_code == 201, answer.text
            assert answer.json()["kind"] == "subject" and answer.json()["by"] == "officer@example.test"
            farewells = [ending.result(timeout=60) for ending in endings]
            assert {(said["reason"], said["reconnect"]) for said, _ in farewells} == {("revoked", False)}
            beside.until("progress")  # ben's goes on
            return max(came for _, came in farewells) - asked

    assert_within(1.0, lost)
    [token, *_] = tokens
    for gateway in nodes:
        for path in (f"/v1/stream?topic=school/{SCHOOL}", f"/v1/aggregates/{SCHOOL}", "/v1/organizations"):
            with gateway.client(**bearer(token)) as client:
                refused = client.get(path)
            # Not 200 and bye: a browser's EventSource stops here, as it should.
            assert refused.status_code == 401
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_8_permission_revoked_mid_stream_no_further_frame() -> None:
    def shows(students: int) -> Callable[[Event], bool]:
        return lambda event: any(cell["results"] == students for cell in event.cells(SCHOOL).values())

    with filled_redis() as redis, gateway_process(redis.url) as gateway:
        worker = FakeWorker(redis.url)
        revoked, beside = (
            gateway.token(DISTRICT, subject=f"{name}@example.test") for name in ("ines", "joe")
        )
        with (
            watching(gateway, revoked, f"school/{SCHOOL}") as reader,
            watching(gateway, beside, f"school/{SCHOOL}") as witness,
        ):
            worker.apply(SCHOOL, [scored(2460, 3), scored(2440, 2)])
            reader.until("patch", shows(2))
            assert revoke(gateway, subject="ines@example.test").status_code == 201
            worker.apply(SCHOOL, [scored(2470, 3)])
            before = len(reader.seen)
            said, _ = farewell(reader)
            assert said["reason"] == "revoked"
            assert not any(event.kind in ("put", "patch") for event in reader.seen[before:])
            witness.until("patch", shows(3))  # whoever may still see it is told


def test_one_token_is_revoked_by_its_id_and_its_subjects_others_are_not(
    nodes: tuple[GatewayProcess, GatewayProcess],
) -> None:
    first, second = nodes
    lost = first.token(DISTRICT, subject="cleo@example.test")
    kept = first.token(DISTRICT, subject="cleo@example.test")
    assert revoke(first, token=token_id(lost)).status_code == 201
    with second.client(**bearer(lost)) as client:
        wait_until(lambda: client.get("/v1/organizations").status_code == 401)
    with second.client(**bearer(kept)) as client:
        assert client.get("/v1/organizations").status_code == 200


def test_a_districts_tokens_end_and_its_countys_and_neighbours_do_not(
    nodes: tuple[GatewayProcess, GatewayProcess],
) -> None:
    first, second = nodes
    teacher = first.token(OTHER_SCHOOL, subject="dan@example.test")
    state = first.token(STATE, subject="eve@example.test")
    neighbour = first.token(DISTRICT, subject="fay@example.test")
    with (
        watching(second, teacher, f"school/{OTHER_SCHOOL}") as lost,
        watching(second, state, f"district/{OTHER_DISTRICT}") as states,
        watching(second, neighbour, f"school/{SCHOOL}") as neighbours,
    ):
        assert revoke(first, officer_of=OTHER_DISTRICT, district=OTHER_DISTRICT).status_code == 201
        assert farewell(lost)[0]["reason"] == "revoked"
        states.until("progress")
        neighbours.until("progress")
    with first.client(**bearer(teacher)) as client:
        assert client.get("/v1/organizations").status_code == 401


def test_a_revoked_token_renews_no_stream(nodes: tuple[GatewayProcess, GatewayProcess]) -> None:
    first, second = nodes
    good = first.token(DISTRICT, subject="gil@example.test")
    bad = first.token(DISTRICT, subject="gil@example.test")
    assert revoke(first, token=token_id(bad)).status_code == 201
    with watching(second, good, f"school/{SCHOOL}") as reader:
        stream_id = next(event for event in reader.seen if event.kind == "subscribed").data["stream"]
        for gateway in nodes:
            with gateway.client(**bearer(bad)) as client:
                assert client.post(f"/v1/streams/{stream_id}/renew").status_code == 401


@pytest.mark.parametrize("role", ["PII", "ASMTDATALOAD", "DevOps"])
def test_revoking_takes_the_permission(nodes: tuple[GatewayProcess, GatewayProcess], role: str) -> None:
    first, _ = nodes
    with first.client(**bearer(first.token(STATE, role=role, subject="hal@example.test"))) as client:
        for order in ({"subject": "x"}, {"token": "x"}, {"district": DISTRICT}):
            assert client.post("/v1/revocations", json=order).status_code == 403
        assert client.get("/v1/revocations").status_code == 403


def test_a_districts_officer_revokes_there_and_hears_of_nowhere_else(
    nodes: tuple[GatewayProcess, GatewayProcess],
) -> None:
    first, second = nodes
    assert revoke(first, officer_of=DISTRICT, subject="ana@example.test").status_code == 403
    elsewhere = revoke(first, officer_of=DISTRICT, district=OTHER_DISTRICT)
    nowhere = revoke(first, officer_of=DISTRICT, district=NO_DISTRICT)
    assert (elsewhere.status_code, elsewhere.content) == (nowhere.status_code, nowhere.content)
    assert elsewhere.status_code == 403
    assert revoke(second, subject="known-statewide-only").status_code == 201
    token = first.token(DISTRICT, role=OFFICER, subject="ida@example.test")
    with first.client(**bearer(token)) as client:
        listed = client.get("/v1/revocations").json()["revocations"]
    assert {one["kind"] for one in listed} <= {"district"}
    assert {one["value"] for one in listed} <= {DISTRICT}


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"subject": ""},
        {"subject": "x", "token": "y"},
        {"district": SCHOOL},
        {"district": STATE},
        {"district": "1999"},
        {"district": DISTRICT, "issuer": "x"},
        {"subject": "x" * 513},
        {"subjects": "x"},
    ],
)
def test_a_revocation_that_is_not_clear_revokes_nothing(
    nodes: tuple[GatewayProcess, GatewayProcess], order: dict[str, str]
) -> None:
    answer = revoke(nodes[0], **order)
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/problem+json"


def test_a_page_with_a_cookie_cannot_revoke(nodes: tuple[GatewayProcess, GatewayProcess]) -> None:
    cookie = f"scores_session={nodes[0].token(STATE, role=OFFICER)}"
    with nodes[0].client(Cookie=cookie) as client:
        assert client.post("/v1/revocations", json={"subject": "x"}).status_code == 401


def test_a_gateway_that_starts_later_knows_what_was_revoked_before(
    nodes: tuple[GatewayProcess, GatewayProcess], redis: RedisServer
) -> None:
    first, _ = nodes
    token = first.token(DISTRICT, subject="jo@example.test")
    assert revoke(first, subject="jo@example.test").status_code == 201
    with (
        gateway_process(redis.url, SCORES_JWKS_FILE=str(first.issuer.jwks_file)) as late,
        late.client(**bearer(token)) as client,
    ):
        assert client.get("/v1/organizations").status_code == 401


def test_changed_roles_take_away_and_give_while_a_stream_is_open(
    nodes: tuple[GatewayProcess, GatewayProcess], tmp_path: Path
) -> None:
    roles = tmp_path / "roles.toml"
    may_look = 'COUNSELOR = ["CUSTOM_AGGREGATE_READ", "INDIVIDUAL_PII_READ", "TEST_DATA_LOADING_READ"]'
    roles.write_text(f"[roles]\n{may_look}\n")
    issuer = nodes[0].issuer
    grants = [Grant("COUNSELOR", OrganizationId(SCHOOL)), Grant("PII", OrganizationId(OTHER_SCHOOL))]
    token = issuer.issue(
        "kim@example.test", grants, timedelta(minutes=5), roles=parse_roles(roles.read_text())
    )
    settings = {"SCORES_JWKS_FILE": str(issuer.jwks_file), "SCORES_ROLES_FILE": str(roles)}
    # A Redis of its own: where a district was revoked just now, a new token of there is refused too.
    with filled_redis() as apart, gateway_process(apart.url, **settings) as gateway:
        with watching(gateway, token, f"school/{SCHOOL}", f"school/{OTHER_SCHOOL}") as reader:
            roles.write_text("[roles]\nCOUNSELOR = []\n")
            told = reader.until("subscribed")
            assert told.data["dropped"] == [SCHOOL] and told.data["organizations"] == 1
            roles.write_text(f"[roles]\n{may_look}\n")
            assert reader.until("put").cells(SCHOOL)
            roles.write_text("[roles]\nCOUNSELOR = []\nPII = []\n")
            said, _ = farewell(reader)
            assert (said["reason"], said["reconnect"]) == ("forbidden", False)
        with gateway.client(**bearer(token)) as client:
            assert client.get(f"/v1/stream?topic=school/{SCHOOL}").status_code == 403


def token_id(token: str) -> str:
    body = token.split(".")[1]
    identity: str = json.loads(base64.urlsafe_b64decode(body + "=="))["jti"]
    return identity
