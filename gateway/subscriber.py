"""What the hub asks of a stream, and how it goes through many of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from gateway.batches import Batch, Patch
from gateway.bursts import AT_ONCE, Burst
from gateway.lines import Chunk, Line
from gateway.outlets import Outlet
from gateway.sse import CloseReason

logger = logging.getLogger(__name__)


class Pumped(Protocol):
    """A stream that something was in the way of."""

    def pump(self) -> None:
        """Send what has been waiting, if it can be sent now."""

    def fail(self) -> None:
        """End the stream: there is a fault in serving it."""


class Subscriber(Pumped, Protocol):
    """One open stream as the hub sees it; every call returns at once."""

    line: Line | None  # once it has begun
    due: int  # the wheel's turn at which ``look`` is wanted; the wheel sets it
    slot: int  # which of the hub's slots it is told progress in; the hub sets it

    @property
    def follows_directory(self) -> bool:
        """Whether what it watches depends on the directory."""

    def take(self, patches: tuple[Patch, ...], batch: Batch, progress: bool) -> Chunk | None:
        """What is to be written to ``line`` now of the tick's changes; with the progress, or only if that is due.

        Nothing is checked. None when it will write itself, later.
        """

    def report(self, progress: Chunk, *, urgent: bool) -> None:
        """Send the latest progress; unless it is urgent only if the last one was not sent just now."""

    def say(self, comment: bytes) -> None:
        """Send a comment."""

    def put_again(self, outlets: Iterable[Outlet]) -> None:
        """Send these whole once more."""

    def withdraw(self) -> None:
        """Something of what it watches may not be seen any more: drop what was sent and has not left."""

    def start_over(self) -> None:
        """Send everything whole: what was sent may be wrong, or incomplete."""

    def follow_directory(self) -> None:
        """Watch what the directory makes of the subscription now."""

    def look(self, now: int) -> int | None:
        """Do what is due by the wheel's turn ``now``; when to look again, None for never."""

    def close(self, reason: CloseReason) -> None:
        """End the stream with a ``bye``."""


Kind = TypeVar("Kind", bound=Pumped)


async def for_each(subscribers: Iterable[Kind], act: Callable[[Kind], object]) -> None:
    """Do something for many without holding up the loop; one that cannot be served ends, and it alone."""
    for number, subscriber in enumerate(tuple(subscribers), 1):
        try:
            act(subscriber)
        except Exception:
            logger.exception("a stream could not be served")
            subscriber.fail()
        if not number % AT_ONCE:
            await asyncio.sleep(0)


async def deliver_each(
    waiting: dict[Subscriber, tuple[Patch, ...]],
    batch: Batch,
    burst: Burst,
    informed: set[Subscriber] | None,
) -> int:
    """``for_each`` of a tick's changes, which are written together; returns to how many streams they were written.

    With ``informed`` everybody gets the progress, too, and is noted there. Whoever is served is taken out of ``waiting``; who is taken out by somebody else meanwhile is passed over.
    """
    everybody = tuple(waiting)
    written, progress = 0, informed is not None
    for first in range(0, len(everybody), AT_ONCE):
        for subscriber in everybody[first : first + AT_ONCE]:
            patches = waiting.pop(subscriber, None)
            if patches is None:
                continue
            try:
                if informed is not None:
                    informed.add(subscriber)
                chunk = subscriber.take(patches, batch, progress)
                if chunk is not None and (line := subscriber.line) is not None:
                    burst.write(line, chunk)
                    written += 1
            except Exception:
                logger.exception("a stream could not be served")
                subscriber.fail()
        burst.flush()
        await asyncio.sleep(0)
    return written
