"""Tells where the chains stand, in a place that is not Kafka, and lets every chain bear witness to the others.

A chain shows a change in its middle by itself; that its newest entries were cut off it cannot show. So each process writes
its chain's head into Redis each minute, and every ten minutes notes the heads of the others in its own chain.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

import msgspec

from schemas.audit import AuditEvent, AuditKind, Head
from schemas.keys import AUDIT_HEADS
from schemas.process.audit.writer import Audit

logger = logging.getLogger(__name__)

_TELL_SECONDS: Final = 60.0
_WITNESS_EACH: Final = 10  # tellings
_MOST_WITNESSED: Final = 1_000


class HeadStore(Protocol):
    """A client of Redis: as much of it as is needed here."""

    def hset(self, name: str, key: str, value: bytes) -> Any:
        """Awaitable: set a field of a hash."""

    def hgetall(self, name: str) -> Any:
        """Awaitable: all fields of a hash."""


class Heads:
    """Publishes one chain's head, and witnesses the others'."""

    def __init__(
        self,
        audit: Audit,
        redis: HeadStore,
        *,
        away: tuple[type[Exception], ...] = (OSError,),
        tell_seconds: float = _TELL_SECONDS,
    ) -> None:
        """``away`` is what the client raises while Redis is not there."""
        self._audit = audit
        self._redis = redis
        self._away = away
        self._tell_seconds = tell_seconds
        self._witnessed: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled; while Redis is away, nothing is told."""
        told = 0
        while True:
            try:
                await self.tell()
                if told % _WITNESS_EACH == 0:
                    await self.witness()
            except self._away as error:
                logger.info("the audit's head could not be told error=%r", error)
            told += 1
            await asyncio.sleep(self._tell_seconds)

    async def tell(self) -> None:
        """Write down where our chain stands."""
        head = self._audit.head
        await self._redis.hset(AUDIT_HEADS, head.chain, msgspec.json.encode(head))

    async def witness(self) -> None:
        """Note where the others stand, those that have moved since."""
        stored: dict[bytes, bytes] = await self._redis.hgetall(AUDIT_HEADS)
        moved = []
        for packed in stored.values():
            try:
                head = msgspec.json.decode(packed, type=Head)
            except msgspec.MsgspecError:
                continue  # not written by us
            if head.chain != self._audit.chain and head.number > self._witnessed.get(head.chain, 0):
                self._witnessed[head.chain] = head.number
                moved.append(head)
        if moved:
            self._audit.note(AuditEvent(kind=AuditKind.HEADS, heads=tuple(moved[:_MOST_WITNESSED])))
