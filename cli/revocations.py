"""``scores token revoke`` and ``scores token revoked``, through a gateway."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from cli.gateway_client import GatewayClient, detail_of
from schemas.errors import DependencyUnavailable, InvalidInput

_PATH: Final = "/v1/revocations"


class _Revocation(msgspec.Struct, frozen=True):
    kind: str
    value: str
    issuer: str
    at: str
    by: str


class _Listed(msgspec.Struct, frozen=True):
    revocations: tuple[_Revocation, ...]


def revoke(
    url: str,
    token: str,
    *,
    subject: str | None,
    token_id: str | None,
    district: str | None,
    issuer: str | None,
    as_json: bool,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Revoke what is named, and print it.

    Raises:
        InvalidInput: not exactly one thing is named, or the gateway refuses.
        DependencyUnavailable: the gateway is not there, or cannot store it now.
    """
    named = {"subject": subject, "token": token_id, "district": district}
    given = {kind: value for kind, value in named.items() if value}
    if len(given) != 1:
        raise InvalidInput("revoke what? Give exactly one of --subject, --id and --district")
    order = {**given, **({"issuer": issuer} if issuer else {})}
    with _RevocationsClient(url, token, transport) as client:
        done = client.decoded(client.ask("POST", _PATH, json=order), _Revocation)
    if as_json:
        print(msgspec.json.encode(done).decode())
    else:
        print(
            f"revoked at {done.at}: {_named(done)}; open streams are closed, and what was issued before is refused"
        )
    return 0


def show_revoked(url: str, token: str, *, as_json: bool, transport: httpx.BaseTransport | None = None) -> int:
    """Print what is revoked, as far as the token may know.

    Raises:
        InvalidInput: the gateway refuses.
        DependencyUnavailable: the gateway is not there.
    """
    with _RevocationsClient(url, token, transport) as client:
        listed = client.decoded(client.ask("GET", _PATH), _Listed)
    if as_json:
        print(msgspec.json.encode(listed).decode())
        return 0
    for one in listed.revocations:
        print(f"{one.at}  {_named(one)}  by {one.by}")
    if not listed.revocations:
        print("nothing is revoked")
    return 0


def _named(one: _Revocation) -> str:
    return f"{one.kind} {one.value}" + (f" of {one.issuer}" if one.issuer else "")


class _RevocationsClient(GatewayClient):
    def refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        """As everywhere; a refusal names the permission."""
        if response.status_code != HTTPStatus.FORBIDDEN:
            return super().refusal(response)
        return InvalidInput(
            "the token lacks the permission TOKEN_REVOKE: statewide for subjects and tokens, at the district for a "
            f"district; the role PRIVACY_OFFICER carries it. {self._url} answered: {detail_of(response)}"
        )
