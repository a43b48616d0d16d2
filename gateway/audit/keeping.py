"""Everything that keeps the audit while a gateway runs: one start, one stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from gateway.audit.heads import Heads
from gateway.audit.notes import Notes
from gateway.audit.settings import AuditSettings
from gateway.audit.shipping import Shipper
from gateway.audit.writer import Audit
from gateway.kafka import KafkaPublisher
from gateway.metrics import Metrics
from gateway.redis_connection import REDIS_AWAY, RedisClient
from schemas.errors import DependencyUnavailable

logger = logging.getLogger(__name__)

# What Kafka does not take by then, the next process in this folder ships.
_LAST_SHIPPING_SECONDS: Final = 3.0


class AuditKeeping:
    """Writes, ships and witnesses from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: AuditSettings,
        audit: Audit,
        notes: Notes,
        publisher: KafkaPublisher,
        redis: RedisClient,
        metrics: Metrics,
    ) -> None:
        """``publisher`` is the audit's own: what it has not delivered when it is closed is in the spool."""
        self._audit = audit
        self._publisher = publisher
        self._notes = notes
        self._shipper = Shipper(settings, audit, publisher, metrics)
        self._heads = Heads(audit, redis)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin the chain; after this, what is noted is written.

        Raises:
            OSError: the folder cannot be written, so this gateway must not serve.
        """
        await asyncio.to_thread(self._audit.start)
        self._publisher.start()
        self._tasks = [
            asyncio.create_task(self._shipper.run(), name="shipping the audit"),
            asyncio.create_task(self._heads.run(), name="telling the audit's head"),
        ]
        for task in self._tasks:
            task.add_done_callback(_report_the_end)

    async def stop(self) -> None:
        """End the chain, and ship it if Kafka takes it now."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._notes.refusals.tell()
        await asyncio.to_thread(self._audit.close)
        with contextlib.suppress(TimeoutError, DependencyUnavailable, OSError, *REDIS_AWAY):
            async with asyncio.timeout(_LAST_SHIPPING_SECONDS):
                await self._heads.tell()
                if self._shipper.reached:
                    await self._shipper.ship()
        await asyncio.to_thread(self._publisher.close, abandon=True)
        self._audit.release()


def _report_the_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s has stopped; restart this process", task.get_name(), exc_info=task.exception())
