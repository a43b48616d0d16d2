"""Closing a test over HTTP: for the state's reviewers, in the audit before it is in Kafka, and told to everybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fake_imports import MemoryPublisher
from starlette.applications import Starlette
from starlette.requests import Request

from gateway.closing_openapi import closing_paths
from gateway.closing_routes import closing_routes
from gateway.problems import problem_response
from gateway.tokens import Principal, TokenRefused
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, IMPORT_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.assessments import load_registry
from schemas.audit import AuditEvent, AuditKind
from schemas.closings import Change, ClosedTest, encode_closings, fold
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.events import ClosingEntry, decode_closing
from schemas.identifiers import STATE, OrganizationId
from schemas.topics import CLOSINGS

pytestmark = pytest.mark.anyio

DISTRICT = OrganizationId("19990010000000")
ADDRESS = "/v1/closings/2026/ELA-SUM"
CLOSED = {"change": "closed"}


class FailingPublisher(MemoryPublisher):
    async def publish(self, records: Any) -> None:
        raise DependencyUnavailable("Kafka is away")


class World:
    """An application with these routes; who asks is said by the bearer: a role and an organization."""

    def __init__(self, publisher: MemoryPublisher | None = None) -> None:
        self.publisher = MemoryPublisher() if publisher is None else publisher
        self.stored: bytes | None = None
        self.noted: list[AuditEvent] = []
        self.produced_when_noted: list[int] = []
        self._app = Starlette(
            routes=closing_routes(self, self.publisher, load_registry()),  # type: ignore[arg-type]  # reads one key
            exception_handlers={ScoreStreamError: self._refuse},
        )
        self._app.state.gateway = SimpleNamespace(credentials=self, notes=self, audit=self)

    async def get(self, name: str) -> bytes | None:
        assert name == "scores:closings"
        return self.stored

    def by_header_only(self, request: Request) -> Principal:
        role, _, organization = (
            request.headers.get("authorization", "").removeprefix("Bearer ").partition("@")
        )
        if not role:
            raise TokenRefused("missing", "Send an access token: Authorization: Bearer TOKEN.")
        grants = (Grant(role, OrganizationId(organization)),)
        rights = BUILT_IN_ROLES.rights(grants)
        return Principal("officer@example.test", grants, datetime(2030, 1, 1, tzinfo=UTC), "t-1", rights)

    by_header_or_cookie = by_header_only

    def read(self, request: Request, principal: Principal, kind: AuditKind, **more: Any) -> None:
        self.noted.append(AuditEvent(kind=kind, subject=principal.subject, **more))

    async def written(self) -> None:
        self.produced_when_noted.append(len(self.publisher.records))

    async def ask(
        self, method: str, address: str = ADDRESS, *, role: str = RELEASE_ROLE, at: str = STATE, **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {role}@{at}"} if role else {}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            return await client.request(method, address, headers=headers, **more)

    async def _refuse(self, request: Request, error: Exception) -> Any:
        return problem_response(error)


async def test_reviewer_of_the_state_closes_a_test_and_opens_it_again() -> None:
    world = World()
    answers = [await world.ask("PUT", json={"change": change}) for change in ("closed", "reopened")]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {
        "school_year": 2026,
        "test": "ELA-SUM",
        "change": "closed",
        "at": None,
        "lead_seconds": 10,
    }
    assert [(record.topic, record.key) for record in world.publisher.records] == [
        (CLOSINGS, b"2026/ELA-SUM")
    ] * 2
    entries = [decode_closing(record.value or b"") for record in world.publisher.records]
    assert [entry.change for entry in entries] == ["closed", "reopened"]
    assert {entry.by for entry in entries} == {"officer@example.test"}
    assert [event.kind for event in world.noted] == [AuditKind.YEAR_CLOSED, AuditKind.YEAR_REOPENED]
    assert (world.noted[0].years, world.noted[0].tests) == ((2026,), ("ELA-SUM",))
    assert world.produced_when_noted == [0, 1], "the audit has each before Kafka has"


async def test_test_is_closed_for_a_moment_to_come_and_not_for_one_that_is_over() -> None:
    world = World()
    soon = datetime.now(UTC) + timedelta(days=1)
    assert (await world.ask("PUT", json=CLOSED | {"at": soon.isoformat()})).status_code == 202
    assert decode_closing(world.publisher.records[0].value or b"").at == soon
    over = await world.ask("PUT", json=CLOSED | {"at": (soon - timedelta(days=2)).isoformat()})
    assert (over.status_code, "is over" in over.json()["detail"]) == (400, True)
    assert len(world.publisher.records) == 1


@pytest.mark.parametrize(
    ("role", "organization", "status"),
    [
        pytest.param(RELEASE_ROLE, DISTRICT, 403, id="a district's reviewer"),
        pytest.param(READER_ROLE, STATE, 403, id="who reads the state"),
        pytest.param(IMPORT_ROLE, STATE, 403, id="who imports results"),
        pytest.param("", STATE, 401, id="nobody"),
    ],
)
async def test_nobody_else_closes_a_test(role: str, organization: str, status: int) -> None:
    world = World()
    refused = await world.ask("PUT", json=CLOSED, role=role, at=organization)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert ("lacks" in refused.json()["detail"]) == (status == 403), "what is missing, to whoever has a token"
    assert (world.publisher.records, world.noted) == ([], [])


@pytest.mark.parametrize(
    ("address", "body", "named"),
    [
        pytest.param(ADDRESS, {"change": "shut"}, "change", id="no such change"),
        pytest.param(ADDRESS, {"change": "closed", "until": "2027"}, "until", id="an unknown field"),
        pytest.param(
            ADDRESS, {"change": "closed", "at": "2030-01-01T00:00:00"}, "at", id="a time without zone"
        ),
        pytest.param("/v1/closings/2026/SPELLING", CLOSED, "SPELLING", id="no such test"),
        pytest.param("/v1/closings/1926/ELA-SUM", CLOSED, "1926", id="no such year"),
        pytest.param("/v1/closings/twenty/ELA-SUM", CLOSED, "twenty", id="no year at all"),
    ],
)
async def test_order_that_means_nothing_is_refused_by_name(address: str, body: object, named: str) -> None:
    world = World()
    refused = await world.ask("PUT", address, json=body)
    assert (refused.status_code, named in refused.json()["detail"]) == (400, True), refused.text
    assert (world.publisher.records, world.noted) == ([], [])


async def test_order_that_kafka_did_not_confirm_may_be_repeated() -> None:
    answer = await World(FailingPublisher()).ask("PUT", json=CLOSED)
    assert (
        answer.status_code == 503 and "Retry-After" in answer.headers and "again" in answer.json()["detail"]
    )


async def test_what_is_closed_is_told_to_whoever_has_a_token() -> None:
    world = World()
    assert (await world.ask("GET", "/v1/closings")).status_code == 503, "no worker has read the log yet"
    when = 1_788_177_600_000
    changes = [
        Change(ClosingEntry(school_year=2025, test="CAST", change="closed"), when),
        Change(ClosingEntry(school_year=2026, test="ELA-SUM", change="closed"), when),
        Change(ClosingEntry(school_year=2026, test="ELA-SUM", change="reopened"), when + 60_000),
    ]
    assert dict(fold(changes))[ClosedTest(2025, "CAST")]
    world.stored = encode_closings(fold(changes))
    answer = await world.ask("GET", "/v1/closings", role=READER_ROLE, at=DISTRICT)
    assert answer.json() == {
        "closings": [
            {
                "school_year": 2026,
                "test": "ELA-SUM",
                "closed": [{"from": "2026-08-31T12:00:10.000Z", "to": "2026-08-31T12:01:10.000Z"}],
            },
            {
                "school_year": 2025,
                "test": "CAST",
                "closed": [{"from": "2026-08-31T12:00:10.000Z", "to": None}],
            },
        ]
    }
    assert (await world.ask("GET", "/v1/closings", role="")).status_code == 401


def test_routes_are_those_that_are_described() -> None:
    routes = closing_routes(World(), MemoryPublisher(), load_registry())  # type: ignore[arg-type]  # asked nothing
    assert {route.path for route in routes} == set(closing_paths())
