"""One worker process: it stands by until it may deliver, and delivers until its reign is over; then it stands by again.

Nothing is carried over from one reign to the next. Whatever ends a reign, a Redis that came back without its last writes, a
worker that took over while this one slept, or topics that are other ones now, the next begins with what Redis has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random
from typing import Final

from consumers.webhooks.attempt_headers import Signer
from consumers.webhooks.attempting import Sends
from consumers.webhooks.cells import CellReader
from consumers.webhooks.connection import REDIS_AWAY, RedisClient, passes_by
from consumers.webhooks.delivering import Delivery
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.disclosures import Disclosures
from consumers.webhooks.intake import Intake
from consumers.webhooks.making import Making
from consumers.webhooks.metrics import WorkerMetrics
from consumers.webhooks.order_book import OrderBook
from consumers.webhooks.outbox import Outbox, ReignEnded
from consumers.webhooks.reign import Reign, Throne
from consumers.webhooks.rendering import Rendering
from consumers.webhooks.renewing import Renewing
from consumers.webhooks.ripening import Ripening
from consumers.webhooks.rules import Rules
from consumers.webhooks.settings import Settings
from consumers.webhooks.store import Store
from consumers.webhooks.stored_outbox import StoredOutbox
from consumers.webhooks.tidying import Tidying
from consumers.webhooks.topic_feed import TopicFeed
from schemas.access.permissions import VisibilityClass
from schemas.access.role_book import RoleBook
from schemas.assessments import Registry
from schemas.errors import DependencyUnavailable
from schemas.identifiers import OrganizationId
from schemas.process.audit.auditor import Auditor
from schemas.webhooks.endpoints import Endpoint
from schemas.webhooks.ids import confirmation_token

logger = logging.getLogger(__name__)

_COUNT_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.3


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Worker:
    """Everything of one process."""

    def __init__(
        self,
        settings: Settings,
        redis: RedisClient,
        holder: str,
        sender: Sends,
        signer: Signer,
        roles: RoleBook,
        registry: Registry,
        metrics: WorkerMetrics,
        delivery_metrics: DeliveryMetrics,
        audit: Auditor,
        *,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._throne = Throne(redis, holder, lease_seconds=settings.lease_seconds)
        self._sender = sender
        self._signer = signer
        self._roles = roles
        self._registry = registry
        self._metrics = metrics
        self._delivery_metrics = delivery_metrics
        self._clock_ms = clock_ms
        # Rules outlive a reign: they are read anew whenever they are asked for.
        self._rules = Rules(redis, roles, registry.at, unlisted=settings.unlisted_release_state)
        self._disclosures = Disclosures(audit, self._visibility)

    async def run(self) -> None:
        """Stand by and deliver, until cancelled."""
        try:
            while True:
                reign = await self._throne.claim()
                self._metrics.active.set(1)
                self._metrics.reigns.inc()
                try:
                    await self._deliver(reign)
                except* ReignEnded as group:
                    logger.warning("stopped delivering: %s", _first(group))
                except* DependencyUnavailable as group:
                    logger.warning("stopped delivering: %s", _first(group))
                except* REDIS_AWAY as group:
                    if not passes_by(_first(group)):
                        raise
                    logger.warning("stopped delivering, redis is away error=%r", _first(group))
                finally:
                    self._metrics.active.set(0)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._disclosures.hand_over()
            await self._throne.give_up()

    async def _deliver(self, reign: Reign) -> None:
        async with asyncio.TaskGroup() as group:
            # First, because taking up what Redis has may write already.
            group.create_task(reign.run(), name="writing")
            store = Store(self._redis, reign, self._clock_ms)
            await store.load()
            cells = CellReader(self._redis, self._rules, self._registry.at)
            rendering = Rendering(self._rules, cells, self._registry, public_url=self._settings.public_url)
            making = Making(store, self._rules, rendering)
            feed = TopicFeed(self._settings.kafka, self._settings.group)
            intake = Intake(store, feed, self._rules, self._metrics)
            delivery = self._delivery(StoredOutbox(store, Renewing(store, making)))

            async def endpoints_changed(changed: set[str]) -> None:
                intake.endpoints_changed()
                for endpoint in sorted(changed):
                    await delivery.endpoint_changed(endpoint)

            # Those that were made while nobody delivered.
            for endpoint in list(store.endpoints):
                await delivery.endpoint_changed(endpoint)
            orders = OrderBook(store, delivery.carry_out, endpoints_changed)
            group.create_task(delivery.run(), name="delivering")
            group.create_task(Ripening(store, making).run(), name="ripening")
            group.create_task(intake.run(), name="taking in")
            group.create_task(self._carry_out(orders), name="carrying out orders")
            group.create_task(Tidying(store).run(), name="tidying up")
            group.create_task(self._count(store), name="counting")

    def _delivery(self, outbox: Outbox) -> Delivery:
        key = self._settings.deployment.key
        assert key is not None

        def confirmation(endpoint: Endpoint) -> str:
            return confirmation_token(key, endpoint.id, endpoint.url)

        return Delivery(
            outbox,
            self._sender,
            self._signer,
            self._settings.delivery,
            self._delivery_metrics,
            self._disclosures,
            confirmation=confirmation,
            base_url=self._settings.public_url,
            allow_private=self._settings.deployment.allow_private,
            clock_ms=self._clock_ms,
            rng=Random(),
        )

    def _visibility(self, endpoint: Endpoint, organization: OrganizationId) -> VisibilityClass | None:
        return self._rules.rights(endpoint).visibility(organization)

    async def _carry_out(self, orders: OrderBook) -> None:
        while True:
            try:
                await orders.run()
            except REDIS_AWAY as error:
                if not passes_by(error):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _count(self, store: Store) -> None:
        while True:
            self._metrics.pending.set(len(store.pending))
            self._metrics.queue_depth.set(len(store.due_book))
            counts = dict.fromkeys(("active", "unconfirmed", "paused", "disabled"), 0)
            for name, endpoint in store.endpoints.items():
                state = store.state(name)
                if state.disabled is not None:
                    counts["disabled"] += 1
                elif endpoint.paused:
                    counts["paused"] += 1
                else:
                    counts["active" if store.takes_messages(name) else "unconfirmed"] += 1
            for word, count in counts.items():
                self._metrics.endpoints.labels(word).set(count)
            await asyncio.sleep(_COUNT_SECONDS)


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
