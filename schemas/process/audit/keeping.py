"""Everything that keeps the audit while a process runs: one start, one stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

from schemas.errors import DependencyUnavailable
from schemas.process.audit.heads import Heads, HeadStore
from schemas.process.audit.metrics import AuditMetrics
from schemas.process.audit.settings import AuditSettings
from schemas.process.audit.shipping import Shipper
from schemas.process.audit.writer import Audit
from schemas.process.outgoing import EventPublisher

logger = logging.getLogger(__name__)

# What Kafka does not take by then, the next process in this folder ships.
_LAST_SHIPPING_SECONDS: Final = 3.0


class AuditProducer(EventPublisher, Protocol):
    """The audit's own producer: what it has not delivered when it is closed is in the spool."""

    def start(self) -> None:
        """Create it; nothing is connected before something is to be sent.

        Raises:
            DependencyUnavailable: its configuration is refused.
        """

    def close(self, *, abandon: bool) -> object:
        """Stop; blocks, call it off the event loop. With ``abandon`` what still waits is dropped at once."""


class AuditKeeping:
    """Writes, ships and witnesses from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: AuditSettings,
        audit: Audit,
        publisher: AuditProducer,
        redis: HeadStore,
        metrics: AuditMetrics,
        *,
        redis_away: tuple[type[Exception], ...],
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        """``redis_away`` is what the client raises while Redis is not there; ``before_end`` notes what is left to be noted."""
        self._audit = audit
        self._publisher = publisher
        self._before_end = before_end
        self._redis_away = redis_away
        self._shipper = Shipper(settings, audit, publisher, metrics)
        self._heads = Heads(audit, redis, away=redis_away)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin the chain; after this, what is noted is written.

        Raises:
            OSError: the folder cannot be written, so this process must not disclose anything.
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
        self._before_end()
        await asyncio.to_thread(self._audit.close)
        with contextlib.suppress(TimeoutError, DependencyUnavailable, OSError, *self._redis_away):
            async with asyncio.timeout(_LAST_SHIPPING_SECONDS):
                await self._heads.tell()
                if self._shipper.reached:
                    await self._shipper.ship()
        await asyncio.to_thread(self._publisher.close, abandon=True)
        self._audit.release()


def _report_the_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s has stopped; restart this process", task.get_name(), exc_info=task.exception())
