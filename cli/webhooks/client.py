"""The webhook endpoints of a gateway, as the commands use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar

import httpx

from cli.gateway_client import GatewayClient, detail_of
from gateway.webhooks.answers import (
    AcceptedOrder,
    IssuedEndpoint,
    MessageWithAttempts,
    ShownEndpoint,
    ShownEndpoints,
    ShownMessage,
    ShownMessages,
)
from gateway.webhooks.endpoint_routes import ENDPOINTS_PATH
from schemas.errors import DependencyUnavailable, InvalidInput

_PAGE: Final = 1_000

T = TypeVar("T")


class WebhooksClient(GatewayClient):
    """One gateway, one token. Every method raises InvalidInput when the gateway refuses, DependencyUnavailable when it is away."""

    def endpoints(self) -> list[ShownEndpoint]:
        """All that the token's holder may see."""
        found: list[ShownEndpoint] = []
        asked: dict[str, str] = {"limit": str(_PAGE)}
        while True:
            page = self._get(ENDPOINTS_PATH, ShownEndpoints, asked)
            found += page.endpoints
            if page.next is None:
                return found
            asked["after"] = page.next

    def create(self, fields: Mapping[str, Any]) -> IssuedEndpoint:
        """Make one; its secrets are shown this once."""
        return self.decoded(self.ask("POST", ENDPOINTS_PATH, json=dict(fields)), IssuedEndpoint)

    def endpoint(self, endpoint: str) -> ShownEndpoint:
        """One of them."""
        return self._get(_path(endpoint), ShownEndpoint)

    def change(self, endpoint: str, fields: Mapping[str, Any]) -> ShownEndpoint:
        """Change what is named."""
        return self.decoded(self.ask("PATCH", _path(endpoint), json=dict(fields)), ShownEndpoint)

    def delete(self, endpoint: str) -> None:
        """Delete it."""
        self.ask("DELETE", _path(endpoint))

    def rotate(self, endpoint: str, *, signing: Sequence[str], at_once: bool) -> IssuedEndpoint:
        """New secrets for it."""
        body = {"at_once": at_once, **({"signing": list(signing)} if signing else {})}
        return self.decoded(self.ask("POST", _path(endpoint, "rotate-secret"), json=body), IssuedEndpoint)

    def pause(self, endpoint: str, *, paused: bool) -> ShownEndpoint:
        """Pause or resume it."""
        word = "pause" if paused else "resume"
        return self.decoded(self.ask("POST", _path(endpoint, word)), ShownEndpoint)

    def order(
        self,
        endpoint: str,
        what: Literal["ping", "enable", "recover", "dead/retry"],
        *,
        since_ms: int | None = None,
    ) -> AcceptedOrder:
        """Ask something of the delivering worker."""
        body = None if since_ms is None else {"since": since_ms}
        return self.decoded(self.ask("POST", _path(endpoint, what), json=body), AcceptedOrder)

    def replay(self, endpoint: str, message: str) -> AcceptedOrder:
        """Send a message again."""
        path = _path(endpoint, "messages", _plain(message), "replay")
        return self.decoded(self.ask("POST", path), AcceptedOrder)

    def messages(
        self, endpoint: str, *, dead: bool, states: Sequence[str], since_ms: int | None, limit: int
    ) -> list[ShownMessage]:
        """Its messages, the latest first."""
        found: list[ShownMessage] = []
        asked: dict[str, Any] = {"limit": str(min(limit, _PAGE)), "state": list(states)}
        if since_ms is not None:
            asked["since"] = str(since_ms)
        while len(found) < limit:
            page = self._get(_path(endpoint, "dead" if dead else "messages"), ShownMessages, asked)
            found += page.messages
            if page.next is None:
                break
            asked["after"] = page.next
        return found[:limit]

    def message(self, endpoint: str, message: str) -> MessageWithAttempts:
        """One message with its attempts."""
        return self._get(_path(endpoint, "messages", _plain(message)), MessageWithAttempts)

    def refusal(self, response: httpx.Response) -> InvalidInput | DependencyUnavailable:
        """As everywhere; a deployment without webhooks says so."""
        said = detail_of(response)
        if response.status_code == HTTPStatus.NOT_FOUND and "openapi.json" in said:
            return InvalidInput(f"{self._url} has no webhooks: its SCORES_WEBHOOK_KEY is not set")
        return super().refusal(response)

    def _get(self, path: str, kind: type[T], asked: Mapping[str, Any] | None = None) -> T:
        return self.decoded(self.ask("GET", path, params=httpx.QueryParams(dict(asked or {}))), kind)


def _path(endpoint: str, *parts: str) -> str:
    return "/".join([ENDPOINTS_PATH, _plain(endpoint), *parts])


def _plain(name: str) -> str:
    """An id that was typed.

    Raises:
        InvalidInput: it would be another address.
    """
    if not name.isascii() or not name.replace("_", "").isalnum():
        raise InvalidInput(f"'{name[:40]}' is no id; `scores webhooks list` shows the endpoints' (ep_...)")
    return name
