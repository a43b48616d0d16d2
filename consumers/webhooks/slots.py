"""Who may have how many attempts under way, so that slow endpoints delay no others.

Most attempts take milliseconds, and some as long as they may. If all shared the same slots, the slow ones would sit in all of
them before long. So an endpoint that was slow has one attempt at a time, and all slow ones together a quarter of the slots. One
of which nothing is known yet has one attempt at a time, too; if that turns out to be slow while it is under way, it moves over
to the slow ones, and what it held is free again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

PER_ENDPOINT: Final = 2  # one under way and one to follow it; more would only be more to repeat after a crash
_SLOW_SHARE: Final = 4  # a quarter
_FAST_AGAIN: Final = 3  # attempts in a row
# Attempts that turn out slow give their slots back before they end. So many more sockets may be open than there are slots,
# and then even quick endpoints wait: thousands of new endpoints would have to hang in the same seconds.
_OVERBOOKED: Final = 2


@dataclass(slots=True, eq=False)
class Flight:
    """One attempt under way."""

    endpoint: str
    began_ms: int
    slow: bool


class Slots:
    """All attempts under way. Not thread-safe."""

    def __init__(self, total: int, slow_ms: int) -> None:
        self._slow_slots = max(1, total // _SLOW_SHARE)
        self._fast_slots = max(1, total - self._slow_slots)
        self._most = _OVERBOOKED * total
        self._slow_ms = slow_ms
        self._known_quick: set[str] = set()
        self._known_slow: dict[str, int] = {}  # endpoint -> quick attempts until it is believed
        self._under_way: dict[str, int] = {}
        self._fast: dict[Flight, None] = {}  # in the order of their beginning
        self._slow = 0
        self._queue: dict[str, None] = {}  # slow endpoints that found no slot, the longest waiting first
        self._promised = 0

    @property
    def free(self) -> int:
        """How many attempts may begin now."""
        return max(0, min(self._fast_slots - len(self._fast), self._most - len(self._fast) - self._slow))

    @property
    def under_way(self) -> tuple[int, int]:
        """Quick ones and slow ones."""
        return len(self._fast), self._slow

    def of(self, endpoint: str) -> int:
        """How many an endpoint has under way."""
        return self._under_way.get(endpoint, 0)

    def begin_round(self) -> None:
        """Forget what ``room`` has promised: messages are handed out anew."""
        self._promised = 0

    def room(self, endpoint: str) -> int:
        """How many more attempts an endpoint may have. A slow one without room is remembered for ``woken``."""
        if endpoint not in self._known_slow:
            most = PER_ENDPOINT if endpoint in self._known_quick else 1
            return max(0, most - self.of(endpoint))
        if self.of(endpoint):
            return 0
        if self._slow + self._promised >= self._slow_slots:
            self._queue[endpoint] = None
            return 0
        self._promised += 1
        return 1

    def begin(self, endpoint: str, now_ms: int) -> Flight:
        """An attempt begins."""
        flight = Flight(endpoint, now_ms, endpoint in self._known_slow)
        self._under_way[endpoint] = self.of(endpoint) + 1
        if flight.slow:
            self._slow += 1
        else:
            self._fast[flight] = None
        return flight

    def sweep(self, now_ms: int) -> None:
        """Take their slots from attempts that turn out to be slow."""
        late: deque[Flight] = deque()
        for flight in self._fast:
            if now_ms - flight.began_ms < self._slow_ms:
                break
            late.append(flight)
        for flight in late:
            self._turned_slow(flight)

    def end(self, flight: Flight, took_ms: int | None) -> None:
        """An attempt ended.

        Args:
            took_ms: None when nothing was sent, which says nothing of the endpoint.
        """
        left = self.of(flight.endpoint) - 1
        if left:
            self._under_way[flight.endpoint] = left
        else:
            del self._under_way[flight.endpoint]
        if took_ms is not None and took_ms >= self._slow_ms:
            self._is_slow(flight.endpoint)
        elif took_ms is not None:
            self._was_quick(flight.endpoint)
        if flight.slow:
            self._slow -= 1
        else:
            del self._fast[flight]

    def woken(self) -> list[str]:
        """Slow endpoints that found no room and find some now, the longest waiting first; they are remembered no longer."""
        woken = list(islice(self._queue, max(0, self._slow_slots - self._slow)))
        for endpoint in woken:
            del self._queue[endpoint]
        return woken

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more, or has another address."""
        self._known_slow.pop(endpoint, None)
        self._known_quick.discard(endpoint)
        self._queue.pop(endpoint, None)

    def _turned_slow(self, flight: Flight) -> None:
        del self._fast[flight]
        flight.slow = True
        self._slow += 1
        self._is_slow(flight.endpoint)

    def _is_slow(self, endpoint: str) -> None:
        self._known_slow[endpoint] = _FAST_AGAIN
        self._known_quick.discard(endpoint)

    def _was_quick(self, endpoint: str) -> None:
        more = self._known_slow.get(endpoint, 0) - 1
        if more > 0:
            self._known_slow[endpoint] = more
            return
        self._known_slow.pop(endpoint, None)
        self._known_quick.add(endpoint)
