"""How long the system takes to go on after a disturbance: until no partition is more than a moment behind its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

BEHIND_SECONDS: Final = 1.0  # a partition that has applied what was in the log so long ago keeps up
_OBSERVED_SECONDS: Final = 2.0  # a dead worker's partitions need so long to be seen falling behind


@dataclass(slots=True)
class Watch:
    """One disturbance, from the moment at which its effect is counted."""

    name: str
    since: float
    last_behind: float
    settled_seconds: float | None = None


@dataclass(slots=True)
class Settling:
    """Takes a look at positions and log ends now and then; times are seconds of one monotonic clock.

    ``positions`` None means that they could not be read, and counts as being behind.
    """

    limit_seconds: float
    watches: list[Watch] = field(default_factory=list)
    _ends: deque[tuple[float, list[int]]] = field(default_factory=deque)

    def disturbed(self, name: str, now: float) -> None:
        """Start the clock for one disturbance."""
        self.watches.append(Watch(name, now, now))

    def outage_over(self, now: float) -> None:
        """Kafka or Redis is back: before, nothing could settle, whatever it had been disturbed by."""
        for watch in self.pending:
            watch.since = watch.last_behind = now

    def look(self, now: float, positions: Sequence[int] | None, ends: Sequence[int]) -> bool:
        """Note where everything is; returns whether nothing is behind."""
        self._ends.append((now, list(ends)))
        while len(self._ends) > 1 and self._ends[1][0] <= now - BEHIND_SECONDS:
            self._ends.popleft()
        due = self._ends[0][1]
        behind = positions is None or any(at < end for at, end in zip(positions, due, strict=True))
        for watch in self.pending:
            if behind:
                watch.last_behind = now
            elif now - watch.since >= _OBSERVED_SECONDS and now - watch.last_behind >= BEHIND_SECONDS:
                watch.settled_seconds = watch.last_behind - watch.since
        return not behind

    @property
    def pending(self) -> list[Watch]:
        """Disturbances that the system has not got over yet."""
        return [watch for watch in self.watches if watch.settled_seconds is None]

    def overdue(self, now: float) -> list[Watch]:
        """Those that take longer than allowed."""
        return [watch for watch in self.pending if now - watch.since > self.limit_seconds]

    def seconds(self, counted: Callable[[Watch], bool] = lambda watch: True) -> list[float]:
        """All times to settle, ascending."""
        return sorted(
            watch.settled_seconds
            for watch in self.watches
            if watch.settled_seconds is not None and counted(watch)
        )
