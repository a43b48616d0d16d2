"""The outermost layer: headers that every answer carries, and the access log, which never has a query string."""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("gateway.access")

# The server's own ``send``, for what sends many messages and needs no wrapper's work after the first.
DIRECT_SEND: Final = "scores.send"

_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 200
        started = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        scope.setdefault("extensions", {})[DIRECT_SEND] = send
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            if self._access_log:
                logger.info(
                    "request method=%s path=%s status=%d seconds=%.3f",
                    scope["method"],
                    scope["path"].encode("unicode_escape").decode()[:200],
                    status,
                    time.monotonic() - started,
                )
