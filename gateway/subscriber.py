"""What one connection has yet to be told: the latest of everything, never a backlog.

Pending cells are kept by view and name, so a subscriber that reads slowly gets fewer frames with the latest values; what
it can hold up is bounded by what it subscribed to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.images import Patch, Snapshot, View, patch_frame
from gateway.sse import CloseReason


class Frame(NamedTuple):
    """An encoded frame and its kind, for counting."""

    kind: str
    encoded: bytes


class Subscriber:
    """One connection as the hub sees it. The hub puts in, the connection's stream takes out; one event loop."""

    __slots__ = (
        "_comment",
        "_guard",
        "_pending",
        "_progress",
        "_wake",
        "closing",
        "merged",
        "put_due",
        "views",
    )

    def __init__(self, views: Sequence[View]) -> None:
        self.views = tuple(views)
        self.put_due = True
        self.closing: CloseReason | None = None
        self.merged = 0  # patches that were merged into a pending one
        self._pending: dict[View, Patch] = {}
        self._guard: dict[View, Snapshot] = {}
        self._progress: bytes | None = None
        self._comment: bytes | None = None
        self._wake = asyncio.Event()

    def offer(self, patch: Patch) -> None:
        """Take note of changed cells. ``patch`` is permitted; nothing is checked here."""
        guard = self._guard.get(patch.view)
        if guard is not None:
            newer = patch.newer_than(guard.cells)
            if patch.batch.tick > guard.tick:
                del self._guard[patch.view]
            if newer is None:
                return
            patch = newer
        pending = self._pending.get(patch.view)
        if pending is not None:
            patch = patch.after(pending)
            self.merged += 1
        self._pending[patch.view] = patch
        self._wake.set()

    def begin(self, snapshots: Sequence[Snapshot], settled: Callable[[Snapshot], bool]) -> None:
        """From here on only what is later than these snapshots is news.

        A tick that is under way may have read its cells before a snapshot did, and the next one may repeat what is in it;
        so patches are compared with a snapshot until that is settled. ``put_due`` is the stream's to clear, before it asks
        for the snapshots: a request that comes while they are being built must not be lost.
        """
        for snapshot in snapshots:
            pending = self._pending.pop(snapshot.view, None)
            later = pending and pending.newer_than(snapshot.cells)
            if later:
                self._pending[snapshot.view] = later
            if not settled(snapshot):
                self._guard[snapshot.view] = snapshot

    def settle(self, snapshot: Snapshot) -> None:
        """No patch can be older than this snapshot any more; it need not be held."""
        if self._guard.get(snapshot.view) is snapshot:
            del self._guard[snapshot.view]

    def report(self, progress: bytes) -> None:
        """Take note of the latest progress frame."""
        self._progress = progress
        self._wake.set()

    def say(self, comment: bytes) -> None:
        """Send a comment soon."""
        self._comment = comment
        self._wake.set()

    def request_put(self) -> None:
        """Start over: what was sent may be wrong, or incomplete."""
        self._pending.clear()
        self._guard.clear()
        self.put_due = True
        self._wake.set()

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    def close(self, reason: CloseReason) -> None:
        """End the stream with a ``bye``; the first reason stays."""
        self.closing = self.closing or reason
        self._wake.set()

    def take(self) -> Frame | None:
        """The next frame to send; None when there is nothing. Patches wait while a put is due."""
        if self._pending and not self.put_due:
            patches = list(self._pending.values())
            self._pending = {}
            return Frame("patch", patch_frame(patches))
        if self._comment is not None:
            comment, self._comment = self._comment, None
            return Frame("comment", comment)
        if self._progress is not None:
            progress, self._progress = self._progress, None
            return Frame("progress", progress)
        return None

    async def wait(self, seconds: float) -> None:
        """Return when something was put in since the last wait, or after ``seconds``."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
