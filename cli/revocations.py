"""``scores token revoke`` and ``scores token revoked``, through a gateway."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
import msgspec

from cli.gateway_client import detail_of, gateway_client
from schemas.errors import DependencyUnavailable, InvalidInput

_PATH: Final = "/v1/revocations"
Kind = TypeVar("Kind")


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
    answer = _asked(url, token, "POST", order, transport)
    done = _decoded(answer, _Revocation)
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
    listed = _decoded(_asked(url, token, "GET", None, transport), _Listed)
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


def _asked(
    url: str, token: str, method: str, order: Any, transport: httpx.BaseTransport | None
) -> httpx.Response:
    with gateway_client(url, token, transport) as client:
        try:
            answer = client.request(method, _PATH, json=order)
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"no gateway answers at {url} ({error}); start one with `scores up`, or name it with --gateway"
            ) from None
    if answer.is_success:
        return answer
    said = f"{url} answered {answer.status_code}: {detail_of(answer)}"
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise InvalidInput(f"the token is refused; get a new one (SCORES_TOKEN). {said}")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise InvalidInput(
            "the token lacks the permission TOKEN_REVOKE: statewide for subjects and tokens, at the district for a "
            f"district; the role PRIVACY_OFFICER carries it. {said}"
        )
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DependencyUnavailable(
            f"the gateway cannot do that just now; run the same command again. {said}"
        )
    raise InvalidInput(said)


def _decoded(answer: httpx.Response, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the answer is not a gateway's ({error}); check --gateway") from None
