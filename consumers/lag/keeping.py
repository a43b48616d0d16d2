"""What the monitor keeps in Redis: who monitors, the latest judgement, its history, and what parts say of themselves.

All keys share one slot. Two monitors at once would do no harm, they would only say the same thing twice; so the lease is a
plain key that expires, without epochs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from consumers.webhooks.connection import RedisClient
from schemas.operations import (
    HISTORY,
    HISTORY_FIELD,
    HISTORY_SECONDS,
    MONITOR_LEASE,
    PARTS,
    STATE,
    Judgement,
    PartReport,
    Sample,
    decode_judgement,
    decode_part,
    encode_operations,
)

logger = logging.getLogger(__name__)

_KEPT_SECONDS: Final = 86_400  # a judgement that nobody renews says itself how old it is


class Keeping:
    """One monitor's part in it."""

    def __init__(self, redis: RedisClient, holder: str, lease_seconds: float) -> None:
        """``holder`` names this process, and no other one."""
        self._redis = redis
        self._holder = holder.encode()
        self._lease_ms = int(lease_seconds * 1000)

    async def hold(self) -> bool:
        """Take the lease, or renew it; False when another monitor has it."""
        if await self._redis.set(MONITOR_LEASE, self._holder, nx=True, px=self._lease_ms):
            return True
        if await self._redis.get(MONITOR_LEASE) != self._holder:
            return False
        # Should it have passed to another one since, that one has it for a little longer.
        await self._redis.pexpire(MONITOR_LEASE, self._lease_ms)
        return True

    async def give_up(self) -> None:
        """Let another one monitor at once, if we were the one."""
        if await self._redis.get(MONITOR_LEASE) == self._holder:
            await self._redis.delete(MONITOR_LEASE)

    async def write(self, judgement: Judgement) -> None:
        """Keep the latest judgement."""
        await self._redis.set(STATE, encode_operations(judgement), ex=_KEPT_SECONDS)

    async def append(self, sample: Sample) -> None:
        """Keep a point of the history; what is older than it reaches goes."""
        await self._redis.xadd(
            HISTORY,
            {HISTORY_FIELD: encode_operations(sample)},
            minid=f"{sample.at_ms - HISTORY_SECONDS * 1000}",
            approximate=False,  # one entry goes for each that comes
        )

    async def forget(self, parts: list[str]) -> None:
        """Remove what parts said of themselves that are no more."""
        if parts:
            await self._redis.hdel(PARTS, *parts)


async def read_judgement(redis: RedisClient) -> Judgement | None:
    """The latest judgement, however old; None when there is none that can be read."""
    stored: Any = await redis.get(STATE)
    try:
        return None if stored is None else decode_judgement(stored)
    except msgspec.MsgspecError:
        logger.warning("the judgement in Redis cannot be read; another release may have written it")
        return None


async def read_parts(redis: RedisClient) -> Mapping[str, PartReport]:
    """What parts say of themselves."""
    stored: Any = await redis.hgetall(PARTS)
    found = {}
    for name, part in stored.items():
        try:
            found[name.decode()] = decode_part(part)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            logger.warning("what a part says of itself cannot be read name=%r", name)
    return found
