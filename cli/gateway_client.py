"""A client of one gateway with one token, and its refusals as sentences."""

from __future__ import annotations

from typing import Final

import httpx
import msgspec

from schemas.errors import InvalidInput

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
