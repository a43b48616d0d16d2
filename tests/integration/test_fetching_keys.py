"""Keys from an issuer's address over real HTTP: what is taken, and what an address may not make us do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fake_worker import FakeWorker
from integration.gateway_fixtures import (
    ORGANIZATIONS,
    GatewayProcess,
    gateway_process,
    redis_server,
    wait_until,
)
from joserfc import jwt
from joserfc.jwk import Key, KeySet, OctKey, OKPKey

from gateway import fetched_keys
from gateway.fetched_keys import LARGEST_DOCUMENT, fetch_keys
from schemas.errors import DependencyUnavailable, InvalidInput

pytestmark = pytest.mark.anyio

KEY = OKPKey.generate_key("Ed25519", parameters={"kid": "one"})
JWKS = json.dumps(KeySet([KEY]).as_dict(private=False)).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Publisher)
        server.asked.append(self.path)
        base = server.base
        discovery = {
            "/well/.well-known/openid-configuration": {"issuer": f"{base}/well", "jwks_uri": f"{base}/keys"},
            "/liar/.well-known/openid-configuration": {
                "issuer": "https://other.example/",
                "jwks_uri": f"{base}/keys",
            },
            "/far/.well-known/openid-configuration": {
                "issuer": f"{base}/far",
                "jwks_uri": "http://169.254.169.254/latest",
            },
            "/empty/.well-known/openid-configuration": {"issuer": f"{base}/empty"},
        }
        if self.path == "/keys":
            self._answer(200, json.dumps(KeySet(server.keys).as_dict(private=False)).encode())
        elif self.path in discovery:
            self._answer(200, json.dumps(discovery[self.path]).encode())
        elif self.path == "/moved":
            self._answer(302, b"", Location=f"{base}/keys")
        elif self.path == "/endless":
            self._answer(200, b" " * (LARGEST_DOCUMENT + 1) + JWKS)
        elif self.path == "/slow":
            server.released.wait(60)
            server.answered_slowly = True
            self._answer(200, JWKS)
        elif self.path == "/secret":
            self._answer(200, json.dumps({"keys": [OctKey.generate_key(256).as_dict()]}).encode())
        elif self.path == "/page":
            self._answer(200, b"<html>")
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # the reader has had enough

    def log_message(self, format: str, *args: object) -> None:
        pass


class Publisher(ThreadingHTTPServer):
    """An issuer's web server."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.keys: list[Key] = [KEY]
        self.released = threading.Event()
        self.answered_slowly = False
        self.base = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


async def fetched(publisher: Publisher, path: str) -> list[str | None]:
    return [key.kid for key in await fetch_keys("an issuer", publisher.base + path, production=False)]


async def test_keys_are_read_from_their_address(publisher: Publisher) -> None:
    assert await fetched(publisher, "/keys") == ["one"]


async def test_the_address_is_discovered_at_the_issuer(publisher: Publisher) -> None:
    keys = await fetch_keys(f"{publisher.base}/well", None, production=False)
    assert [key.kid for key in keys] == ["one"]
    assert publisher.asked == ["/well/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("issuer", "named"),
    [("/liar", "another issuer"), ("/far", "no address"), ("/empty", "no OpenID configuration")],
    ids=["a configuration of another issuer", "keys by plain http elsewhere", "no address of keys"],
)
async def test_a_configuration_that_points_elsewhere_is_not_followed(
    publisher: Publisher, issuer: str, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        await fetch_keys(publisher.base + issuer, None, production=False)
    assert "/keys" not in publisher.asked


async def test_a_redirect_is_not_followed(publisher: Publisher) -> None:
    with pytest.raises(DependencyUnavailable, match="302"):
        await fetched(publisher, "/moved")
    assert publisher.asked == ["/moved"]


@pytest.mark.parametrize(
    ("path", "named"),
    [("/endless", "more than"), ("/secret", "shared secret"), ("/page", "not a readable JWKS")],
)
async def test_what_is_no_set_of_public_keys_is_not_taken(
    publisher: Publisher, path: str, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        await fetched(publisher, path)


async def test_an_issuer_that_does_not_answer_is_not_waited_for(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_keys, "_FETCH_SECONDS", 0.2)
    with pytest.raises(DependencyUnavailable):
        await fetched(publisher, "/slow")
    assert not publisher.answered_slowly
    with pytest.raises(DependencyUnavailable):
        await fetch_keys("an issuer", "http://127.0.0.1:9/keys", production=False)


def test_a_gateway_takes_a_rotated_key_without_a_restart_and_goes_on_refusing_a_forged_one(
    publisher: Publisher,
) -> None:
    def answer(gateway: GatewayProcess, key: OKPKey) -> int:
        now = int(time.time())
        claims = {
            "iss": "https://login.state.example/",
            "aud": "scores",
            "sub": "ana@example.test",
            "jti": "t1",
            "iat": now,
            "exp": now + 600,
        }
        header = {"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid}
        token = jwt.encode(header, claims, key, algorithms=["Ed25519"])
        with gateway.client(Authorization=f"Bearer {token}") as client:
            return client.get("/v1/session").status_code

    rotated, forged = (OKPKey.generate_key("Ed25519", parameters={"kid": kid}) for kid in ("two", "three"))
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.serve()
        with gateway_process(
            server.url,
            SCORES_JWKS_FILE="",
            SCORES_JWKS_URL=f"{publisher.base}/keys",
            SCORES_TOKEN_ISSUER="https://login.state.example/",
            SCORES_TOKEN_AUDIENCE="scores",
            SCORES_TOKEN_ALGORITHM="Ed25519",
        ) as gateway:
            assert answer(gateway, KEY) == 200
            publisher.keys = [rotated]
            assert answer(gateway, rotated) == 503  # not yet; and not a no, which would end a stream for good
            wait_until(lambda: answer(gateway, rotated) == 200)
            wait_until(lambda: answer(gateway, forged) == 401)
            wait_until(lambda: answer(gateway, KEY) == 401)
