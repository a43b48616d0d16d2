"""Keeps the log of messages within bounds: 30 days, and 1,000 messages an endpoint, but never less than what still waits."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from consumers.webhooks.reign import Argument, commands
from consumers.webhooks.store import Store
from schemas.webhooks import keys

_EVERY_SECONDS: Final = 10.0
_ALL_EVERY_MS: Final = 3_600_000
_KEPT_MS: Final = 30 * 86_400_000
_KEPT_MESSAGES: Final = 1_000
_AT_ONCE: Final = 200


class Tidying:
    """Removes what need not be kept."""

    def __init__(self, store: Store, *, kept_messages: int = _KEPT_MESSAGES) -> None:
        self._store = store
        self._kept_messages = kept_messages
        self._all_at_ms = 0

    async def run(self) -> None:
        """Tidy up now and then, until cancelled.

        Raises:
            ReignEnded: this worker delivers no longer.
        """
        while True:
            await self.round()
            await asyncio.sleep(_EVERY_SECONDS)

    async def round(self) -> None:
        """Tidy up where messages came, and every hour everywhere."""
        now_ms = self._store.clock_ms()
        endpoints, self._store.touched = self._store.touched, set()
        if now_ms >= self._all_at_ms:
            self._all_at_ms = now_ms + _ALL_EVERY_MS
            endpoints |= self._store.endpoints.keys()
        order = sorted(endpoints & self._store.endpoints.keys())
        for at in range(0, len(order), _AT_ONCE):
            some = order[at : at + _AT_ONCE]
            pipe: Any = self._store.redis.pipeline(transaction=False)
            for endpoint in some:
                pipe.zcard(keys.log(endpoint))
                pipe.zcount(keys.log(endpoint), "-inf", now_ms - _KEPT_MS)
            replies = iter(await pipe.execute())
            for endpoint, count, old in zip(some, replies, replies, strict=False):
                excess = max(int(count) - self._kept_messages, int(old))
                if excess > 0:
                    await self._remove(endpoint, excess)

    async def _remove(self, endpoint: str, count: int) -> None:
        oldest: Any = await self._store.redis.zrange(keys.log(endpoint), 0, count - 1)
        gone: list[Argument] = [one for one in oldest if one.decode() not in self._store.due_book]
        if gone:
            await self._store.write(
                [
                    *commands("HDEL", keys.MESSAGES, gone),
                    *commands("ZREM", keys.log(endpoint), gone),
                    *commands("ZREM", keys.dead(endpoint), gone),
                ]
            )
