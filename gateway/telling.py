"""What one stream sends, and in which order: first everything, then each change; the latest when it cannot be at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from gateway import sse
from gateway.batches import Batch, Patch
from gateway.following import TablesState
from gateway.frames import challenge_frame, patch_frame, put_frame, subscribed_frame
from gateway.hub import Hub
from gateway.lines import Chunk, Line
from gateway.mailbox import Mailbox
from gateway.metrics import Metrics
from gateway.outlets import Outlet
from gateway.tokens import Principal
from gateway.watched import Watched, mark_of
from gateway.wheel import NEVER
from schemas.access.permissions import VisibilityClass

# Two clocks that differ, or a tick under way while the id was written: what lies this close before an id is sent again.
RESUME_MARGIN_MS: Final = 2_000


class Telling(ABC):
    """The sending half of a stream. All calls come from the event loop and return at once.

    It has no mailbox while everything was sent; then a tick's bytes go straight to the line.
    """

    __slots__ = (
        "_blocked_since",
        "_box",
        "_challenge_at",
        "_challenge_pending",
        "_ended",
        "_hub",
        "_informed",
        "_mark",
        "_metrics",
        "_outlets",
        "_resume",
        "_since_ms",
        "_spoke",
        "id",
        "line",
        "principal",
        "subscription",
    )

    def __init__(
        self,
        hub: Hub,
        subscription: Watched,
        principal: Principal,
        metrics: Metrics,
        stream_id: str,
        cursor: sse.Cursor | None,
        since_ms: int | None,
    ) -> None:
        self.id = stream_id
        self.principal = principal
        self.subscription = subscription
        self._hub = hub
        self._metrics = metrics
        self.line: Line | None = None
        self._outlets: tuple[Outlet, ...] = ()
        self._mark = ""  # names the views where the stream's address does not
        self._resume = cursor
        self._since_ms = since_ms
        self._box: Mailbox | None = None
        # The turn since which the line takes nothing; ended streams count as blocked.
        self._blocked_since = NEVER
        self._ended = False
        self._spoke = 0  # the turn of the last write
        self._informed = 0  # the turn of the last progress

    # What the hub tells.

    def take(self, patches: tuple[Patch, ...], batch: Batch, progress: bool) -> Chunk | None:
        """What the caller is to write of the tick's changes; None when the latest of them wait for something else."""
        if self._box is None and self._blocked_since == NEVER:
            now = batch.now
            if progress or self._informed <= batch.progress_due:
                progress = True
                self._informed = now
                self._metrics.frames.count("progress")
            self._spoke = now
            return batch.chunk(patches, self._mark, progress)
        if not self._ended:
            box = self._mailbox()
            for patch in patches:
                if box.add_changes(patch.outlet, patch.cells):
                    self._metrics.merged.inc()
            box.progress |= progress
        return None

    def report(self, progress: Chunk, *, urgent: bool) -> None:
        """Send the latest progress, if it is urgent or due."""
        now = self._hub.wheel.now
        if not urgent and now - self._informed < self._hub.progress_turns:
            return
        if self._box is None and self._blocked_since == NEVER:
            self._informed = now
            self._metrics.frames.count("progress")
            self._write(progress)
        elif not self._ended:
            self._mailbox().progress = True
            self.pump()

    def say(self, comment: bytes) -> None:
        """Send a comment."""
        if not self._ended:
            self._mailbox().comment = comment
            self.pump()

    def put_again(self, outlets: Iterable[Outlet]) -> None:
        """Send these whole once more."""
        if not self._ended:
            self._mailbox().add_whole(outlets)
            self.pump()

    def withdraw(self) -> None:
        """Drop what was sent and is still here, and the connection with it; its client comes back for the rest."""
        if self.line is not None and not self._ended and self.line.unsent():
            self.drop()

    def start_over(self) -> None:
        """Send everything whole."""
        if not self._ended:
            self._mailbox().restart(self._outlets)
            self.pump()

    def pump(self) -> None:
        """Send what waits, as long as the line takes it."""
        while (box := self._box) is not None and self._blocked_since == NEVER:
            announcements = self._announcements(box)
            chunk = Chunk(announcements) if announcements else self._figures(box)
            if chunk is None:
                if box.empty():
                    self._box = None
                return
            self._write(chunk)

    @abstractmethod
    def drop(self) -> None:
        """End the stream without a ``bye``, and without what is still to be sent."""

    @abstractmethod
    def fail(self) -> None:
        """End the stream: there is a fault in serving it."""

    # Frames.

    def _announcements(self, box: Mailbox) -> bytes:
        said: list[bytes] = []
        expires_ms = int(self.principal.expires.timestamp() * 1000)
        if box.subscribed:
            said.append(
                subscribed_frame(
                    self.id,
                    self.subscription.described(),
                    organizations=len({outlet.feed.organization for outlet in self._outlets}),
                    expires_ms=expires_ms,
                    dropped=box.dropped,
                )
            )
            box.subscribed, box.dropped = False, set()
            self._metrics.frames.count("subscribed")
        if box.challenge:
            said.append(challenge_frame(self.id, expires_ms=expires_ms))
            box.challenge = False
            self._metrics.frames.count("challenge")
        if box.comment is not None:
            said.append(box.comment)
            box.comment = None
            self._metrics.frames.count("comment")
        return b"".join(said)

    def _figures(self, box: Mailbox) -> Chunk | None:
        cursor = self._hub.cursor
        if box.whole:
            if cursor is not None and self._hub.state is TablesState.LIVE and not self._waits(box):
                chunk = self._whole(box, cursor)
                if chunk is not None:
                    return chunk
        elif box.pending and cursor is not None:
            return self._latest(box, cursor)
        if not box.progress:
            return None
        box.progress = False
        progress = self._hub.progress()
        if progress is not None:
            self._informed = self._hub.wheel.now
            self._metrics.frames.count("progress")
        return progress

    def _waits(self, box: Mailbox) -> bool:
        missing = box.missing()
        if missing is not None:
            missing.feed.waiting.add(self)
        return missing is not None

    def _whole(self, box: Mailbox, cursor: sse.Cursor) -> Chunk | None:
        """The next frame of what is to be sent whole; None when that is nothing."""
        if box.start is None:
            box.start = cursor.marked(self._mark)
            after_ms = self._resume_after(cursor)
            if after_ms is not None:
                # What is published may cease to be, and a patch does not say so.
                box.whole = {
                    outlet: None if outlet.view.visibility is VisibilityClass.MASKED else after_ms
                    for outlet in box.whole
                }
        start, stale = box.start, self._hub.stale
        part = box.take_part()
        while not part.fragments and not part.last:
            part = box.take_part()
        if part.last:
            box.start = None
            box.progress = True
        if not part.fragments:
            return None
        if part.after_ms is not None:
            self._metrics.frames.count("patch")
            return Chunk(patch_frame(part.fragments, start, stale=stale, last=part.last))
        self._metrics.frames.count("put")
        key = (part.outlets, start, stale, part.last)
        chunk = self._hub.shared.get(key)
        if chunk is None:
            chunk = Chunk(put_frame(part.fragments, start, stale=stale, last=part.last))
            self._hub.shared[key] = chunk
        return chunk

    def _latest(self, box: Mailbox, cursor: sse.Cursor) -> Chunk:
        self._metrics.frames.count("patch")
        frame = box.take_patch(cursor.marked(self._mark), stale=self._hub.stale)
        progress = self._hub.progress() if box.progress and not box.pending else None
        if progress is None:
            return Chunk(frame)
        box.progress = False
        self._informed = self._hub.wheel.now
        self._metrics.frames.count("progress")
        return Chunk(frame + progress.raw)

    def _resume_after(self, cursor: sse.Cursor) -> int | None:
        """Only what changed after this time is news to the client; None when that is not known."""
        came_with, self._resume = self._resume, None
        since_ms, self._since_ms = self._since_ms, None
        resumable = self._hub.resumable_from_ms
        if came_with is None:
            return since_ms if since_ms is not None and since_ms > resumable else None
        # An id from the future is forged, or was given out before Redis lost what it counts.
        known = (
            came_with.generation == cursor.generation
            and resumable < came_with.milliseconds <= cursor.milliseconds + RESUME_MARGIN_MS
            and came_with.mark in (self._mark, mark_of(outlet.view for outlet in self._outlets))
        )
        self._metrics.resumes.labels("patch" if known else "put").inc()
        return came_with.milliseconds - RESUME_MARGIN_MS if known else None

    def _write(self, chunk: Chunk) -> None:
        assert self.line is not None
        self._spoke = self._hub.wheel.now
        self.line.write(chunk)

    def _mailbox(self) -> Mailbox:
        if self._box is None:
            self._box = Mailbox()
        return self._box
