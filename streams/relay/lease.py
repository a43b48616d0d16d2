"""Which of several relays works. The others stand by, and take over when its lease has run out.

The lease only decides who tries. What makes a late writer harmless is its epoch: Redis refuses its positions, and Kafka its
transactions (``streams.relay.publishing``).
"""

from __future__ import annotations

import asyncio

from schemas.errors import Fenced
from schemas.keys import RELAY_EPOCH, RELAY_LEASE
from streams.connection import RedisClient
from streams.tables import load_script

_KEYS = [RELAY_LEASE, RELAY_EPOCH]


class Lease:
    """One process's part in it."""

    def __init__(self, redis: RedisClient, seconds: float) -> None:
        self._milliseconds = int(seconds * 1000)
        self._look_seconds = seconds / 5
        self._take = load_script(redis, "take_relay")
        self._keep = load_script(redis, "keep_relay")

    async def acquire(self) -> int:
        """Wait until no other relay works; returns the epoch to work under."""
        while True:
            outcome, epoch = await self._take(keys=_KEYS, args=[self._milliseconds])
            if outcome == b"taken":
                return int(epoch)
            await asyncio.sleep(self._look_seconds)

    async def keep(self, epoch: int) -> None:
        """Hold on to it for a while longer.

        Raises:
            Fenced: another relay has taken over.
        """
        await self._hold(epoch, self._milliseconds)

    async def keep_on(self, epoch: int) -> None:
        """Hold on to it until cancelled.

        Raises:
            Fenced: another relay has taken over.
        """
        while True:
            await self.keep(epoch)
            await asyncio.sleep(self._look_seconds)

    async def release(self, epoch: int) -> None:
        """Let another one take over at once.

        Raises:
            Fenced: one has already.
        """
        await self._hold(epoch, 0)

    async def _hold(self, epoch: int, milliseconds: int) -> None:
        outcome, holder = await self._keep(keys=_KEYS, args=[epoch, milliseconds])
        if outcome != b"kept":
            raise Fenced(f"another relay works, under epoch {int(holder)}; ours was {epoch}")
