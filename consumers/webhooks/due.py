"""Messages that wait, and when each comes due: an index in memory of what Redis has; pure.

An endpoint to which nothing can be delivered just now costs nothing, however many messages wait for it: each endpoint
stands in the queue once, with the time of its next message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from consumers.webhooks.pending import PendingKey
from schemas.webhooks.endpoints import EventType


class Standing(NamedTuple):
    """What may be delivered to an endpoint now."""

    anything: bool
    pings: bool
    not_before_ms: int = 0


class _Waiting:
    __slots__ = ("endpoint", "key", "next_ms", "ping", "taken")

    def __init__(self, endpoint: str, key: PendingKey | None, next_ms: int, *, ping: bool) -> None:
        self.endpoint = endpoint
        self.key = key
        self.next_ms = next_ms
        self.ping = ping
        self.taken = False


class _Line:
    """One endpoint's messages: pings apart, because they pass where others may not."""

    __slots__ = ("messages", "others", "pings", "undelivered")

    def __init__(self) -> None:
        self.messages: dict[str, None] = {}  # all that wait, taken ones, too; in the order in which they came
        self.pings: list[tuple[int, str]] = []
        self.others: list[tuple[int, str]] = []
        self.undelivered: dict[PendingKey, int] = {}


class DueBook:
    """All waiting messages by id, endpoint and time."""

    def __init__(self, standing: Callable[[str], Standing]) -> None:
        self._standing = standing
        self._waiting: dict[str, _Waiting] = {}
        self._lines: dict[str, _Line] = {}
        self._queue: list[tuple[int, str]] = []
        self._queued: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, message: object) -> bool:
        return message in self._waiting

    def put(self, message: str, endpoint: str, kind: EventType, key: PendingKey | None, next_ms: int) -> None:
        """A message waits until then; also one that waits already, or was taken."""
        waiting = self._waiting.get(message)
        line = self._lines.get(endpoint)
        if line is None:
            line = self._lines[endpoint] = _Line()
        line.messages[message] = None
        if waiting is None:
            waiting = self._waiting[message] = _Waiting(
                endpoint, key, next_ms, ping=kind is EventType.ENDPOINT_PING
            )
            if key is not None:
                line.undelivered[key] = line.undelivered.get(key, 0) + 1
        waiting.next_ms, waiting.taken = next_ms, False
        heappush(line.pings if waiting.ping else line.others, (next_ms, message))
        self.look(endpoint)

    def remove(self, message: str) -> PendingKey | None:
        """It waits no longer; returns the key of which nothing waits any more by that."""
        waiting = self._waiting.pop(message, None)
        if waiting is None:
            return None
        line = self._lines[waiting.endpoint]
        del line.messages[message]
        if waiting.key is None:
            return None
        left = line.undelivered[waiting.key] - 1
        if left:
            line.undelivered[waiting.key] = left
            return None
        del line.undelivered[waiting.key]
        return waiting.key

    def endpoint_of(self, message: str) -> str | None:
        """To whom a waiting message goes."""
        waiting = self._waiting.get(message)
        return None if waiting is None else waiting.endpoint

    def mark_taken(self, message: str) -> None:
        """A waiting message is taken, due or not."""
        self._waiting[message].taken = True

    def undelivered(self, endpoint: str, key: PendingKey) -> bool:
        """Whether a message of this kind waits for an endpoint."""
        line = self._lines.get(endpoint)
        return line is not None and key in line.undelivered

    def take(self, now_ms: int, limit: int, room: Callable[[str], int]) -> list[str]:
        """Take up to ``limit`` messages that are due; see ``Outbox.due``."""
        taken: list[str] = []
        while self._queue and self._queue[0][0] <= now_ms and len(taken) < limit:
            at_ms, endpoint = heappop(self._queue)
            if self._queued.get(endpoint) != at_ms:
                continue  # it stands elsewhere in the queue by now
            del self._queued[endpoint]
            free = min(room(endpoint), limit - len(taken))
            if free > 0:
                taken += self._take_from(endpoint, now_ms, free)
                self.look(endpoint)
        return taken

    def look(self, endpoint: str, at_ms: int = 0) -> None:
        """Let an endpoint stand in the queue where it belongs now, if anything can be delivered to it at all."""
        line = self._lines.get(endpoint)
        if line is None:
            return
        standing = self._standing(endpoint)
        heads = []
        if standing.pings and (head := self._head(line.pings)) is not None:
            heads.append(head)
        if standing.anything and (head := self._head(line.others)) is not None:
            heads.append(head)
        if not heads:
            self._queued.pop(endpoint, None)
            if not line.messages:
                del self._lines[endpoint]
            return
        ready_ms = max(min(heads), standing.not_before_ms, at_ms)
        if self._queued.get(endpoint) != ready_ms:
            self._queued[endpoint] = ready_ms
            heappush(self._queue, (ready_ms, endpoint))

    def next_due_ms(self) -> int | None:
        """When ``take`` may have something next."""
        while self._queue:
            at_ms, endpoint = self._queue[0]
            if self._queued.get(endpoint) == at_ms:
                return at_ms
            heappop(self._queue)
        return None

    def of(self, endpoint: str) -> Iterator[str]:
        """An endpoint's waiting messages."""
        line = self._lines.get(endpoint)
        return iter(()) if line is None else iter(list(line.messages))

    def _take_from(self, endpoint: str, now_ms: int, free: int) -> list[str]:
        line = self._lines.get(endpoint)
        standing = self._standing(endpoint)
        taken: list[str] = []
        if line is None or standing.not_before_ms > now_ms:
            return taken
        for allowed, heap in ((standing.pings, line.pings), (standing.anything, line.others)):
            while allowed and len(taken) < free:
                head = self._head(heap)
                if head is None or head > now_ms:
                    break
                _, message = heappop(heap)
                self._waiting[message].taken = True
                taken.append(message)
        return taken

    def _head(self, heap: list[tuple[int, str]]) -> int | None:
        while heap:
            next_ms, message = heap[0]
            waiting = self._waiting.get(message)
            if waiting is not None and not waiting.taken and waiting.next_ms == next_ms:
                return next_ms
            heappop(heap)  # it was finished, or waits until another time
        return None
