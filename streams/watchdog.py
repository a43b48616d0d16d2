"""A worker that lives but does not work: records wait, the event loop turns, and nothing is applied."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.errors import Stalled


class Watchdog:
    """Notices that nothing was applied for too long, so that the worker can end and be started again.

    Args:
        patience_seconds: longer than any outage that is waited out, and than any rebalance.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, patience_seconds: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._patience_seconds = patience_seconds
        self._now = now
        self._applied = -1
        self._since = now()

    def look(self, *, waiting: bool, applied: int) -> None:
        """Take note of how it stands now.

        Args:
            waiting: whether there is something to do: records to apply, or a rebalance to finish.
            applied: how many batches were applied so far.

        Raises:
            Stalled: there has been something to do all the time, and nothing was done.
        """
        now = self._now()
        if not waiting or applied != self._applied:
            self._applied, self._since = applied, now
            return
        if now - self._since >= self._patience_seconds:
            raise Stalled(
                f"records wait, and no batch was applied for {now - self._since:.0f} s (SCORES_STALL_SECONDS on top of "
                "what an outage and a rebalance may take). Starting again; if it happens again, look at the last accident before it"
            )
