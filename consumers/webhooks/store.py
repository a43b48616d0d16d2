"""The webhooks' state in memory and in Redis: memory is the copy that decides, Redis has all of it before anything is done.

Guarantee: what belongs together (a message, and that what it tells is no longer pending; an attempt, and how the endpoint
fares by it; what was read from Kafka, and up to where) is written in one step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from consumers.webhooks.connection import RedisClient
from consumers.webhooks.due import DueBook, Standing
from consumers.webhooks.kept_messages import KeptMessages
from consumers.webhooks.message_commands import endpoint_removed, waiting_written
from consumers.webhooks.pending import PendingBook, PendingKey, undelivered_key
from consumers.webhooks.reign import Argument, Command, Reign, command, commands
from schemas.webhooks import keys
from schemas.webhooks.endpoints import Endpoint, EndpointState, decode_endpoint, decode_state
from schemas.webhooks.messages import Message, encode_stored

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 500
_NEW: Final = EndpointState()


class Store:
    """Everything that the worker keeps: endpoints, what is pending for them, messages, and how far it has read.

    A method that returns commands has changed the memory already; its caller writes them, with whatever belongs to them.
    """

    def __init__(self, redis: RedisClient, reign: Reign, clock_ms: Callable[[], int]) -> None:
        self.redis = redis
        self.clock_ms = clock_ms
        self.messages = KeptMessages(redis)
        self.pending = PendingBook(self._interval_ms)
        self.due_book = DueBook(self._standing)
        self.positions: dict[
            str, int
        ] = {}  # of the worker's hash: next offsets, and whatever else begins with "at:"
        self.order = b"0-0"
        self.log_identity = ""
        self.ripening = asyncio.Event()  # something may have ripened, or be free to be told
        self.news = asyncio.Event()  # something may have come due
        self.touched: set[str] = set()  # endpoints with new messages since they were last tidied up
        self._reign = reign
        self._endpoints: dict[str, Endpoint] = {}
        self._states: dict[str, EndpointState] = {}
        self._version = b""

    async def write(self, commands: Iterable[Command]) -> None:
        """Write commands in one step; see ``Reign.write``."""
        await self._reign.write(commands)

    async def load(self) -> None:
        """Take up what Redis has."""
        facts: Any = await self.redis.hgetall(keys.WORKER)
        self.order = facts.get(b"order", b"0-0")
        self.log_identity = facts.get(b"log", b"").decode()
        self.positions = {
            field.decode(): int(value) for field, value in facts.items() if field.startswith(b"at:")
        }
        states: Any = await self.redis.hgetall(keys.STATES)
        for endpoint, stored in states.items():
            self._states[endpoint.decode()] = decode_state(stored)
        await self.look_at_endpoints()
        order = list(self._endpoints)
        for at in range(0, len(order), _AT_ONCE):
            some = order[at : at + _AT_ONCE]
            pipe: Any = self.redis.pipeline(transaction=False)
            for endpoint in some:
                pipe.hgetall(keys.pending(endpoint))
            for endpoint, entries in zip(some, await pipe.execute(), strict=True):
                for field, stored in entries.items():
                    self.pending.restore(endpoint, field.decode(), stored)
        due: Any = await self.redis.zrange(keys.DUE, 0, -1)
        names = [name.decode() for name in due]
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            for name, message in zip(some, await self.messages.read_all(some), strict=True):
                if message is None or message.endpoint not in self._endpoints:
                    await self.write([command("ZREM", keys.DUE, name)])
                else:
                    self.waits(message)
        logger.info(
            "took up endpoints=%d pending=%d waiting=%d",
            len(self._endpoints),
            len(self.pending),
            len(self.due_book),
        )

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """All endpoints, as their owners want them now."""
        return self._endpoints

    def state(self, endpoint: str) -> EndpointState:
        """How an endpoint fares."""
        return self._states.get(endpoint, _NEW)

    def state_written(self, endpoint: str, state: EndpointState) -> list[Command]:
        """An endpoint fares so from now on; the commands that write it."""
        before = self._standing(endpoint)
        self._states[endpoint] = state
        if self._standing(endpoint) != before:
            self.wake(endpoint)
        return [command("HSET", keys.STATES, endpoint, encode_stored(state))]

    async def look_at_endpoints(self) -> set[str]:
        """Take in endpoints as the gateway has them now; returns those that are new, other, or gone."""
        version: Any = await self.redis.get(keys.VERSION) or b"0"
        if version == self._version:
            return set()
        stored: Any = await self.redis.hgetall(keys.ENDPOINTS)
        current: dict[str, Endpoint] = {}
        for name, value in stored.items():
            try:
                current[name.decode()] = decode_endpoint(value)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                logger.exception("an endpoint cannot be read and gets nothing endpoint=%r", name)
        known, self._endpoints, self._version = self._endpoints, current, version
        changed = {one for one in known.keys() | current.keys() if known.get(one) != current.get(one)}
        gone = (known.keys() | self._states.keys()) - current.keys()
        for endpoint in gone:
            await self._remove(endpoint)
        for endpoint in changed - gone:
            self.wake(endpoint)
        return changed

    def wake(self, endpoint: str) -> None:
        """What may be delivered to an endpoint may be another now."""
        self.due_book.look(endpoint)
        self.pending.wake(endpoint)
        self.news.set()
        self.ripening.set()

    def takes_messages(self, endpoint: str) -> bool:
        """Whether messages are made for an endpoint just now; what changes meanwhile stays pending."""
        return self._standing(endpoint).anything

    def add_pending(self, endpoint: str, key: PendingKey, names: Iterable[str]) -> list[Command]:
        """Note what changed; the commands that write it."""
        if not self.pending.add(endpoint, key, names, self.clock_ms()):
            return []
        return self._pending_written(endpoint, key)

    def settled(self, endpoint: str, key: PendingKey, names: AbstractSet[str]) -> list[Command]:
        """These are in a message, or are not to be told; the commands that write it."""
        self.pending.settle(endpoint, key, names)
        return self._pending_written(endpoint, key) if names else []

    def positions_written(self, positions: Mapping[str, int]) -> list[Command]:
        """The commands that write up to where topics were read."""
        self.positions |= positions
        flat: list[Argument] = [one for pair in positions.items() for one in pair]
        return commands("HSET", keys.WORKER, flat, step=2)

    def message_written(self, message: Message) -> list[Command]:
        """The commands that keep a waiting message; ``waits`` follows when they are written."""
        self.touched.add(message.endpoint)
        return waiting_written(message)

    def waits(self, message: Message) -> None:
        """A message that is in Redis waits."""
        key, next_ms = undelivered_key(message), message.next_ms or message.created_ms
        self.due_book.put(message.id, message.endpoint, message.type, key, next_ms)
        self.news.set()

    def forget_message(self, message: str) -> None:
        """A message that Redis has no longer among the waiting ones waits no longer."""
        endpoint = self.due_book.endpoint_of(message)
        free = self.due_book.remove(message)
        if endpoint is not None:
            self.due_book.look(endpoint)
            if free is not None:
                self.pending.wake(endpoint, (free,))
                self.ripening.set()

    async def _remove(self, endpoint: str) -> None:
        """Drop everything of an endpoint that is no more."""
        waiting = list(self.due_book.of(endpoint))
        for message in waiting:
            self.due_book.remove(message)
        self._states.pop(endpoint, None)
        self.pending.forget(endpoint)
        self.due_book.look(endpoint)
        logged: Any = await self.redis.zrange(keys.log(endpoint), 0, -1)
        await self.write(endpoint_removed(endpoint, [*logged, *waiting]))

    def _pending_written(self, endpoint: str, key: PendingKey) -> list[Command]:
        stored = self.pending.stored(endpoint, key)
        if stored is None:
            return [command("HDEL", keys.pending(endpoint), key.field)]
        return [command("HSET", keys.pending(endpoint), key.field, stored)]

    def _interval_ms(self, endpoint: str) -> int:
        known = self._endpoints.get(endpoint)
        return 0 if known is None else known.interval_seconds * 1000

    def _standing(self, endpoint: str) -> Standing:
        known, state = self._endpoints.get(endpoint), self.state(endpoint)
        if known is None or known.revoked_ms is not None or state.disabled is not None:
            return Standing(anything=False, pings=False)
        confirmed = state.confirmed_ms is not None and state.confirmed_url in ("", known.url)
        return Standing(
            anything=confirmed and not known.paused, pings=True, not_before_ms=state.not_before_ms
        )
