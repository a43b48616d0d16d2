"""An event loop whose clock jumps to whatever comes next: hours of retries pass in milliseconds, always in the same order."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

BEGINNING_MS: Final = 1_777_896_000_000


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everything waits for something that nobody will do")
            self.now += max(timeout, 0.0)
        return events


class SimulatedTime(asyncio.SelectorEventLoop):
    """Nothing in it may wait for a socket or a thread."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def now_ms(self) -> int:
        """Milliseconds since 1970, in a simulated year."""
        return BEGINNING_MS + round(self.time() * 1000)

    def pass_seconds(self, seconds: float) -> None:
        """Let everybody work for so long."""
        self.run_until_complete(asyncio.sleep(seconds))
