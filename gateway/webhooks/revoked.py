"""What becomes of webhook endpoints when tokens are revoked: nothing is delivered in the name of revoked rights any more.

Guarantee: *every revocation, once known, reaches every endpoint made before it*, whether Redis was there when it came or not: what
could not be stored is tried until it is. Every gateway does it; the first to store it notes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.revocations import RevocationList
from gateway.tokens import Principal
from gateway.topics import Topic
from gateway.webhooks.store import EndpointStore
from gateway.webhooks.wanted import altered
from schemas.access.roles import Roles
from schemas.audit import AuditEvent, AuditKind, shortened, shortened_all
from schemas.errors import DependencyUnavailable
from schemas.process.audit.auditor import Auditor
from schemas.webhooks.endpoints import Endpoint
from schemas.webhooks.messages import Order

logger = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 2.0
_AT_ONCE: Final = 200  # endpoints before others get a turn; a few milliseconds


class RevokedEndpoints:
    """Takes the rights of endpoints whose owners' tokens have been revoked."""

    def __init__(
        self,
        store: EndpointStore,
        revocations: RevocationList,
        roles: Callable[[], Roles],
        audit: Auditor,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        self._store = store
        self._revocations = revocations
        self._roles = roles
        self._audit = audit
        self._clock_ms = clock_ms
        self._again_seconds = again_seconds
        self._look = asyncio.Event()

    def look(self) -> None:
        """Something was revoked, or an endpoint got rights while that may have been under way."""
        self._look.set()

    async def run(self) -> None:
        """Look whenever there is a reason, until cancelled."""
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await self.revoke()
            except DependencyUnavailable as error:
                logger.warning("webhook endpoints of revoked tokens cannot be looked at error=%s", error)
                self._look.set()
                await asyncio.sleep(self._again_seconds)

    async def revoke(self) -> int:
        """Revoke what is to be; how many that were.

        Raises:
            DependencyUnavailable: not all could be looked at, or stored.
        """
        if not len(self._revocations):
            return 0
        known = await self._store.all()
        revoked = 0
        for number, endpoint in enumerate(known.endpoints.values(), 1):
            if self._is_revoked(endpoint) and await self._revoke(endpoint):
                revoked += 1
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return revoked

    async def _revoke(self, endpoint: Endpoint) -> bool:
        def made(found: Endpoint) -> tuple[Endpoint, Order]:
            if not self._is_revoked(found):
                raise _Otherwise  # another gateway was first, or its owner enabled it with a fresh token
            now_ms = self._clock_ms()
            return altered(found, now_ms, revoked_ms=now_ms), Order(kind="changed", endpoint=found.id)

        try:
            stored = await self._store.change(endpoint.id, made)
        except _Otherwise:
            return False
        if stored is None:
            return False
        logger.info("a webhook endpoint is revoked with its owner's token endpoint=%s", endpoint.id)
        self._audit.note(
            AuditEvent(
                kind=AuditKind.WEBHOOK_REVOKED,
                subject=shortened(endpoint.subject),
                token_id=shortened(endpoint.token_id),
                issuer=shortened(endpoint.issuer),
                organizations=shortened_all(str(Topic(one.organization)) for one in endpoint.follows),
                outcome=endpoint.id,
            )
        )
        return True

    def _is_revoked(self, endpoint: Endpoint) -> bool:
        return endpoint.revoked_ms is None and self._revocations.refuses(_owner(endpoint, self._roles()))


class _Otherwise(Exception):
    """The endpoint is not as it was when it was looked at."""


def _owner(endpoint: Endpoint, roles: Roles) -> Principal:
    """Whose rights an endpoint has, as if their token asked."""
    issued = datetime.fromtimestamp(endpoint.issued_ms / 1000, UTC)
    return Principal(
        subject=endpoint.subject,
        grants=endpoint.grants,
        expires=datetime.max.replace(tzinfo=UTC),
        token_id=endpoint.token_id,
        rights=roles.rights(endpoint.grants),
        issuer=endpoint.issuer,
        issued=issued,
    )
