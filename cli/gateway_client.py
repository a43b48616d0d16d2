"""A client of one gateway with one token, and its refusals as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
import msgspec

from schemas.errors import DependencyUnavailable, InvalidInput

T = TypeVar("T")

TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)


def gateway_client(url: str, token: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client that sends the token; nothing is sent yet.

    Raises:
        InvalidInput: this cannot be the address of a gateway, or a token.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"the gateway's address is '{url}'; expected http://HOST:PORT or https://HOST")
    if not token.isascii() or not token.isprintable() or not token:
        raise InvalidInput("the token is empty or has characters that no token has; copy it again")
    try:
        return httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            transport=transport,
        )
    except httpx.InvalidURL as error:
        raise InvalidInput(f"the gateway's address '{url}' is not one: {error}") from None


def detail_of(response: httpx.Response) -> str:
    """What a refusal says of its reason."""
    try:
        detail = msgspec.json.decode(response.content)["detail"]
    except (msgspec.DecodeError, KeyError, TypeError):
        detail = response.reason_phrase
    return str(detail)[:300]


class GatewayClient:
    """One gateway, one token; a part of the API derives its own client and says what only its refusals mean."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        """Nothing is sent yet.

        Raises:
            InvalidInput: this cannot be the address of a gateway, or a token.
        """
        self._client = gateway_client(url, token, transport)
        self._url = url.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: httpx.QueryParams | None = None,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to one request.

        Raises:
            InvalidInput: the gateway refuses; the message says why.
            DependencyUnavailable: no gateway answers, or it cannot answer now.
        """
        try:
            response = self._client.request(
                method, path, params=params, json=json, content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"no gateway answers at {self._url} ({error}); start one with `scores up`, or name it with --gateway"
            ) from None
        if response.is_success:
            return response
        raise self.refusal(response)

    def refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        """What an answer that is no success comes to."""
        said = detail_of(response)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            return InvalidInput(f"the token is refused; get a new one (--token or SCORES_TOKEN): {said}")
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return DependencyUnavailable(
                f"{self._url} answered {response.status_code}: {said} Run the same command again"
            )
        return InvalidInput(said)

    def decoded(self, response: httpx.Response, kind: type[T]) -> T:
        """An answer's body.

        Raises:
            InvalidInput: it is not what a gateway sends.
        """
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"the answer of {self._url} is not a gateway's ({error}); check --gateway"
            ) from None
