"""The import endpoint's HTTP: shapes of answers, limits, permissions, and what it says when it says no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from fake_imports import UNLISTED_SCHOOL, MemoryImportStore, MemoryPublisher, event, import_service, report
from starlette.applications import Starlette
from starlette.requests import Request

from gateway.imports.routes import import_routes
from gateway.imports.settings import ImportSettings
from gateway.tokens import Principal, TokenRefused
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, IMPORT_ROLE, READER_ROLE
from schemas.identifiers import STATE, OrganizationId

PATH = "/v1/exams/imports"
XML = {"content-type": "application/xml"}
JSON = {"content-type": "application/json"}
VENDOR = {"authorization": "Bearer vendor"}


def authenticate(request: Request) -> Principal | None:
    """The token is the caller's name."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token == "expired":
        raise TokenRefused("expired", "The token has expired; get a new one.")
    grants = {
        "reader": Grant(READER_ROLE, STATE),
        "district loader": Grant(IMPORT_ROLE, OrganizationId("99123450000000")),
    }
    if not token:
        return None
    grant = grants.get(token, Grant(IMPORT_ROLE, STATE))
    rights = BUILT_IN_ROLES.rights((grant,))
    return Principal(token, (grant,), datetime.max.replace(tzinfo=UTC), "a token", rights)


@pytest.fixture
def store() -> MemoryImportStore:
    return MemoryImportStore()


@pytest.fixture
def kafka() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def settings() -> ImportSettings:
    return ImportSettings(request_bytes=64 * 1024, request_documents=5, waiting_bytes=100 * 1024)


@pytest.fixture
async def client(
    store: MemoryImportStore, kafka: MemoryPublisher, settings: ImportSettings
) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=import_routes(import_service(store, kafka), authenticate, settings))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers=VENDOR
    ) as client:
        yield client


