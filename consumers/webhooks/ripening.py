"""From what is pending to messages, when it is ripe.

At most one undelivered message of a kind for an endpoint and organization: what changes while it waits is pending, and goes
into the message that takes its place at the next attempt (``consumers.webhooks.renewing``). So a system that was away for a
day is told the latest once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from consumers.webhooks.connection import REDIS_AWAY, passes_by
from consumers.webhooks.making import AT_ONCE, PAUSE_SECONDS, Making
from consumers.webhooks.rendering import Job
from consumers.webhooks.rules import NothingToTellBy
from consumers.webhooks.store import Store
from schemas.process.waiting import wait_at_most
from schemas.webhooks.messages import Message

logger = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 1.0


class Ripening:
    """Makes messages of what is ripe, for one reign."""

    def __init__(self, store: Store, making: Making) -> None:
        self._store = store
        self._making = making

    async def run(self) -> None:
        """Make messages of what is ripe, until cancelled; then nobody makes any more.

        Raises:
            ReignEnded: this worker delivers no longer.
        """
        try:
            while True:
                pause_seconds = await self.round()
                if pause_seconds:
                    self._store.ripening.clear()
                    await wait_at_most(self._store.ripening, pause_seconds)
        finally:
            self._making.close()

    async def round(self) -> float:
        """Make messages of what is ripe now; returns for how long nothing is expected to ripen."""
        now_ms = self._store.clock_ms()
        ripe = [
            (endpoint, key)
            for endpoint, key in self._store.pending.ripe(now_ms, AT_ONCE)
            # Those left out are woken when that has changed.
            if self._store.takes_messages(endpoint) and not self._store.due_book.undelivered(endpoint, key)
        ]
        if not ripe:
            next_ms = self._store.pending.next_ripe_ms()
            return _IDLE_SECONDS if next_ms is None else min(max(next_ms - now_ms, 0) / 1000, _IDLE_SECONDS)
        jobs = [
            Job(self._store.endpoints[endpoint], key, self._store.pending.take(endpoint, key))
            for endpoint, key in ripe
        ]
        try:
            made = await self._making.made(jobs, now_ms)
        except (*REDIS_AWAY, NothingToTellBy) as error:
            if not isinstance(error, NothingToTellBy) and not passes_by(error):
                raise
            logger.info("nothing can be told just now error=%s", error)
            for job in jobs:
                self._store.pending.give_back(job.endpoint.id, job.key, job.names)
            await asyncio.sleep(PAUSE_SECONDS)
            return 0
        await asyncio.gather(*(self._keep(job, messages) for job, messages in zip(jobs, made, strict=True)))
        return 0

    async def _keep(self, job: Job, messages: Sequence[Message]) -> None:
        """Write messages, and that what they tell is no longer pending, in one step."""
        # One that is known by its id said the very same before. If it waits it says it still; else it is said again.
        new = [message for message in messages if message.id not in self._store.due_book]
        settled = self._store.settled(job.endpoint.id, job.key, job.names)
        await self._store.write(
            [*(command for one in new for command in self._store.message_written(one)), *settled]
        )
        self._making.remember(new, job.endpoint)
        for message in new:
            self._store.waits(message)
