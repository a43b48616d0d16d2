"""Revocations as all nodes share them: a Redis stream, read by every gateway from its beginning and then as it grows.

A blocking read wakes at once, so that every node knows within milliseconds; and whoever was away goes on where it was, for
nothing that is in the stream can be missed. Entries stay as long as the longest token lives.

1. A gateway has read the whole stream before it takes a token, and says "not now" until then.
2. When it could not read for ``away_seconds`` it takes no tokens, until it can again. Open streams go on, and end at
   their age.
3. The whole is read again every minute and after every interruption. What a gateway knows and Redis has lost, because a
   replica took over that was behind, is written there again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import msgspec

from gateway.redis_connection import REDIS_AWAY, RedisClient
from gateway.revocations import Revocation, RevocationList
from gateway.tokens import LONGEST_LIFE, Principal, TokenRefused
from schemas.errors import DependencyUnavailable
from schemas.keys import REVOCATIONS

logger = logging.getLogger(__name__)

_FIELD: Final = b"revocation"
_AT_ONCE: Final = 1_000
_BLOCK_MS: Final = 500  # so that a connection in name only shows
_WHOLE_SECONDS: Final = 60.0
_KEPT: Final = LONGEST_LIFE + timedelta(hours=1)  # no token lives longer; the hour is for clocks
_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Revocation).decode


class RevocationsAway(DependencyUnavailable):
    """Which tokens are revoked is not known just now, so none is taken."""


class RevocationLog:
    """The revocations as one gateway knows them."""

    def __init__(
        self,
        redis: RedisClient,
        *,
        away_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.known = RevocationList()
        self._redis = redis
        self._away_seconds = away_seconds
        self._monotonic = monotonic
        self._clock = clock
        self._heard: Callable[[], Awaitable[None]] | None = None
        self._last = b"0-0"
        self._read: float | None = None  # when the stream was read to its end

    def absence(self) -> str | None:
        """Why no token is taken just now; None when they are."""
        if self._read is None:
            return "the revocations have not been read yet"
        if self._monotonic() - self._read > self._away_seconds:
            return "the revocations could not be read for too long"
        return None

    def check(self, principal: Principal) -> Principal:
        """The same principal, whose token has not been revoked.

        Raises:
            TokenRefused: it has.
            RevocationsAway: that is not known.
        """
        if self.known.refuses(principal):
            raise TokenRefused("revoked", "The token has been revoked; sign in again.")
        why = self.absence()
        if why is not None:
            raise RevocationsAway(why)
        return principal

    async def append(self, revocation: Revocation) -> Revocation:
        """Revoke, here and on all nodes; returns it with its moment.

        Raises:
            RevocationsAway: Redis does not take it. It may have been taken all the same; repeating it does no harm.
        """
        try:
            entry_id = await self._write(revocation)
        except REDIS_AWAY as error:
            raise RevocationsAway("the revocation could not be stored") from error
        stored = msgspec.structs.replace(revocation, at_ms=_milliseconds(entry_id))
        await self._take_in([stored])
        return stored

    async def run(self, heard: Callable[[], Awaitable[None]]) -> None:
        """Follow the stream until cancelled; ``heard`` is called when something was revoked."""
        self._heard = heard
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                await self._read_whole()
                pause = _SHORTEST_PAUSE_SECONDS
                until = self._monotonic() + _WHOLE_SECONDS
                while self._monotonic() < until:
                    await self._read_on()
            except REDIS_AWAY as error:
                if pause == _SHORTEST_PAUSE_SECONDS:
                    logger.warning("the revocations cannot be read error=%r", error)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    async def _read_whole(self) -> None:
        self.known.forget(int(self._clock() * 1000 - _KEPT.total_seconds() * 1000))
        found: list[Revocation] = []
        last = b"0-0"
        began = self._monotonic()
        while True:
            page: Any = await self._redis.xrange(REVOCATIONS, min=b"(" + last, count=_AT_ONCE)
            found += _readable(page)
            if page:
                last = page[-1][0]
            if len(page) < _AT_ONCE:
                break
        lost = set(self.known) - set(found)
        await self._take_in(found)
        self._last, self._read = last, began
        for revocation in lost:
            logger.warning("a revocation was lost in Redis, and is written again")
            await self._write(revocation)

    async def _read_on(self) -> None:
        began = self._monotonic()
        answer: Any = await self._redis.xread({REVOCATIONS: self._last}, count=_AT_ONCE, block=_BLOCK_MS)
        entries = answer[0][1] if answer else []
        await self._take_in(_readable(entries))
        if entries:
            self._last = entries[-1][0]
        self._read = self._monotonic() if not entries else began

    async def _write(self, revocation: Revocation) -> bytes:
        oldest_ms = int((self._clock() - _KEPT.total_seconds()) * 1000)
        fields: dict[Any, Any] = {_FIELD: _encode(revocation)}
        entry_id: Any = await self._redis.xadd(REVOCATIONS, fields, minid=oldest_ms, approximate=True)
        return bytes(entry_id)

    async def _take_in(self, revocations: list[Revocation]) -> None:
        new = [one for one in revocations if self.known.add(one)]
        if new and self._heard is not None:
            await self._heard()


def _readable(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Revocation]:
    found = []
    for entry_id, fields in entries:
        try:
            revocation = _decode(fields[_FIELD])
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            # Not a reason to take no tokens for a month.
            logger.error("a revocation cannot be read; do all nodes run the same version? error=%s", error)
            continue
        # One that was written again keeps its moment; else that is the entry's.
        at_ms = revocation.at_ms or _milliseconds(entry_id)
        found.append(msgspec.structs.replace(revocation, at_ms=at_ms))
    return found


def _milliseconds(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
