"""What one stream is still to be sent: the latest of everything, never a backlog.

A stream has a mailbox only while something waits: its first figures, or a connection that takes nothing just now. Cells wait
by name and are encoded when they leave, so whoever reads slowly gets fewer frames with the latest values, and what can
wait is bounded by what is watched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from gateway import sse
from gateway.frames import WHOLE_BYTES, patch_frame
from gateway.outlets import Outlet
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId


class Part(NamedTuple):
    """What of the outlets that are to be sent whole goes into the next frame."""

    outlets: tuple[Outlet, ...]
    fragments: list[bytes]
    after_ms: int | None  # only what changed after that time; None for everything
    last: bool


class Mailbox:
    """What waits for one stream; the stream asks for it in the order in which it is to be sent."""

    __slots__ = (
        "_missing",
        "challenge",
        "comment",
        "dropped",
        "pending",
        "progress",
        "start",
        "subscribed",
        "whole",
    )

    def __init__(self) -> None:
        self.subscribed = False  # say what the stream is about
        self.dropped: set[OrganizationId] = set()  # and what it is no longer about
        self.challenge = False
        self.comment: bytes | None = None
        self.whole: dict[Outlet, int | None] = {}  # all of these; or what changed after that time
        self.start: sse.Cursor | None = None  # where the first of them was sent; so far all will be known
        self.pending: dict[Outlet, set[CellField]] = {}
        self.progress = False
        self._missing: list[Outlet] = []

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (
            self.subscribed or self.challenge or self.comment or self.whole or self.pending or self.progress
        )

    def add_whole(self, outlets: Iterable[Outlet], after_ms: int | None = None) -> None:
        """Send these whole, whatever was to be sent of them; or what changed after that time."""
        for outlet in outlets:
            self.pending.pop(outlet, None)
            self.whole[outlet] = after_ms
            if not outlet.feed.ready:
                self._missing.append(outlet)

    def restart(self, outlets: Iterable[Outlet]) -> None:
        """Send everything whole, from the beginning."""
        self.whole.clear()
        self.pending.clear()
        self._missing.clear()
        self.start = None
        self.add_whole(outlets)

    def add_changes(self, outlet: Outlet, names: Collection[CellField]) -> bool:
        """Send these cells; whether some of the outlet waited already. What is to be sent whole has them anyway."""
        if outlet in self.whole:
            return False
        waiting = self.pending.get(outlet)
        if waiting is None:
            self.pending[outlet] = set(names)
            return False
        waiting.update(names)
        return True

    def drop(self, outlets: Iterable[Outlet]) -> None:
        """Send nothing more of these."""
        for outlet in outlets:
            self.pending.pop(outlet, None)
            self.whole.pop(outlet, None)

    def missing(self) -> Outlet | None:
        """An outlet that is to be sent whole and is not there yet."""
        while self._missing:
            outlet = self._missing[-1]
            if outlet in self.whole and not outlet.feed.ready:
                return outlet
            self._missing.pop()
        return None

    def take_part(self) -> Part:
        """The next frame's share of what is to be sent whole; all of it has to be there."""
        after_ms = next(iter(self.whole.values()))
        outlets: list[Outlet] = []
        fragments: list[bytes] = []
        size = 0
        for outlet, after in self.whole.items():
            if after != after_ms:
                break
            fragment = outlet.whole() if after is None else outlet.changed_after(after)
            if fragment is not None:
                if fragments and size + len(fragment) > WHOLE_BYTES:
                    break
                fragments.append(fragment)
                size += len(fragment)
            outlets.append(outlet)
        for outlet in outlets:
            del self.whole[outlet]
        return Part(tuple(outlets), fragments, after_ms, last=not self.whole)

    def take_patch(self, cursor: sse.Cursor, *, stale: bool) -> bytes:
        """The next frame of the cells that wait, with their latest values; the id only when no more wait."""
        fragments: list[bytes] = []
        size = 0
        for outlet in list(self.pending):
            if size > WHOLE_BYTES:
                break
            fragments.append(outlet.latest(self.pending.pop(outlet)))
            size += len(fragments[-1])
        return patch_frame(fragments, cursor, stale=stale, last=not self.pending)
