"""The webhooks' state in memory and in Redis: memory is the copy that decides, Redis has all of it before anything is done.

Guarantee: what belongs together (a message, and that what it tells is no longer pending; an attempt, and how the endpoint
fares by it; what was read from Kafka, and up to where) is written in one step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from consumers.webhooks.connection import RedisClient, patiently
from consumers.webhooks.due import DueBook, Standing
from consumers.webhooks.pending import PendingBook, PendingKey
from consumers.webhooks.reign import Argument, Command, Reign, command, commands
from schemas.webhooks import keys
from schemas.webhooks.endpoints import Endpoint, EndpointState, EventType, decode_endpoint, decode_state
from schemas.webhooks.messages import (
    Attempt,
    Message,
    MessageState,
    Told,
    decode_message,
    decode_told,
    encode_stored,
)

logger = logging.getLogger(__name__)

_ATTEMPTS_KEPT: Final = 20
_AT_ONCE: Final = 500
_NEW: Final = EndpointState()
# Their messages are about organizations, one at a time each; the others stand for themselves.
_OF_ORGANIZATIONS: Final = (
    EventType.AGGREGATE_UPDATED,
    EventType.RESULT_RESCORED,
    EventType.RESULT_INVALIDATED,
    EventType.RELEASE_CHANGED,
)


class Refresher(Protocol):
    """Makes a message anew, by what holds now; ``consumers.webhooks.ripening``."""

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """See ``Outbox.rendered_again``."""

    async def tell_all(self, endpoint: str, since_ms: int) -> None:
        """See ``Outbox.tell_all``."""


class Store:
    """An ``Outbox``, and everything else that the worker keeps."""

    refresher: Refresher

    def __init__(self, redis: RedisClient, reign: Reign, clock_ms: Callable[[], int]) -> None:
        self.redis = redis
        self.clock_ms = clock_ms
        self.pending = PendingBook(self._interval_ms)
        self.due_book = DueBook(self._standing)
        self.positions: dict[
            str, int
        ] = {}  # of the worker's hash: next offsets, and whatever else begins with "at:"
        self.order = b"0-0"
        self.log_identity = ""
        self.ripening = asyncio.Event()  # something may have ripened, or be free to be told
        self.touched: set[str] = set()  # endpoints with new messages since they were last tidied up
        self._reign = reign
        self._endpoints: dict[str, Endpoint] = {}
        self._states: dict[str, EndpointState] = {}
        self._version = b""
        self._news = asyncio.Event()

    # The outbox: what delivering uses.

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """All endpoints, as their owners want them now."""
        return self._endpoints

    def state(self, endpoint: str) -> EndpointState:
        """How an endpoint fares."""
        return self._states.get(endpoint, _NEW)

    async def set_state(self, endpoint: str, state: EndpointState) -> None:
        """Keep how it fares."""
        await self.write(self._take_state(endpoint, state))

    async def due(self, now_ms: int, limit: int, room: Callable[[str], int]) -> Sequence[Message]:
        """Take messages whose time has come."""
        taken = self.due_book.take(now_ms, limit, room)
        if not taken:
            return ()
        found: list[Message] = []
        for message, name in zip(await self._read_all(taken), taken, strict=True):
            if message is None:
                self._forget_message(name)  # it was too old to be kept
            else:
                found.append(message)
        return found

    def ready(self, endpoint: str, at_ms: int = 0) -> None:
        """An endpoint has room again."""
        self.due_book.look(endpoint, at_ms)
        self._news.set()

    def next_due_ms(self) -> int | None:
        """When ``due`` may have something next."""
        return self.due_book.next_due_ms()

    async def wait_due(self, seconds: float) -> None:
        """Return when something may have come due, at the latest after that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """What is to be sent instead of a taken message."""
        return await self.refresher.rendered_again(message, now_ms)

    async def tell_all(self, endpoint: str, since_ms: int = 0) -> None:
        """Make everything that changed since then pending."""
        await self.refresher.tell_all(endpoint, since_ms)

    async def retry(
        self, message: Message, attempt: Attempt | None, next_ms: int, *, state: EndpointState | None = None
    ) -> None:
        """Let a message wait for its next attempt, or anew."""
        waits = replace(
            _attempted(message, attempt),
            state=MessageState.WAITING,
            next_ms=next_ms,
            finished_ms=None,
            detail="",
        )
        commands = self.message_written(waits)
        if state is not None:
            commands += self._take_state(message.endpoint, state)
        await self.write(commands)
        self.waits(waits)

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
        commands = self.finished(message, attempt, outcome, detail, now_ms)
        if state is not None:
            commands += self._take_state(message.endpoint, state)
        await self.write(commands)
        self._forget_message(message.id)

    async def put_back(self, message: Message, next_ms: int) -> None:
        """Give back a taken message that was not attempted."""
        self.waits(replace(message, next_ms=next_ms))

    async def add(self, message: Message) -> bool:
        """A new message that waits."""
        if message.id in self.due_book or await self.read(message.id) is not None:
            return False
        waits = replace(message, next_ms=message.created_ms if message.next_ms is None else message.next_ms)
        await self.write(self.message_written(waits))
        self.waits(waits)
        return True

    async def read(self, message: str) -> Message | None:
        """One message."""
        return (await self._read_all([message]))[0]

    async def waiting(self, endpoint: str) -> Sequence[Message]:
        """An endpoint's messages that wait."""
        return [one for one in await self._read_all(list(self.due_book.of(endpoint))) if one is not None]

    async def _listed(self, key: str, since_ms: int, limit: int) -> Sequence[Message]:
        """The messages of one of an endpoint's lists, made since then, oldest first."""

        async def ask() -> Any:
            return await self.redis.zrangebyscore(key, since_ms, "+inf", start=0, num=limit)

        names = await patiently(ask)
        return [one for one in await self._read_all([name.decode() for name in names]) if one is not None]

    async def kept(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """An endpoint's messages made since then."""
        return await self._listed(keys.log(endpoint), since_ms, limit)

    async def dead(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """Those that were given up."""
        return await self._listed(keys.dead(endpoint), since_ms, limit)

    # What the worker's other parts use.

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
            for name, message in zip(some, await self._read_all(some), strict=True):
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
        self._news.set()
        self.ripening.set()

    def takes_messages(self, endpoint: str) -> bool:
        """Whether messages are made for an endpoint just now; what changes meanwhile stays pending."""
        return self._standing(endpoint).anything

    def add_pending(self, endpoint: str, key: PendingKey, names: Iterable[str]) -> list[Command]:
        """Note what changed; the commands that write it."""
        if not self.pending.add(endpoint, key, names, self.clock_ms()):
            return []
        return self.pending_written(endpoint, key)

    def pending_written(self, endpoint: str, key: PendingKey) -> list[Command]:
        """The commands that write what is pending."""
        stored = self.pending.stored(endpoint, key)
        if stored is None:
            return [command("HDEL", keys.pending(endpoint), key.field)]
        return [command("HSET", keys.pending(endpoint), key.field, stored)]

    def positions_written(self, positions: Mapping[str, int]) -> list[Command]:
        """The commands that write up to where topics were read."""
        self.positions |= positions
        flat: list[Argument] = [one for pair in positions.items() for one in pair]
        return commands("HSET", keys.WORKER, flat, step=2)

    def message_written(self, message: Message) -> list[Command]:
        """The commands that keep a waiting message."""
        self.touched.add(message.endpoint)
        return [
            command("HSET", keys.MESSAGES, message.id, encode_stored(message)),
            command("ZADD", keys.DUE, message.next_ms or 0, message.id),
            command("ZADD", keys.log(message.endpoint), message.created_ms, message.id),
            command("ZREM", keys.dead(message.endpoint), message.id),
        ]

    def finished(
        self, message: Message, attempt: Attempt | None, outcome: MessageState, detail: str, now_ms: int
    ) -> list[Command]:
        """The commands that end a message."""
        ended = replace(
            _attempted(message, attempt), state=outcome, detail=detail, next_ms=None, finished_ms=now_ms
        )
        written = [
            command("HSET", keys.MESSAGES, message.id, encode_stored(ended)),
            command("ZREM", keys.DUE, message.id),
        ]
        if outcome is MessageState.DEAD:
            written.append(command("ZADD", keys.dead(message.endpoint), message.created_ms, message.id))
        else:
            written.append(command("ZREM", keys.dead(message.endpoint), message.id))
        if outcome is MessageState.DELIVERED and message.type not in (
            EventType.RESULT_RESCORED,
            EventType.RESULT_INVALIDATED,
        ):
            told: list[Argument] = []
            for field, one in message.tells.items():
                told += (field, encode_stored(one))
            written += commands("HSET", keys.told(message.endpoint), told, step=2)
        return written

    def waits(self, message: Message) -> None:
        """A message that is in Redis waits."""
        self.due_book.put(
            message.id, message.endpoint, message.type, key_of(message), message.next_ms or message.created_ms
        )
        self._news.set()

    async def told(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> list[dict[str, Told]]:
        """What some endpoints were told last, of these fields each."""
        asked = [(endpoint, fields) for endpoint, fields in wanted if fields]
        replies: list[Any] = []
        if asked:
            pipe: Any = self.redis.pipeline(transaction=False)
            for endpoint, fields in asked:
                pipe.hmget(keys.told(endpoint), list(fields))
            replies = await pipe.execute()
        answers = iter(replies)
        found: list[dict[str, Told]] = []
        for _, fields in wanted:
            reply = next(answers) if fields else ()
            found.append(
                {
                    field: decode_told(stored)
                    for field, stored in zip(fields, reply, strict=True)
                    if stored is not None
                }
            )
        return found

    async def write(self, commands: Iterable[Command]) -> None:
        """Write commands in one step; see ``Reign.write``."""
        await self._reign.write(commands)

    def forget_message(self, message: str) -> None:
        """A message that Redis has no longer among the waiting ones waits no longer."""
        self._forget_message(message)

    def _forget_message(self, message: str) -> None:
        endpoint = self.due_book.endpoint_of(message)
        free = self.due_book.remove(message)
        if endpoint is not None:
            self.due_book.look(endpoint)
            if free is not None:
                self.pending.wake(endpoint, (free,))
                self.ripening.set()

    def _take_state(self, endpoint: str, state: EndpointState) -> list[Command]:
        before = self._standing(endpoint)
        self._states[endpoint] = state
        if self._standing(endpoint) != before:
            self.wake(endpoint)
        return [command("HSET", keys.STATES, endpoint, encode_stored(state))]

    async def _remove(self, endpoint: str) -> None:
        """Drop everything of an endpoint that is no more."""
        waiting = list(self.due_book.of(endpoint))
        for message in waiting:
            self.due_book.remove(message)
        self._states.pop(endpoint, None)
        self.pending.forget(endpoint)
        self.due_book.look(endpoint)
        logged: Any = await self.redis.zrange(keys.log(endpoint), 0, -1)
        names: list[Argument] = [*logged, *waiting]
        await self.write(
            [
                command("HDEL", keys.STATES, endpoint),
                *(
                    command("DEL", key)
                    for key in (
                        keys.pending(endpoint),
                        keys.told(endpoint),
                        keys.log(endpoint),
                        keys.dead(endpoint),
                    )
                ),
                *commands("HDEL", keys.MESSAGES, names),
                *commands("ZREM", keys.DUE, names),
            ]
        )

    async def _read_all(self, names: Sequence[str]) -> list[Message | None]:
        if not names:
            return []

        async def ask() -> Any:
            call: Any = self.redis.hmget(keys.MESSAGES, list(names))
            return await call

        stored = await patiently(ask)
        return [None if one is None else decode_message(one) for one in stored]

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


def key_of(message: Message) -> PendingKey | None:
    """Of what there is to be no second undelivered message."""
    if message.organization is None or message.type not in _OF_ORGANIZATIONS:
        return None
    return PendingKey(message.organization, message.type)


def _attempted(message: Message, attempt: Attempt | None) -> Message:
    if attempt is None:
        return message
    attempts = (*message.attempts, attempt)[-_ATTEMPTS_KEPT:]
    return replace(message, attempts=attempts, attempted=message.attempted + 1)
