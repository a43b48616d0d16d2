"""Webhook endpoints in Redis: the gateway alone writes them; and orders to the worker that delivers to them.

Guarantee: *a change is made to what was read, or not at all.* Each script compares the stored bytes with those that the change
was made from; where a limit over all endpoints decided, their version, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec

from gateway.redis_connection import REDIS_AWAY, RedisClient
from schemas.errors import DependencyUnavailable
from schemas.webhooks import keys
from schemas.webhooks.endpoints import Endpoint, EndpointState, decode_endpoint, decode_state
from schemas.webhooks.messages import Message, Order, decode_message, encode_stored

_ATTEMPTS: Final = 100  # at a change of what others change, too; each is a millisecond
_MOST_WAITING: Final = (
    10_000  # orders; a worker takes thousands a second, so this many wait for one that is not there
)
_ORDERS_KEPT: Final = 100_000
_MESSAGES_AT_ONCE: Final = 50  # of up to 256 kB


class WebhooksAway(DependencyUnavailable):
    """Webhooks can be neither read nor changed just now."""


class OrdersWait(WebhooksAway):
    """The delivering worker has not taken its orders for long; there is no room for another."""


Change = Callable[[Endpoint], tuple[Endpoint | None, Order]]
"""What becomes of an endpoint, None when it is deleted; and the order that tells the worker."""


class Known(NamedTuple):
    """All endpoints at one version."""

    version: bytes
    endpoints: Mapping[str, Endpoint]


class Given(NamedTuple):
    """An order that was given, and whether a worker is there to carry it out."""

    id: str
    delivering: bool


class EndpointStore:
    """The endpoints, their states and their messages; one per gateway process."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._known = Known(b"0", {})
        self._reading = asyncio.Lock()
        lua = files("gateway").joinpath("lua")
        self._change = lua.joinpath("change_endpoint.lua").read_text(encoding="utf-8")
        self._give = lua.joinpath("give_order.lua").read_text(encoding="utf-8")

    async def all(self) -> Known:
        """All endpoints as of now; read only when something has changed since the last time.

        Raises:
            WebhooksAway: Redis is not there. So say all methods here.
        """
        async with _answering(), self._reading:
            version: Any = await self._redis.get(keys.VERSION) or b"0"
            # The version is asked before the endpoints, so what is stored under it is never of before.
            if version != self._known.version:
                stored: Any = await self._redis.hgetall(keys.ENDPOINTS)
                # Beside the event loop: 10,000 endpoints take longer than a stream's reader should wait.
                self._known = Known(version, await asyncio.to_thread(_decoded, stored))
            return self._known

    async def find(self, endpoint_id: str) -> Endpoint | None:
        """One endpoint as of now."""
        async with _answering():
            stored: Any = await self._redis.hget(keys.ENDPOINTS, endpoint_id)
            return None if stored is None else decode_endpoint(stored)

    async def add(self, endpoint: Endpoint, room: Callable[[Known], None], order: Order) -> None:
        """Keep a new endpoint; ``room`` raises when there is no room for it among the others."""
        for _ in range(_ATTEMPTS):
            known = await self.all()
            room(known)
            if await self._write(endpoint.id, b"", encode_stored(endpoint), known.version, order):
                return
        raise WebhooksAway("others change endpoints all the time")

    async def change(
        self,
        endpoint_id: str,
        made: Change,
        room: Callable[[Known], None] | None = None,
    ) -> Endpoint | None:
        """Store what ``made`` makes of an endpoint as it stands, and its order; returns that. None deletes it.

        ``made`` may be called several times, and may raise to change nothing. None, too, where there is no such endpoint.
        """
        for _ in range(_ATTEMPTS):
            version = b""
            if room is not None:
                known = await self.all()
                room(known)
                version = known.version
            async with _answering():
                stored: Any = await self._redis.hget(keys.ENDPOINTS, endpoint_id)
            if stored is None:
                return None
            after, order = made(decode_endpoint(stored))
            if await self._write(
                endpoint_id, stored, b"" if after is None else encode_stored(after), version, order
            ):
                return after
        raise WebhooksAway("others change this endpoint all the time")

    async def order(self, order: Order) -> Given | None:
        """Ask something of the delivering worker; None when there is no such endpoint.

        Raises:
            OrdersWait: too many wait already.
        """
        async with _answering():
            answer: Any = await self._redis.eval(
                self._give,
                3,
                keys.ENDPOINTS,
                keys.ORDERS,
                keys.LEASE,
                order.endpoint,
                encode_stored(order),
                _MOST_WAITING,
            )
        if answer is None:
            raise OrdersWait("the orders of before have not been carried out")
        given, delivering = answer
        return Given(given.decode(), bool(delivering)) if given else None

    async def states(self, endpoint_ids: Sequence[str]) -> list[EndpointState]:
        """How these endpoints fare."""
        if not endpoint_ids:
            return []
        async with _answering():
            stored: Any = await self._redis.hmget(keys.STATES, list(endpoint_ids))
            return [decode_state(one) for one in stored]

    async def message(self, message_id: str) -> Message | None:
        """One message."""
        async with _answering():
            stored: Any = await self._redis.hget(keys.MESSAGES, message_id)
            return None if stored is None else decode_message(stored)

    async def message_ids(self, endpoint_id: str, *, dead: bool, since_ms: int | None) -> list[str]:
        """The ids of an endpoint's messages that are kept, the latest first: all, or those that were given up."""
        listed = keys.dead(endpoint_id) if dead else keys.log(endpoint_id)
        async with _answering():
            ids: Any = await self._redis.zrevrangebyscore(
                listed, "+inf", "-inf" if since_ms is None else since_ms
            )
        return [one.decode() for one in ids]

    async def messages(self, message_ids: Sequence[str]) -> AsyncIterator[Message]:
        """These messages in this order, but for those that were forgotten meanwhile."""
        for start in range(0, len(message_ids), _MESSAGES_AT_ONCE):
            page = list(message_ids[start : start + _MESSAGES_AT_ONCE])
            async with _answering():
                answer: Any = await self._redis.hmget(keys.MESSAGES, page)
                found = [decode_message(stored) for stored in answer if stored is not None]
            for message in found:
                yield message

    async def _write(
        self, endpoint_id: str, before: bytes, after: bytes, version: bytes, order: Order
    ) -> bool:
        async with _answering():
            answer: Any = await self._redis.eval(
                self._change,
                3,
                keys.ENDPOINTS,
                keys.VERSION,
                keys.ORDERS,
                endpoint_id,
                before,
                after,
                version,
                encode_stored(order),
                _ORDERS_KEPT,
            )
        return bool(answer)


def _decoded(stored: Mapping[bytes, bytes]) -> dict[str, Endpoint]:
    return {name.decode(): decode_endpoint(one) for name, one in sorted(stored.items())}


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except REDIS_AWAY as error:
        raise WebhooksAway("Redis does not answer") from error
    except msgspec.MsgspecError as error:
        raise WebhooksAway(f"what Redis has is not of this version: {error}") from error