def problem(response: httpx.Response) -> str:
    """The sentence of a problem+json answer."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    detail: str = body["detail"]
    return detail


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["application/xml", "text/xml; charset=utf-8"])
async def test_one_report_is_answered_with_its_import_object(client: httpx.AsyncClient, kind: str) -> None:
    response = await client.post(
        PATH, params={"batch": "may", "filename": "x.xml"}, content=report(), headers={"content-type": kind}
    )

    assert response.status_code == 202
    body = response.json()
    assert (body["status"], body["filename"], body["batch"], body["creator"]) == (
        "ACCEPTED",
        "x.xml",
        "may",
        "vendor",
    )
    assert (await client.get(body["_links"]["self"]["href"])).json() == body


@pytest.mark.anyio
async def test_a_report_that_cannot_be_used_is_recorded_and_answered_with_its_status(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post(PATH, content=report(score="bad data"), headers=XML)

    assert response.status_code == 202
    body = response.json()
    assert (body["status"], body["code"]) == ("BAD_DATA", -3)
    assert body["errors"][0]["value"] == "bad data"


@pytest.mark.anyio
async def test_many_files_are_answered_in_their_order_with_a_summary(client: httpx.AsyncClient) -> None:
    files = [
        ("file", ("good.xml", report(), "application/xml")),
        ("file", ("same.xml", report(), "application/xml")),
        ("file", ("bad.xml", b"<oops", "application/xml")),
        ("file", ("event.json", msgspec.json.encode(event(opportunity_id="2")), "application/json")),
        ("file", ("far.xml", report(school=UNLISTED_SCHOOL), "application/xml")),
    ]
    response = await client.post(PATH, params={"batch": "may"}, files=files)

    assert response.status_code == 202
    body = response.json()
    assert [one["status"] for one in body["imports"]] == [
        "ACCEPTED",
        "ACCEPTED",
        "BAD_FORMAT",
        "ACCEPTED",
        "UNKNOWN_SCHOOL",
    ]
    expected = {"received": 5, "accepted": 2, "duplicate": 1, "parked": 1, "rejected": {"BAD_FORMAT": 1}}
    assert body["summary"] == expected
    assert (await client.get(PATH, params={"batch": "may"})).json() == {"batch": "may", **expected}


@pytest.mark.anyio
async def test_one_event_is_answered_with_an_object_and_an_array_with_a_list(
    client: httpx.AsyncClient,
) -> None:
    one = await client.post(PATH, content=msgspec.json.encode(event()), headers=JSON)
    many = await client.post(PATH, content=msgspec.json.encode([event(opportunity_id="2")]), headers=JSON)

    assert one.json()["status"] == "ACCEPTED"
    assert many.json()["summary"]["accepted"] == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "headers", "content", "said"),
    [
        pytest.param(400, XML, b"", "body is empty", id="empty body"),
        pytest.param(400, JSON, b"[]", "array is empty", id="empty array"),
        pytest.param(413, JSON, b"[1,2,3,4,5,6]", "more than 5 documents", id="too many events"),
        pytest.param(413, XML, b"x" * 70_000, "larger than 0.0625 MiB", id="too large"),
        pytest.param(
            415, {"content-type": "text/csv"}, b"a,b", "Content-Type is 'text/csv'; expected", id="CSV"
        ),
        pytest.param(415, {}, b"<a/>", "Content-Type is ''; expected", id="no type"),
        pytest.param(415, XML | {"content-encoding": "gzip"}, b"..", "without compression", id="compressed"),
        pytest.param(
            400,
            {"content-type": "multipart/form-data; boundary=b"},
            b"--b--\r\n",
            "holds no file",
            id="no part",
        ),
    ],
)
async def test_requests_that_are_wrong_in_themselves_get_a_problem_and_record_nothing(
    client: httpx.AsyncClient,
    store: MemoryImportStore,
    status: int,
    headers: dict[str, str],
    content: bytes,
    said: str,
) -> None:
    response = await client.post(PATH, headers=headers, content=content)

    assert response.status_code == status
    assert said in problem(response)
    assert not store.records


@pytest.mark.anyio
async def test_a_body_that_does_not_announce_its_size_is_cut_off_at_the_limit(
    client: httpx.AsyncClient,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1024
            yield b"x" * 1024

    response = await client.post(PATH, headers=XML, content=endless())

    assert response.status_code == 413
    assert sent <= 66 * 1024


@pytest.mark.anyio
async def test_when_waiting_bodies_fill_their_memory_the_next_is_asked_to_come_again(
    client: httpx.AsyncClient, settings: ImportSettings, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    limited = ImportSettings(request_bytes=64 * 1024, waiting_bytes=10)
    app = Starlette(routes=import_routes(import_service(store, kafka), authenticate, limited))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as full:
        response = await full.post(PATH, content=report(), headers=XML | VENDOR)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        # The room of the refused body was given back.
        small = await full.post(PATH, content=b"<a/>", headers=XML | VENDOR)
        assert small.status_code == 202


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("token", "status", "challenge"),
    [
        (None, 401, "Bearer"),
        ("expired", 401, 'Bearer error="invalid_token"'),
        ("reader", 403, None),
        ("district loader", 403, None),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("GET", PATH), ("GET", f"{PATH}/some-import")])
async def test_only_loaders_get_in(
    client: httpx.AsyncClient, token: str | None, status: int, challenge: str | None, method: str, path: str
) -> None:
    client.headers.pop("authorization")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    response = await client.request(method, path, headers=XML | headers, content=report())

    assert response.status_code == status
    assert problem(response)
    assert response.headers.get("www-authenticate") == challenge


@pytest.mark.anyio
async def test_anothers_import_and_batch_look_like_none(client: httpx.AsyncClient) -> None:
    mine = (await client.post(PATH, params={"batch": "may"}, content=report(), headers=XML)).json()
    other = {"authorization": "Bearer another vendor"}

    foreign = await client.get(f"{PATH}/{mine['id']}", headers=other)
    unknown = await client.get(f"{PATH}/{'0' * 32}", headers=other)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content
    assert (await client.get(PATH, params={"batch": "may"}, headers=other)).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "batch=", "batch=" + "x" * 201])
async def test_a_batch_must_be_named(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"{PATH}?{query}")

    assert response.status_code == 400
    assert "batch" in problem(response)


@pytest.mark.anyio
@pytest.mark.parametrize("away", ["kafka", "redis"])
async def test_while_a_dependency_is_away_the_sender_is_asked_to_come_again(
    client: httpx.AsyncClient, store: MemoryImportStore, kafka: MemoryPublisher, away: str
) -> None:
    store.away, kafka.away = away == "redis", away == "kafka"
    response = await client.post(PATH, content=report(), headers=XML)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert "nothing of this request was accepted" in problem(response)
    # What is said of the inside stays inside.
    assert "says the test" not in problem(response)

    store.away = kafka.away = False
    again: Any = await client.post(PATH, content=report(), headers=XML)
    assert again.json()["status"] == "ACCEPTED"
