"""Whether an event loop still turns, for whoever asks from another thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

_BEAT_SECONDS: Final = 1.0
# A batch of 5,000 on a slow machine holds the loop for a second or two; nothing sound holds it for half a minute.
_STILL_SECONDS: Final = 30.0


class Pulse:
    """Beats in the event loop, once a second. No task, so there is nothing to cancel in the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None

    def beat_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat for as long as the loop runs."""
        self.beat()
        loop.call_later(_BEAT_SECONDS, self.beat_on, loop)

    def beat(self) -> None:
        """It turns."""
        self._last = self._clock()

    @property
    def still(self) -> bool:
        """Whether it has stopped. One that has not begun yet has not."""
        return self._last is not None and self._clock() - self._last > _STILL_SECONDS
