"""All open streams, and what many of them are to do: done by one task that lets others have their turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from operator import methodcaller
from typing import Final

from gateway import sse
from gateway.lines import Chunk
from gateway.subscriber import Pumped, Subscriber, for_each

# Streams are told progress in turns, a slot at a time: all at once, ten thousand would hold up a tick for 100 ms.
SLOTS: Final = 8
_DRAIN_STEPS: Final = 50


class Audience:
    """The open streams of one gateway process."""

    def __init__(self, progress: Callable[[], Chunk | None]) -> None:
        """``progress`` is asked for the latest progress frame when it is told; None for nothing to tell."""
        self._progress = progress
        self._slots: list[set[Subscriber]] = [set() for _ in range(SLOTS)]
        self._entered = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._errand = asyncio.Event()
        self._can_go_on: dict[Pumped, None] = {}
        self._comment: bytes | None = None
        self._directory_changed = False
        self._reminded = 0
        self._to_remind: set[int] = set()
        self._to_tell: set[Subscriber] = set()

    def __iter__(self) -> Iterator[Subscriber]:
        return iter([stream for slot in self._slots for stream in slot])

    def enter(self, stream: Subscriber) -> None:
        """One more."""
        stream.slot = self._entered % SLOTS
        self._entered += 1
        self._slots[stream.slot].add(stream)
        self._empty.clear()

    def leave(self, stream: Subscriber) -> None:
        """One less."""
        self._slots[stream.slot].discard(stream)
        self._can_go_on.pop(stream, None)
        if not any(self._slots):
            self._empty.set()

    async def until_empty(self) -> None:
        """Return when there is none."""
        await self._empty.wait()

    def drain(self, window_seconds: float) -> None:
        """Ask every stream to end, each at a moment of its own within the window."""
        loop = asyncio.get_running_loop()
        streams = list(self)
        random.shuffle(streams)
        for step in range(min(_DRAIN_STEPS, len(streams))):
            loop.call_later(random.random() * window_seconds, _send_away, streams[step::_DRAIN_STEPS])

    def pump(self, streams: Iterable[Pumped]) -> None:
        """These may be able to go on."""
        self._can_go_on |= dict.fromkeys(streams)
        self._errand.set()

    def say(self, comment: bytes) -> None:
        """Tell everybody."""
        self._comment = comment
        self._errand.set()

    def tell_progress(self, informed: Collection[Subscriber] = ()) -> None:
        """Tell everybody the progress as it is then, but for those who have heard."""
        self._to_tell = set(self).difference(informed)
        self._errand.set()

    def remind(self) -> None:
        """Tell the next slot the progress, but for those who were told not long ago."""
        self._reminded = (self._reminded + 1) % SLOTS
        self._to_remind.add(self._reminded)
        self._errand.set()

    def follow_directory(self) -> None:
        """The directory has changed."""
        self._directory_changed = True
        self._errand.set()

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
        while True:
            await self._errand.wait()
            self._errand.clear()
            if self._comment is not None:
                comment, self._comment = self._comment, None
                await for_each(self, methodcaller("say", comment))
            if self._directory_changed:
                self._directory_changed = False
                following = [stream for stream in self if stream.follows_directory]
                await for_each(following, methodcaller("follow_directory"))
            if self._can_go_on:
                waiting, self._can_go_on = self._can_go_on, {}
                await for_each(waiting, methodcaller("pump"))
            if self._to_tell:
                to_tell, self._to_tell = self._to_tell, set()
                await self._report_to(to_tell, urgent=True)
            while self._to_remind:
                await self._report_to(self._slots[self._to_remind.pop()], urgent=False)

    async def _report_to(self, streams: Iterable[Subscriber], *, urgent: bool) -> None:
        chunk = self._progress()
        if chunk is not None:
            await for_each(streams, methodcaller("report", chunk, urgent=urgent))


def _send_away(streams: Iterable[Subscriber]) -> None:
    for stream in streams:
        stream.close(sse.CloseReason.DRAINING)
