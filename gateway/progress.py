"""How far subscribers were told the tables: which is never further than what they were sent."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from gateway import sse
from gateway.following import Following, TablesState
from gateway.frames import progress_frame
from gateway.lines import Chunk
from schemas.keys import Generation


class Told(NamedTuple):
    """All changes of a generation up to ``as_of_ms`` are in the feeds, and were sent to whoever takes them."""

    generation: Generation | None
    complete_ms: int | None
    as_of_ms: int | None
    stale: bool


class Progress:
    """What was told, as cursor and as frame."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self.told = Told(None, None, None, stale=False)
        self._made: tuple[Told, bool, Chunk] | None = None
        self._known = asyncio.Event()

    @property
    def cursor(self) -> sse.Cursor | None:
        """Where everybody stands; None while nothing is known."""
        told = self.told
        if told.generation is None or told.as_of_ms is None:
            return None
        return sse.Cursor(told.generation, told.as_of_ms)

    def reached(self) -> Told:
        """How far the tables have been followed."""
        following = self._following
        generation = following.serving.generation if following.serving else None
        return Told(generation, following.complete_ms(), following.reached_ms(), following.stale())

    def note(self, told: Told) -> None:
        """From now on this is what was told."""
        self.told = told
        if self.cursor is not None:
            self._known.set()

    def note_stale(self) -> None:
        """Older results are missing from now on; what was told of them no longer holds."""
        self.told = self.told._replace(complete_ms=None, stale=True)

    def forget(self) -> None:
        """Nothing is known any more."""
        self.told = Told(None, None, None, self._following.stale())
        self._known.clear()

    async def until_known(self) -> None:
        """Return when there is a cursor."""
        await self._known.wait()

    def chunk(self) -> Chunk | None:
        """The progress frame; None while nothing is known."""
        told, live = self.told, self._following.state is TablesState.LIVE
        if told.as_of_ms is None:
            return None
        if self._made is None or self._made[:2] != (told, live):
            self._made = (told, live, Chunk(encoded(told, live=live)))
        return self._made[2]


def encoded(told: Told, *, live: bool) -> bytes:
    """The progress frame that says it."""
    return progress_frame(told.complete_ms, told.as_of_ms, live=live, stale=told.stale)
