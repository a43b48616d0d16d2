"""Messages made anew right before they are sent, by what holds now; and all that changed, to be told once more.

A message that says what still holds is sent as it is. Another takes its place when something changed while it waited, and
none when its endpoint's owner may not see any more what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from consumers.webhooks.making import Making
from consumers.webhooks.message_commands import ended_written
from consumers.webhooks.pending import PendingKey, undelivered_key
from consumers.webhooks.pending_names import cells_since, name_told
from consumers.webhooks.reign import Command
from consumers.webhooks.rendering import Job
from consumers.webhooks.store import Store
from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Message, MessageState

# A message that was made so short a time ago, and not attempted yet, was judged by what holds now.
_FRESH_MS: Final = 1_000
_FIGURES: Final = b'"figures":'


class Renewing:
    """Judges messages once more, for one reign."""

    def __init__(self, store: Store, making: Making) -> None:
        self._store = store
        self._making = making

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """What is to be sent instead of a message that is about to be attempted; see ``Outbox.rendered_again``."""
        key, endpoint = undelivered_key(message), self._store.endpoints.get(message.endpoint)
        if key is None:
            return message
        if endpoint is None:
            return None
        made_by = self._making.recall(message.id)
        if not message.attempted and not message.attempts:
            if now_ms - message.created_ms < _FRESH_MS:
                return message
            holds = await self._making.ground(endpoint)
            if made_by == holds and not self._store.pending.any(endpoint.id, key):
                return message
        prefix = f"{key.organization}/"
        again = frozenset(
            name_told(key, field.removeprefix(prefix), told) for field, told in message.tells.items()
        )
        job = Job(endpoint, key, self._store.pending.take(endpoint.id, key), again)
        made = await self._making.made_patiently(job)
        if message.replayed and _FIGURES not in message.body and _told_in(made) >= message.tells.keys():
            # Asked for as it was: it names cells and versions, all of which its owner may see.
            self._store.pending.give_back(endpoint.id, key, job.names)
            return message
        if any(one.id == message.id for one in made):
            return await self._still(message, job, made)
        return await self._succeeded(message, job, [_successor(one, message) for one in made], now_ms)

    async def tell_all(self, endpoint: str, since_ms: int) -> None:
        """Make every cell that changed since then pending for an endpoint; see ``Outbox.tell_all``."""
        known = self._store.endpoints.get(endpoint)
        if known is None:
            return
        rules = await self._making.refreshed_patiently()
        organizations: dict[OrganizationId, None] = {}
        for followed in known.follows:
            organizations[followed.organization] = None
            if followed.below:
                organizations |= dict.fromkeys(rules.organizations.under(followed.organization))
        if EventType.AGGREGATE_UPDATED not in known.events:
            return
        commands: list[Command] = []
        for organization in organizations:
            key = PendingKey(organization, EventType.AGGREGATE_UPDATED)
            commands += self._store.add_pending(endpoint, key, [cells_since(since_ms)])
        await self._store.write(commands)
        self._store.ripening.set()

    async def _still(self, message: Message, job: Job, made: Sequence[Message]) -> Message:
        """Nothing of what a message says has changed; what else there is to say goes beside it."""
        others = [one for one in made if one.id != message.id and one.id not in self._store.due_book]
        commands = [command for one in others for command in self._store.message_written(one)]
        settled = self._store.settled(job.endpoint.id, job.key, job.names)
        if commands or job.names:
            await self._store.write([*commands, *settled])
        for one in others:
            self._store.waits(one)
        return message

    async def _succeeded(
        self, message: Message, job: Job, successors: Sequence[Message], now_ms: int
    ) -> Message | None:
        """Others take a message's place, or none does; the first of them is taken as it was."""
        outcome = MessageState.SUPERSEDED if successors else MessageState.WITHHELD
        detail = "" if successors else "its owner may not see any more what it says"
        await self._store.write(
            [
                *ended_written(message, None, outcome, detail, now_ms),
                *(command for one in successors for command in self._store.message_written(one)),
                *self._store.settled(job.endpoint.id, job.key, job.names),
            ]
        )
        for one in successors:
            self._store.waits(one)
        if successors:
            self._store.due_book.mark_taken(successors[0].id)
        self._store.forget_message(message.id)
        return successors[0] if successors else None


def _successor(message: Message, predecessor: Message) -> Message:
    return replace(
        message, attempted=predecessor.attempted, attempts=predecessor.attempts, tried=predecessor.tried
    )


def _told_in(messages: Sequence[Message]) -> frozenset[str]:
    return frozenset(field for message in messages for field in message.tells)
