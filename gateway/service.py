"""What the routes of one gateway share."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from gateway.audit.notes import Notes
from gateway.commands import Commands
from gateway.connections import Connections
from gateway.credentials import Credentials
from gateway.following import TablesState
from gateway.hub import Hub
from gateway.images import View
from gateway.metrics import Metrics
from gateway.revocation_log import RevocationLog
from gateway.settings import Settings
from gateway.stream import Stream
from gateway.subscriptions import Subscription
from gateway.tables import Tables
from gateway.tickets import Tickets
from gateway.tokens import Principal
from schemas.access.role_book import RoleBook
from schemas.process.audit.auditor import Auditor, NoAudit

_READY_SECONDS = 1.0
_FAREWELL_SECONDS = 0.5  # for the last ones' frames to leave


@dataclass(slots=True)
class Gateway:
    """One gateway process."""

    settings: Settings
    tables: Tables
    hub: Hub
    credentials: Credentials
    metrics: Metrics
    connections: Connections
    commands: Commands
    revocations: RevocationLog
    tickets: Tickets
    notes: Notes = field(default_factory=lambda: Notes(NoAudit()))
    roles: RoleBook = field(default_factory=lambda: RoleBook(None))
    draining: bool = False
    following: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def audit(self) -> Auditor:
        """Where it is noted who saw, and did, what."""
        return self.notes.audit

    @property
    def node(self) -> str:
        """This process's name among the nodes."""
        return self.commands.node

    def views(self, principal: Principal, subscription: Subscription) -> tuple[View, ...]:
        """How each organization is shown to somebody.

        Raises:
            Forbidden: one of them is not open to them, or does not exist.
            InvalidInput: they are too many.
            TablesAway: which organizations there are is not known yet.
        """
        return subscription.views(principal, self.hub.directory)

    def left(self, stream: Stream) -> None:
        """A stream's connection is over."""
        self.connections.left(stream)
        self.notes.closed(stream)

    async def unready(self) -> list[str]:
        """Why no new work should be sent here; empty when there is no reason."""
        reasons: list[str] = []
        if self.draining:
            reasons.append("the gateway is shutting down")
        if not self.alive():
            reasons.append("the hub has stopped")
        elif self.hub.state is TablesState.WARMING:
            reasons.append("the tables are being filled")
        elif self.hub.state is TablesState.AWAY:
            reasons.append("the tables are not followed")
        reasons += self.credentials.absences()
        if self.audit.failing:
            reasons.append("the audit cannot be written")
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self.tables.ping()
        except (RedisError, OSError):
            reasons.append("Redis does not answer")
        return reasons

    def alive(self) -> bool:
        """Whether the hub's task still runs; when it does not, only a restart helps."""
        return self.following is not None and not self.following.done()

    async def drain(self, window: float | None = None) -> None:
        """Send everybody away over the window, by default as set; returns when they are gone, or when it is over."""
        self.draining = True
        window = self.settings.drain_seconds if window is None else window
        self.hub.drain(window)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(window + _FAREWELL_SECONDS):
                await self.hub.until_empty()


def gateway_of(request: HTTPConnection) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
