"""Makes messages of jobs, by rules that are read anew: many jobs at once, for whoever asks while others do.

What waits on Redis, or on tables that are being built, waits here: those who ask ``patiently`` get their answer when there is
one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from consumers.webhooks.connection import REDIS_AWAY, passes_by
from consumers.webhooks.rendering import Job, Rendering
from consumers.webhooks.rules import NothingToTellBy, Rules
from consumers.webhooks.store import Store
from schemas.webhooks.endpoints import Endpoint
from schemas.webhooks.messages import Message

AT_ONCE: Final = 300  # jobs, which are read for together
PAUSE_SECONDS: Final = 0.5  # while there are no tables to tell by

# Messages that wait in a long queue are judged by rules that were read so short a time ago.
_RECENT_SECONDS: Final = 0.2
_REMEMBERED_AT_MOST: Final = 200_000


class Ground(NamedTuple):
    """What a message was made by: the state of the rules, and its endpoint's revision."""

    rules: int
    revision: int


class Making:
    """Makes messages for one reign."""

    def __init__(self, store: Store, rules: Rules, rendering: Rendering) -> None:
        self._store = store
        self._rules = rules
        self._rendering = rendering
        self._asked: list[tuple[Job, asyncio.Future[list[Message]]]] = []
        self._making: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[Rules] | None = None
        self._refreshed_at = -_RECENT_SECONDS
        self._grounds: dict[str, Ground] = {}  # of messages that were not attempted yet

    def close(self) -> None:
        """The reign is over: what is under way is given up."""
        for task in (self._making, self._refreshing):
            if task is not None:
                task.cancel()

    async def made(self, jobs: Sequence[Job], now_ms: int) -> list[list[Message]]:
        """The messages of each job, by the rules of now.

        Raises:
            NothingToTellBy: there are no tables to tell by.
            RedisError, OSError: Redis is away.
        """
        await self._rules.refresh()
        return await self._rendered(jobs, now_ms)

    async def made_patiently(self, job: Job) -> list[Message]:
        """The messages of a job, made together with those that others ask for meanwhile."""
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._asked.append((job, future))
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make_asked(), name="making messages anew")
        return await future

    async def refreshed_patiently(self) -> Rules:
        """The rules of now."""
        while True:
            try:
                began = time.monotonic()
                await self._rules.refresh()
                self._refreshed_at = began
                return self._rules
            except (*REDIS_AWAY, NothingToTellBy) as error:
                if not isinstance(error, NothingToTellBy) and not passes_by(error):
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def ground(self, endpoint: Endpoint) -> Ground:
        """What a message to an endpoint would be made by, after rules that were read lately; once for all who ask."""
        if time.monotonic() - self._refreshed_at >= _RECENT_SECONDS:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self.refreshed_patiently(), name="reading the rules")
            await asyncio.shield(self._refreshing)
        return Ground(self._rules.stamp, endpoint.revision)

    def remember(self, messages: Iterable[Message], endpoint: Endpoint) -> None:
        """These new messages to an endpoint were made by what holds now."""
        if len(self._grounds) > _REMEMBERED_AT_MOST:
            self._grounds.clear()  # they are only made anew
        for message in messages:
            self._grounds[message.id] = Ground(self._rules.stamp, endpoint.revision)

    def recall(self, message: str) -> Ground | None:
        """What a message was made by, if that is known still; it is asked for once."""
        return self._grounds.pop(message, None)

    async def _rendered(self, jobs: Sequence[Job], now_ms: int) -> list[list[Message]]:
        seen = await self._rendering.read(jobs)
        told = await self._store.messages.told(
            [(job.endpoint.id, self._rendering.candidates(job, seen)) for job in jobs]
        )
        return [self._rendering.messages(job, seen, its, now_ms) for job, its in zip(jobs, told, strict=True)]

    async def _make_asked(self) -> None:
        while self._asked:
            asked, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
            try:
                made = await self._patiently_rendered([job for job, _ in asked])
            except Exception as error:  # noqa: BLE001 (whoever asked gets it, and raises it)
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), messages in zip(asked, made, strict=True):
                if not future.done():
                    future.set_result(messages)

    async def _patiently_rendered(self, jobs: Sequence[Job]) -> list[list[Message]]:
        while True:
            await self.refreshed_patiently()
            try:
                return await self._rendered(jobs, self._store.clock_ms())
            except REDIS_AWAY as error:
                if not passes_by(error):
                    raise
            await asyncio.sleep(PAUSE_SECONDS)
