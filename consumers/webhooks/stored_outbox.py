"""The outbox that delivering uses, over the store: in Redis first, then in memory.

Guarantee: an attempt, what becomes of its message, and how its endpoint fares by it, are written in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from consumers.webhooks.message_commands import attempted, ended_written
from consumers.webhooks.renewing import Renewing
from consumers.webhooks.store import Store
from schemas.process.waiting import wait_at_most
from schemas.webhooks.endpoints import Endpoint, EndpointState
from schemas.webhooks.messages import Attempt, Message, MessageState


class StoredOutbox:
    """An ``Outbox``; what each of its methods promises stands there."""

    def __init__(self, store: Store, renewing: Renewing) -> None:
        self._store = store
        self._renewing = renewing

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """All endpoints, as their owners want them now."""
        return self._store.endpoints

    def state(self, endpoint: str) -> EndpointState:
        """How an endpoint fares."""
        return self._store.state(endpoint)

    async def set_state(self, endpoint: str, state: EndpointState) -> None:
        """Keep how it fares."""
        await self._store.write(self._store.state_written(endpoint, state))

    async def due(self, now_ms: int, limit: int, room: Callable[[str], int]) -> Sequence[Message]:
        """Take messages whose time has come."""
        taken = self._store.due_book.take(now_ms, limit, room)
        if not taken:
            return ()
        found: list[Message] = []
        for message, name in zip(await self._store.messages.read_all(taken), taken, strict=True):
            if message is None:
                self._store.forget_message(name)  # it was too old to be kept
            else:
                found.append(message)
        return found

    def ready(self, endpoint: str, at_ms: int = 0) -> None:
        """An endpoint has room again."""
        self._store.due_book.look(endpoint, at_ms)
        self._store.news.set()

    def next_due_ms(self) -> int | None:
        """When ``due`` may have something next."""
        return self._store.due_book.next_due_ms()

    async def wait_due(self, seconds: float) -> None:
        """Return when something may have come due, at the latest after that time."""
        await wait_at_most(self._store.news, seconds)
        self._store.news.clear()

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """What is to be sent instead of a taken message."""
        return await self._renewing.rendered_again(message, now_ms)

    async def retry(
        self, message: Message, attempt: Attempt | None, next_ms: int, *, state: EndpointState | None = None
    ) -> None:
        """Let a message wait for its next attempt, or anew."""
        waits = replace(
            attempted(message, attempt),
            state=MessageState.WAITING,
            next_ms=next_ms,
            finished_ms=None,
            detail="",
        )
        commands = self._store.message_written(waits)
        if state is not None:
            commands += self._store.state_written(message.endpoint, state)
        await self._store.write(commands)
        self._store.waits(waits)

    async def finish(
        self,
        message: Message,
        attempt: Attempt | None,
        outcome: MessageState,
        detail: str = "",
        *,
        now_ms: int,
        state: EndpointState | None = None,
    ) -> None:
        """The end of a message."""
        commands = ended_written(message, attempt, outcome, detail, now_ms)
        if state is not None:
            commands += self._store.state_written(message.endpoint, state)
        await self._store.write(commands)
        self._store.forget_message(message.id)

    async def put_back(self, message: Message, next_ms: int) -> None:
        """Give back a taken message that was not attempted."""
        self._store.waits(replace(message, next_ms=next_ms))

    async def add(self, message: Message) -> bool:
        """A new message that waits."""
        if message.id in self._store.due_book or await self.read(message.id) is not None:
            return False
        waits = replace(message, next_ms=message.created_ms if message.next_ms is None else message.next_ms)
        await self._store.write(self._store.message_written(waits))
        self._store.waits(waits)
        return True

    async def read(self, message: str) -> Message | None:
        """One message."""
        return await self._store.messages.read(message)

    async def waiting(self, endpoint: str) -> Sequence[Message]:
        """An endpoint's messages that wait."""
        names = list(self._store.due_book.of(endpoint))
        return [one for one in await self._store.messages.read_all(names) if one is not None]

    async def kept(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """An endpoint's messages made since then."""
        return await self._store.messages.of(endpoint, since_ms, limit)

    async def dead(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """Those that were given up."""
        return await self._store.messages.dead(endpoint, since_ms, limit)

    async def tell_all(self, endpoint: str, since_ms: int = 0) -> None:
        """Make everything that changed since then pending."""
        await self._renewing.tell_all(endpoint, since_ms)
