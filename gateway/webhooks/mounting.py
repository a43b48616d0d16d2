"""The webhooks' part of a gateway, put together; a deployment without SCORES_WEBHOOK_KEY has none."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from gateway.redis_connection import RedisClient
from gateway.revocations import RevocationList
from gateway.webhooks.endpoint_routes import endpoint_routes
from gateway.webhooks.finding import EndpointFinder
from gateway.webhooks.keeping import EndpointKeeper
from gateway.webhooks.message_routes import message_routes
from gateway.webhooks.revoked import RevokedEndpoints
from gateway.webhooks.settings import WebhookSettings
from gateway.webhooks.store import EndpointStore
from schemas.access.roles import Roles
from schemas.process.audit.auditor import Auditor


class Webhooks:
    """Routes, and what runs beside them."""

    def __init__(
        self,
        settings: WebhookSettings,
        redis: RedisClient,
        revocations: RevocationList,
        roles: Callable[[], Roles],
        audit: Auditor,
    ) -> None:
        self._revoked: RevokedEndpoints | None = None
        self.routes: list[Route] = []
        if settings.deployment.key is None:
            return
        store = EndpointStore(redis)
        finder, keeper = EndpointFinder(store), EndpointKeeper(store, settings, settings.deployment.key)
        self._revoked = RevokedEndpoints(store, revocations, roles, audit)
        self.routes = [*endpoint_routes(finder, keeper, self._revoked.look), *message_routes(finder, keeper)]

    def look_at_revoked(self) -> None:
        """Something was revoked."""
        if self._revoked is not None:
            self._revoked.look()

    async def run(self) -> None:
        """Take revoked rights from endpoints, until cancelled; at once over where there are no webhooks."""
        if self._revoked is not None:
            await self._revoked.run()
