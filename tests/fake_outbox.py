"""The webhooks' state in memory: what Redis has survives a crash, what the worker remembers does not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from consumers.webhooks.due import DueBook, Standing
from consumers.webhooks.pending import PendingKey
from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import Endpoint, EndpointState, EventType
from schemas.webhooks.ids import message_id
from schemas.webhooks.messages import Attempt, Message, MessageState


@dataclass
class Stored:
    """What a crash leaves: as Redis would have it. A change of a school is nothing but its number."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    states: dict[str, EndpointState] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    latest: dict[str, dict[OrganizationId, int]] = field(default_factory=dict)
    in_a_message: defaultdict[tuple[str, OrganizationId], int] = field(
        default_factory=lambda: defaultdict(int)
    )
    hidden: set[str] = field(default_factory=set)  # endpoints whose owners may see nothing any more


class MemoryOutbox:
    """An ``Outbox`` over what is stored, for one reign."""

    def __init__(self, stored: Stored, clock_ms: Callable[[], int]) -> None:
        self.stored = stored
        self._clock_ms = clock_ms
        self._book = DueBook(self._standing)
        self._news = asyncio.Event()
        self._states = dict(stored.states)
        for message in stored.messages.values():
            if message.state is MessageState.WAITING:
                self._wait(message)
        for endpoint in stored.endpoints:
            self._ripen(endpoint)

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        return self.stored.endpoints

    def state(self, endpoint: str) -> EndpointState:
        return self._states.get(endpoint, EndpointState())

    async def set_state(self, endpoint: str, state: EndpointState) -> None:
        self._set_state(endpoint, state)
        await asyncio.sleep(0)
        self.stored.states[endpoint] = state

    async def due(self, now_ms: int, limit: int, room: Callable[[str], int]) -> Sequence[Message]:
        taken = self._book.take(now_ms, limit, room)
        for name in taken:
            if name not in self.stored.messages:  # it was too old to be kept
                self._book.remove(name)
        return [self.stored.messages[name] for name in taken if name in self.stored.messages]

    def ready(self, endpoint: str, at_ms: int = 0) -> None:
        self._book.look(endpoint, at_ms)
        self._news.set()

    def next_due_ms(self) -> int | None:
        return self._book.next_due_ms()

    async def wait_due(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        await asyncio.sleep(0)
        if message.organization is None:
            return message
        if message.endpoint in self.stored.hidden:
            await self.finish(message, None, MessageState.WITHHELD, now_ms=now_ms)
            return None
        known = message.endpoint, message.organization
        if message.replayed or self.stored.latest[message.endpoint][message.organization] <= message.version:
            return message
        successor = replace(
            self._made(*known),
            attempted=message.attempted,
            tried=message.tried,
        )
        self._end(message, MessageState.SUPERSEDED, "", now_ms)
        self.stored.in_a_message[known] = successor.version
        self.stored.messages[successor.id] = successor
        self._wait(successor)
        self._book.mark_taken(successor.id)
        return successor

    async def retry(
        self, message: Message, attempt: Attempt | None, next_ms: int, *, state: EndpointState | None = None
    ) -> None:
        if state is not None:
            self._set_state(message.endpoint, state)
        await asyncio.sleep(0)
        if state is not None:
            self.stored.states[message.endpoint] = state
        waits = replace(
            _with(message, attempt), state=MessageState.WAITING, next_ms=next_ms, finished_ms=None, detail=""
        )
        self.stored.messages[message.id] = waits
        self._wait(waits)

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
        if state is not None:
            self._set_state(message.endpoint, state)
        await asyncio.sleep(0)
        if state is not None:
            self.stored.states[message.endpoint] = state
        self._end(_with(message, attempt), outcome, detail, now_ms)
        self._ripen(message.endpoint)

    async def put_back(self, message: Message, next_ms: int) -> None:
        self._wait(replace(message, next_ms=next_ms))

    async def add(self, message: Message) -> bool:
        await asyncio.sleep(0)
        if message.id in self.stored.messages:
            return False
        self.stored.messages[message.id] = message
        self._wait(message)
        return True

    async def read(self, message: str) -> Message | None:
        return self.stored.messages.get(message)

    async def waiting(self, endpoint: str) -> Sequence[Message]:
        return self.of(endpoint, MessageState.WAITING)

    async def kept(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        return [one for one in self.of(endpoint) if one.created_ms >= since_ms][:limit]

    async def dead(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        return [one for one in self.of(endpoint, MessageState.DEAD) if one.created_ms >= since_ms][:limit]

    async def tell_all(self, endpoint: str, since_ms: int = 0) -> None:
        for organization in self.stored.latest.get(endpoint, {}):
            self.stored.in_a_message[endpoint, organization] = 0
        self._ripen(endpoint)

    # What tests do.

    def of(self, endpoint: str, state: MessageState | None = None) -> list[Message]:
        """An endpoint's messages, oldest first."""
        found = [one for one in self.stored.messages.values() if one.endpoint == endpoint]
        return sorted(
            (one for one in found if state in (None, one.state)), key=lambda one: (one.created_ms, one.id)
        )

    def change(self, endpoint: str, organization: OrganizationId) -> None:
        """Results of a school changed."""
        latest = self.stored.latest.setdefault(endpoint, {})
        latest[organization] = latest.get(organization, 0) + 1
        self._ripen(endpoint)

    def keep(self, endpoint: Endpoint) -> None:
        """Its owner made an endpoint, or changed it."""
        self.stored.endpoints[endpoint.id] = endpoint
        self._ripen(endpoint.id)
        self.ready(endpoint.id)

    def _made(self, endpoint: str, organization: OrganizationId) -> Message:
        version = self.stored.latest[endpoint][organization]
        body = f"{organization} {version}".encode()
        return Message(
            id=message_id(endpoint, body),
            endpoint=endpoint,
            type=EventType.AGGREGATE_UPDATED,
            created_ms=self._clock_ms(),
            body=body,
            organization=organization,
            version=version,
        )

    def _ripen(self, endpoint: str) -> None:
        if not self._standing(endpoint).anything:
            return
        for organization, latest in self.stored.latest.get(endpoint, {}).items():
            known = endpoint, organization
            if self.stored.in_a_message[known] >= latest:
                continue
            if self._book.undelivered(endpoint, PendingKey(organization, EventType.AGGREGATE_UPDATED)):
                continue
            message = self._made(*known)
            self.stored.in_a_message[known] = latest
            self.stored.messages[message.id] = message
            self._wait(message)

    def _wait(self, message: Message) -> None:
        key = None if message.organization is None else PendingKey(message.organization, message.type)
        self._book.put(message.id, message.endpoint, message.type, key, message.next_ms or message.created_ms)
        self._news.set()

    def _end(self, message: Message, outcome: MessageState, detail: str, now_ms: int) -> None:
        self.stored.messages[message.id] = replace(
            message, state=outcome, detail=detail, next_ms=None, finished_ms=now_ms
        )
        self._book.remove(message.id)
        self._book.look(message.endpoint)

    def _set_state(self, endpoint: str, state: EndpointState) -> None:
        self._states[endpoint] = state
        self._ripen(endpoint)
        self.ready(endpoint)

    def _standing(self, endpoint: str) -> Standing:
        known, state = self.stored.endpoints.get(endpoint), self.state(endpoint)
        if known is None or state.disabled is not None:
            return Standing(anything=False, pings=False)
        anything = state.confirmed_url == known.url and not known.paused
        return Standing(anything=anything, pings=True, not_before_ms=state.not_before_ms)


def _with(message: Message, attempt: Attempt | None) -> Message:
    if attempt is None:
        return message
    return replace(message, attempts=(*message.attempts, attempt)[-20:], attempted=message.attempted + 1)
