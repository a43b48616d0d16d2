"""One clock for all streams: a slot for each turn, instead of timers for each connection."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from gateway.subscriber import Subscriber, for_each

TURN_SECONDS: Final = 0.25  # how late anything may be; each turn costs only what is due in it
NEVER: Final = -1


def turns(seconds: float) -> int:
    """How many turns that is; rather one more than one less."""
    return math.ceil(seconds / TURN_SECONDS)


class Wheel:
    """Looks at each stream at its time. Times are turns since the start, whole numbers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._slots: dict[int, set[Subscriber]] = {}
        self.now = 0  # the turn that is reached

    def after(self, seconds: float) -> int:
        """The first turn that is not earlier than in ``seconds``."""
        return turns(self._clock() - self._started + max(seconds, 0))

    def schedule(self, stream: Subscriber, turn: int) -> None:
        """Look at a stream then; a time set before no longer holds."""
        self.forget(stream)
        turn = max(turn, self.now + 1)
        stream.due = turn
        self._slots.setdefault(turn, set()).add(stream)

    def forget(self, stream: Subscriber) -> None:
        """Do not look at it any more."""
        if stream.due != NEVER:
            slot = self._slots.get(stream.due)
            if slot is not None:
                slot.discard(stream)
            stream.due = NEVER

    async def run(self) -> None:
        """Turn, until cancelled."""
        while True:
            await asyncio.sleep(self._started + (self.now + 1) * TURN_SECONDS - self._clock())
            await self.turn()

    async def turn(self) -> None:
        """Look at all streams whose time has come."""
        reached = int((self._clock() - self._started) / TURN_SECONDS)
        while self.now < reached:
            self.now += 1
            await for_each(self._slots.pop(self.now, ()), self._look)

    def _look(self, stream: Subscriber) -> None:
        if not 0 <= stream.due <= self.now:
            return  # it was given another time, or none, while others were looked at
        stream.due = NEVER
        again = stream.look(self.now)
        if again is not None:
            self.schedule(stream, again)
