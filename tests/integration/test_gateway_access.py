"""Tokens at the door of a real gateway: headers, the page's cookie, the end of a token while its stream is open."""

from __future__ import annotations

import re
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
    stream,
)

TOPIC = f"school/{SCHOOL}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.apply(SCHOOL, [scored(2450, 3)])
        worker.serve()
        with gateway_process(server.url, SCORES_ACCESS_LOG="yes") as running:
            yield running


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, "Bearer"),
        ({"Authorization": "Basic YTpi"}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Bearer"}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Bearer a.b.c"}, 'Bearer error="invalid_token"'),
        ({"Cookie": "scores_session=a.b.c"}, 'Bearer error="invalid_token"'),
    ],
)
@pytest.mark.parametrize(
    "path", [f"/v1/stream?topic={TOPIC}", f"/v1/aggregates/{SCHOOL}", "/v1/organizations"]
)
def test_nothing_opens_without_a_token(
    gateway: GatewayProcess, path: str, headers: dict[str, str], challenge: str
) -> None:
    with gateway.client(**headers) as client:
        refused = client.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == challenge
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_token_in_the_address_opens_nothing(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        address = f"/v1/stream?topic={TOPIC}&access_token={gateway.token(DISTRICT)}"
        assert client.get(address).status_code == 401


def test_the_page_trades_its_token_for_a_cookie_that_scripts_cannot_read(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client:
        answer = client.post("/v1/session")
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    assert (
        "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie and "max-age=" in cookie
    )
    assert "secure" not in cookie  # this connection is plain http
    with gateway.client(Cookie=answer.headers["set-cookie"].split(";")[0]) as client:
        with stream(client, TOPIC) as reader:
            reader.until("put")
        session = client.get("/v1/session").json()
        assert session["grants"] == [{"role": "PII", "org": DISTRICT}]


def test_behind_https_the_cookie_travels_by_https_only(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT, **{"X-Forwarded-Proto": "https"}) as client:
        assert "Secure" in client.post("/v1/session").headers["set-cookie"]


def test_the_session_ends_when_asked(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client:
        client.post("/v1/session")
        gone = client.delete("/v1/session")
    assert gone.status_code == 204
    assert 'scores_session=""' in gone.headers["set-cookie"] and "Max-Age=0" in gone.headers["set-cookie"]


def test_no_cookie_without_a_valid_token(gateway: GatewayProcess) -> None:
    with gateway.client(Authorization="Bearer a.b.c") as client:
        refused = client.post("/v1/session")
    assert refused.status_code == 401 and "set-cookie" not in refused.headers
    with gateway.client() as client:
        assert client.post("/v1/session").status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_cannot_use_the_cookie(gateway: GatewayProcess, site: str) -> None:
    cookie = f"scores_session={gateway.token(DISTRICT)}"
    with gateway.client(Cookie=cookie, **{"Sec-Fetch-Site": site}) as client:
        assert client.get(f"/v1/stream?topic={TOPIC}").status_code == 401
    with gateway.client(Cookie=cookie, **{"Sec-Fetch-Site": "same-origin"}) as client:
        assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 200


def test_no_answer_invites_another_origin(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT, Origin="https://elsewhere.example.test") as client:
        for path in ("/v1/organizations", f"/v1/aggregates/{SCHOOL}", "/"):
            headers = client.get(path).headers
            assert not [name for name in headers if name.startswith("access-control-")]
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"


def test_subscriber_loses_the_stream_when_the_token_expires(gateway: GatewayProcess) -> None:
    token = gateway.token(DISTRICT, seconds=6)
    with gateway.client(Authorization=f"Bearer {token}") as client:
        with stream(client, TOPIC) as reader:
            bye = reader.until("bye")
            assert bye.data["reason"] == "token_expired" and bye.data["reconnect"] is False
            assert reader.next() is None
        again = client.get(f"/v1/stream?topic={TOPIC}")
        # A browser's EventSource stops here, as it should.
        assert again.status_code == 401 and "expired" in again.json()["detail"]


@pytest.mark.parametrize("address", ["/", "/ops"])
def test_pages_are_served_under_a_policy_that_lets_nothing_else_in(
    gateway: GatewayProcess, address: str
) -> None:
    with gateway.client() as client:
        page = client.get(address)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert "http://" not in page.text and "https://" not in page.text
        asked_for = re.findall(r"/page/([a-z]+\.[a-z]+)", page.text)
        assert {"style.css", "icon.svg"} < set(asked_for)
        for name in asked_for:  # grows while it is gone through: a script asks for others
            file = client.get(f"/page/{name}")
            assert file.status_code == 200, name
            fresh = client.get(f"/page/{name}", headers={"If-None-Match": file.headers["etag"]})
            assert fresh.status_code == 304 and not fresh.content
            imported = re.findall(r'from "\./([a-z]+\.js)"', file.text)
            asked_for += [other for other in imported if other not in asked_for]
        assert {"session.js", "drawing.js"} < set(asked_for)
        assert client.get("/page/../settings.py").status_code == 404


def test_tokens_and_addresses_stay_out_of_the_log(gateway: GatewayProcess) -> None:
    token = gateway.token(DISTRICT)
    with gateway.client(Authorization=f"Bearer {token}") as client:
        client.get(f"/v1/aggregates/{SCHOOL}?year=2026&access_token=secret-in-the-query")
        client.get("/v1/with%0Aline-break")
    _, log = gateway.stop()
    assert f"path=/v1/aggregates/{SCHOOL} status=200" in log
    assert "secret-in-the-query" not in log and "year=2026" not in log
    assert token not in log and token.split(".")[1] not in log
    assert "path=/v1/with\\nline-break" in log
    gateway.start()
