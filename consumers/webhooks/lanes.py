"""The order of what an endpoint is told of one organization: one message after the other, and none overtakes one that failed.

There is at most one undelivered message of an organization as a rule. Several there are when somebody asks for old ones again, or
when one says too much for one body.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Message


class Lane(NamedTuple):
    """What has an order."""

    endpoint: str
    type: EventType
    organization: str | None


class _Held:
    """A lane in use."""

    __slots__ = ("blocked_by", "blocked_ms", "lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.blocked_by = ""
        self.blocked_ms = 0


class Lanes:
    """All lanes in which something is under way or failed. Within one event loop."""

    def __init__(self) -> None:
        self._held: dict[Lane, _Held] = {}

    async def enter(self, message: Message) -> Lane:
        """Wait until nothing of its lane is under way; ``leave`` it afterwards, whatever happens."""
        lane = Lane(message.endpoint, message.type, message.organization)
        held = self._held.setdefault(lane, _Held())
        held.users += 1
        try:
            await held.lock.acquire()
        except BaseException:
            self._left(lane, held)
            raise
        return lane

    def leave(self, lane: Lane) -> None:
        """The next one may."""
        held = self._held[lane]
        held.lock.release()
        self._left(lane, held)

    def blocked_ms(self, lane: Lane, message: Message, now_ms: int) -> int | None:
        """When a message may try again because an earlier one of its lane failed and is tried first; None: now.

        Each one that asks gets a later time, so they keep their order.
        """
        held = self._held[lane]
        if held.blocked_by in ("", message.id) or held.blocked_ms < now_ms:
            return None
        held.blocked_ms += 1
        return held.blocked_ms

    def block(self, lane: Lane, message: Message, until_ms: int) -> None:
        """A message failed, and is tried again then."""
        held = self._held[lane]
        held.blocked_by, held.blocked_ms = message.id, until_ms

    def unblock(self, lane: Lane) -> None:
        """It failed no longer, or is given up."""
        self._held[lane].blocked_by = ""

    def prune(self, now_ms: int) -> None:
        """Forget lanes whose time has passed and in which nothing is under way."""
        for lane in [
            lane for lane, held in self._held.items() if not held.users and held.blocked_ms < now_ms
        ]:
            del self._held[lane]

    def __len__(self) -> int:
        return len(self._held)

    def _left(self, lane: Lane, held: _Held) -> None:
        held.users -= 1
        if not held.users and not held.blocked_by:
            del self._held[lane]
