"""From what is pending to messages, when it is ripe; and messages made anew right before they are sent.

At most one undelivered message of a kind for an endpoint and organization: what changes while it waits is pending, and goes
into the message that takes its place at the next attempt. So a system that was away for a day is told the latest once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from consumers.webhooks.connection import REDIS_AWAY, passes_by
from consumers.webhooks.pending import PendingKey, cells_since, gone_cell
from consumers.webhooks.reign import Command
from consumers.webhooks.rendering import GONE, Job, Rendering, release_name
from consumers.webhooks.rules import NothingToTellBy, Rules
from consumers.webhooks.store import Store, key_of
from schemas.identifiers import OrganizationId
from schemas.releases import ReleaseKey, Report
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Message, MessageState, Told

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 300
_IDLE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.5  # while there are no tables to tell by
# A message that was made so short a time ago, and not attempted yet, was judged by what holds now.
_FRESH_MS: Final = 1_000
# Messages that wait in a long queue are judged by rules that were read so short a time ago.
_RECENT_SECONDS: Final = 0.2
_REMEMBERED_AT_MOST: Final = 200_000
_FIGURES: Final = b'"figures":'


class Ripening:
    """Makes messages."""

    def __init__(self, store: Store, rules: Rules, rendering: Rendering) -> None:
        self._store = store
        self._rules = rules
        self._rendering = rendering
        self._asked: list[tuple[Job, asyncio.Future[list[Message]]]] = []
        self._making: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = -_RECENT_SECONDS
        # Under which rules a message was made that was not attempted yet, and for which revision of its endpoint.
        self._made_under: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Make messages of what is ripe, until cancelled.

        Raises:
            ReignEnded: this worker delivers no longer.
        """
        try:
            while True:
                pause_seconds = await self.round()
                if pause_seconds:
                    self._store.ripening.clear()
                    await self._wait(pause_seconds)
        finally:
            for task in (self._making, self._refreshing):
                if task is not None:
                    task.cancel()

    async def round(self) -> float:
        """Make messages of what is ripe now; returns for how long nothing is expected to ripen."""
        now_ms = self._store.clock_ms()
        ripe = [
            (endpoint, key)
            for endpoint, key in self._store.pending.ripe(now_ms, _AT_ONCE)
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
            await self._rules.refresh()
            made = await self._made(jobs, now_ms)
        except (*REDIS_AWAY, NothingToTellBy) as error:
            if not isinstance(error, NothingToTellBy) and not passes_by(error):
                raise
            logger.info("nothing can be told just now error=%s", error)
            for job in jobs:
                self._store.pending.give_back(job.endpoint.id, job.key, job.names)
            await asyncio.sleep(_PAUSE_SECONDS)
            return 0
        await asyncio.gather(*(self._keep(job, messages) for job, messages in zip(jobs, made, strict=True)))
        return 0

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """What is to be sent instead of a message that is about to be attempted; see ``Outbox.rendered_again``."""
        key, endpoint = key_of(message), self._store.endpoints.get(message.endpoint)
        if key is None:
            return message
        if endpoint is None:
            return None
        made_under = self._made_under.pop(message.id, None)
        if not message.attempted and not message.attempts:
            if now_ms - message.created_ms < _FRESH_MS:
                return message
            await self._recently_refreshed()
            if made_under == (self._rules.stamp, endpoint.revision) and not self._store.pending.any(
                endpoint.id, key
            ):
                return message
        prefix = f"{key.organization}/"
        again = frozenset(
            _name_of(key, field.removeprefix(prefix), told) for field, told in message.tells.items()
        )
        job = Job(endpoint, key, self._store.pending.take(endpoint.id, key), again)
        made = await self._made_together(job)
        if message.replayed and _FIGURES not in message.body and _told_in(made) >= message.tells.keys():
            # Asked for as it was: it names cells and versions, all of which its owner may see.
            self._store.pending.give_back(endpoint.id, key, job.names)
            return message
        if any(one.id == message.id for one in made):
            return await self._still(message, job, made)
        successors = [self._successor(one, message) for one in made]
        outcome = MessageState.SUPERSEDED if successors else MessageState.WITHHELD
        detail = "" if successors else "its owner may not see any more what it says"
        await self._store.write(
            [
                *self._store.finished(message, None, outcome, detail, now_ms),
                *(command for one in successors for command in self._store.message_written(one)),
                *self._settled(job),
            ]
        )
        for one in successors:
            self._store.waits(one)
        if successors:
            self._store.due_book.mark_taken(successors[0].id)
        self._store.forget_message(message.id)
        return successors[0] if successors else None

    async def tell_all(self, endpoint: str, since_ms: int) -> None:
        """Make every cell that changed since then pending for an endpoint; see ``Outbox.tell_all``."""
        known = self._store.endpoints.get(endpoint)
        if known is None:
            return
        await self._patiently_refreshed()
        organizations: dict[OrganizationId, None] = {}
        for followed in known.follows:
            organizations[followed.organization] = None
            if followed.below:
                organizations |= dict.fromkeys(self._rules.organizations.under(followed.organization))
        if EventType.AGGREGATE_UPDATED not in known.events:
            return
        commands: list[Command] = []
        for organization in organizations:
            key = PendingKey(organization, EventType.AGGREGATE_UPDATED)
            commands += self._store.add_pending(endpoint, key, [cells_since(since_ms)])
        await self._store.write(commands)
        self._store.ripening.set()

    async def _made(self, jobs: Sequence[Job], now_ms: int) -> list[list[Message]]:
        seen = await self._rendering.read(jobs)
        told = await self._store.told(
            [(job.endpoint.id, self._rendering.candidates(job, seen)) for job in jobs]
        )
        return [self._rendering.messages(job, seen, its, now_ms) for job, its in zip(jobs, told, strict=True)]

    async def _made_together(self, job: Job) -> list[Message]:
        """The messages of a job, made together with those that others ask for meanwhile."""
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._asked.append((job, future))
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make_asked(), name="making messages anew")
        return await future

    async def _make_asked(self) -> None:
        while self._asked:
            asked, self._asked = self._asked[:_AT_ONCE], self._asked[_AT_ONCE:]
            try:
                made = await self._patiently_made([job for job, _ in asked])
            except Exception as error:  # noqa: BLE001 (whoever asked gets it, and raises it)
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), messages in zip(asked, made, strict=True):
                if not future.done():
                    future.set_result(messages)

    async def _patiently_made(self, jobs: Sequence[Job]) -> list[list[Message]]:
        while True:
            await self._patiently_refreshed()
            try:
                return await self._made(jobs, self._store.clock_ms())
            except REDIS_AWAY as error:
                if not passes_by(error):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _recently_refreshed(self) -> None:
        """Return when the rules were read lately; once for all who ask."""
        if time.monotonic() - self._refreshed_at < _RECENT_SECONDS:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._patiently_refreshed(), name="reading the rules")
        await asyncio.shield(self._refreshing)

    async def _patiently_refreshed(self) -> None:
        while True:
            try:
                began = time.monotonic()
                await self._rules.refresh()
                self._refreshed_at = began
                return
            except (*REDIS_AWAY, NothingToTellBy) as error:
                if not isinstance(error, NothingToTellBy) and not passes_by(error):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _keep(self, job: Job, messages: Sequence[Message]) -> None:
        """Write messages, and that what they tell is no longer pending, in one step."""
        # One that is known by its id said the very same before. If it waits it says it still; else it is said again.
        new = [message for message in messages if message.id not in self._store.due_book]
        await self._store.write(
            [*(command for one in new for command in self._store.message_written(one)), *self._settled(job)]
        )
        if len(self._made_under) > _REMEMBERED_AT_MOST:
            self._made_under.clear()  # they are only made anew
        for message in new:
            self._made_under[message.id] = (self._rules.stamp, job.endpoint.revision)
            self._store.waits(message)

    async def _still(self, message: Message, job: Job, made: Sequence[Message]) -> Message:
        """Nothing of what a message says has changed; what else there is to say goes beside it."""
        others = [one for one in made if one.id != message.id and one.id not in self._store.due_book]
        commands = [command for one in others for command in self._store.message_written(one)]
        settled = self._settled(job)
        if commands or job.names:
            await self._store.write([*commands, *settled])
        for one in others:
            self._store.waits(one)
        return message

    def _settled(self, job: Job) -> list[Command]:
        self._store.pending.settle(job.endpoint.id, job.key, job.names)
        return self._store.pending_written(job.endpoint.id, job.key) if job.names else []

    @staticmethod
    def _successor(message: Message, predecessor: Message) -> Message:
        return replace(
            message,
            attempted=predecessor.attempted,
            attempts=predecessor.attempts,
            tried=predecessor.tried,
        )

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._store.ripening.wait()
        except TimeoutError:
            pass


def _told_in(messages: Sequence[Message]) -> frozenset[str]:
    return frozenset(field for message in messages for field in message.tells)


def _name_of(key: PendingKey, field: str, told: Told) -> str:
    """The name under which what was told would be pending."""
    if key.type is EventType.RELEASE_CHANGED:
        return release_name(_release_key(field), told.changed_ms)
    if key.type is EventType.AGGREGATE_UPDATED and told.version == GONE:
        return gone_cell(field, told.changed_ms)
    return field


def _release_key(path: str) -> ReleaseKey:
    year, district, subject, report = path.split("/")
    return ReleaseKey(int(year), OrganizationId(district), subject, Report(report))
