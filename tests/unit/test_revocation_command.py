"""``scores token revoke``: what is sent, what is said, and which permission a refusal names."""

from __future__ import annotations

import json

import httpx
import pytest

from cli.revocations import revoke, show_revoked
from schemas.errors import DependencyUnavailable, InvalidInput

DONE = {
    "kind": "subject",
    "value": "ana",
    "issuer": "",
    "at": "2026-05-04T12:00:00.000Z",
    "by": "officer",
}


class Gateway:
    """Answers one request, and keeps it."""

    def __init__(self, status: int, body: object) -> None:
        self.asked: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)
        self._answer_with = (status, body)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status, body = self._answer_with
        return httpx.Response(status, json=body)


def told(gateway: Gateway, as_json: bool = False, **named: str) -> int:
    orders = {"subject": None, "token_id": None, "district": None, "issuer": None, **named}
    return revoke("http://gateway", "a-token", **orders, as_json=as_json, transport=gateway.transport)


def test_a_subject_is_revoked_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Gateway(201, DONE)
    assert told(gateway, subject="ana", issuer="https://login.example/") == 0
    [asked] = gateway.asked
    assert (asked.method, asked.url.path) == ("POST", "/v1/revocations")
    assert json.loads(asked.content) == {"subject": "ana", "issuer": "https://login.example/"}
    assert "revoked at 2026-05-04T12:00:00.000Z: subject ana" in capsys.readouterr().out
    assert told(gateway, as_json=True, token_id="t1") == 0
    assert json.loads(capsys.readouterr().out) == DONE
    assert json.loads(gateway.asked[-1].content) == {"token": "t1"}


@pytest.mark.parametrize("named", [{}, {"subject": "a", "district": "b"}])
def test_nothing_is_sent_before_it_is_clear_what_to_revoke(named: dict[str, str]) -> None:
    gateway = Gateway(201, DONE)
    with pytest.raises(InvalidInput, match="exactly one"):
        told(gateway, **named)
    assert not gateway.asked


def test_a_refusal_names_the_permission_that_is_missing() -> None:
    with pytest.raises(InvalidInput, match="TOKEN_REVOKE"):
        told(Gateway(403, {"detail": "no"}), subject="ana")
    with pytest.raises(InvalidInput, match="token is refused"):
        told(Gateway(401, {"detail": "no"}), subject="ana")
    with pytest.raises(DependencyUnavailable, match="again"):
        told(Gateway(503, {"detail": "no"}), subject="ana")
    with pytest.raises(InvalidInput, match="a district's code"):
        told(Gateway(400, {"detail": "a district's code ends with seven zeros"}), district="1")


def test_what_is_revoked_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Gateway(200, {"revocations": [DONE]})
    assert show_revoked("http://gateway", "t", as_json=False, transport=gateway.transport) == 0
    assert capsys.readouterr().out == "2026-05-04T12:00:00.000Z  subject ana  by officer\n"
    empty = Gateway(200, {"revocations": []})
    show_revoked("http://gateway", "t", as_json=False, transport=empty.transport)
    assert capsys.readouterr().out == "nothing is revoked\n"
