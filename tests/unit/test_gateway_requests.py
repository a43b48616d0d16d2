"""What the gateway makes of a request's words: topics, filters, settings, and its answers to faults."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.exceptions import HTTPException

from gateway.problems import problem_response
from gateway.server import listening_socket
from gateway.settings import Settings
from gateway.tokens import TokenRefused
from schemas.access.permissions import Forbidden
from schemas.errors import DependencyUnavailable, InvalidInput


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TokenRefused("missing", "Send a token."), HTTPStatus.UNAUTHORIZED),
        (TokenRefused("expired", "It has expired."), HTTPStatus.UNAUTHORIZED),
        (Forbidden(), HTTPStatus.FORBIDDEN),
        (InvalidInput("year is 'x'; expected a year"), HTTPStatus.BAD_REQUEST),
        (DependencyUnavailable("redis://secret@10.0.0.1 is away"), HTTPStatus.SERVICE_UNAVAILABLE),
        (RedisConnectionError("10.0.0.1 refused"), HTTPStatus.SERVICE_UNAVAILABLE),
        (HTTPException(404), HTTPStatus.NOT_FOUND),
        (HTTPException(405, headers={"Allow": "GET"}), HTTPStatus.METHOD_NOT_ALLOWED),
        (KeyError("an internal name"), HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
def test_every_fault_is_answered_as_a_problem_that_tells_nothing_internal(
    error: Exception, status: HTTPStatus
) -> None:
    answer = problem_response(error)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(bytes(answer.body))
    assert body["status"] == status and body["title"] == status.phrase and body["detail"].endswith(".")
    assert "10.0.0.1" not in body["detail"] and "internal name" not in body["detail"]


def test_answers_say_what_to_do_next() -> None:
    assert problem_response(TokenRefused("missing", "x")).headers["www-authenticate"] == "Bearer"
    assert (
        'error="invalid_token"' in problem_response(TokenRefused("expired", "x")).headers["www-authenticate"]
    )
    assert problem_response(DependencyUnavailable("x")).headers["retry-after"] == "5"
    assert problem_response(HTTPException(405, headers={"Allow": "GET"})).headers["allow"] == "GET"


def test_settings_have_defaults_for_trying_out(tmp_path: Path) -> None:
    told = {
        "SCORES_JWKS_FILE": str(tmp_path / "jwks.json"),
        "SCORES_STUDENT_KEY_SECRET": "a secret of the tests",
    }
    settings = Settings.from_env(told)
    assert (settings.environment, settings.port, settings.host) == ("development", 8080, "127.0.0.1")
    assert settings.streams.max_age_seconds == 600
    assert (settings.subscriptions.topics, settings.subscriptions.organizations) == (500, 2_000)
    limits = settings.connections
    assert (limits.per_subject, limits.per_address, limits.per_node) == (50, 2_000, 20_000)


def test_wrong_settings_are_reported_all_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.from_env(
            {
                "SCORES_ENVIRONMENT": "production",
                "SCORES_GATEWAY_PORT": "eighty",
                "SCORES_REDIS_URL": "localhost",
                "SCORES_TOKEN_ALGORITHM": "HS256",
            }
        )
    told = str(caught.value)
    for name in (
        "GATEWAY_PORT",
        "REDIS_URL",
        "TOKEN_ALGORITHM",
        "JWKS_FILE",
        "TOKEN_ISSUER",
        "TOKEN_AUDIENCE",
    ):
        assert f"SCORES_{name}" in told


def test_a_host_that_is_none_is_named_with_its_setting() -> None:
    with pytest.raises(InvalidInput, match="SCORES_GATEWAY_HOST"):
        listening_socket("not an address", 8080)
