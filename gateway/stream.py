"""One stream from its first byte to its ``bye``: what is sent, in which order, and when it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from gateway import sse
from gateway.following import TablesState
from gateway.hub import Hub, TablesAway
from gateway.images import Batch, Snapshot, View, patch_frame, put_frames
from gateway.metrics import Metrics
from gateway.subscriber import Frame, Subscriber

# Two clocks that differ, or a tick under way while the id was written: what lies this close before an id is sent again.
RESUME_MARGIN_MS = 2_000
_RETRY_SNAPSHOT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long streams live and how often they give a sign."""

    max_age_seconds: float = 600.0
    heartbeat_seconds: float = 15.0
    send_timeout_seconds: float = 10.0


@dataclass(slots=True)
class Stream:
    """One subscriber's stream; ``frames`` is consumed once, ``reason`` says afterwards why it ended."""

    hub: Hub
    views: Sequence[View]
    cursor: sse.Cursor | None
    token_seconds: float  # how long the token still holds
    limits: StreamLimits
    metrics: Metrics
    reason: sse.CloseReason = sse.CloseReason.CLIENT_GONE
    _said_waiting: bool = field(default=False, init=False)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The stream's bytes, frame by frame."""
        loop = asyncio.get_running_loop()
        # Everybody's own age, or a deployment's herd would come back together for ever.
        age = self.limits.max_age_seconds * random.uniform(0.8, 1.2)
        ends = loop.time() + min(age, self.token_seconds)
        ending = sse.CloseReason.MAX_AGE if age < self.token_seconds else sse.CloseReason.TOKEN_EXPIRED
        yield sse.opening(sse.retry_milliseconds(random.random()))
        subscriber = self.hub.subscribe(self.views)
        try:
            while True:
                if loop.time() >= ends:
                    subscriber.close(ending)
                if subscriber.closing is not None:
                    self.reason = subscriber.closing
                    yield self._count(Frame("bye", _goodbye(self.reason)))
                    return
                if subscriber.put_due and self.hub.state is TablesState.LIVE:
                    for frame in await self._whole(subscriber):
                        yield self._count(frame)
                    continue
                if not subscriber.put_due or self._said_waiting:
                    frame_due = subscriber.take()
                else:
                    self._said_waiting = True
                    frame_due = Frame("comment", self._waiting())
                if frame_due is None:
                    idle_since = loop.time()
                    await subscriber.wait(min(self.limits.heartbeat_seconds, ends - idle_since))
                    if loop.time() - idle_since >= self.limits.heartbeat_seconds:
                        frame_due = Frame("heartbeat", sse.HEARTBEAT)
                if frame_due is not None:
                    yield self._count(frame_due)
        finally:
            self.hub.unsubscribe(subscriber)

    async def _whole(self, subscriber: Subscriber) -> list[Frame]:
        """Where the subscriber stands from now on: everything, or what it has missed."""
        subscriber.put_due = False
        try:
            snapshots = await self.hub.snapshots(self.views)
        except TablesAway:
            subscriber.put_due = True
            await subscriber.wait(_RETRY_SNAPSHOT_SECONDS)
            return []
        subscriber.begin(snapshots, self.hub.settled)
        frames = self._resumed(snapshots)
        if frames is None:
            frames = [Frame("put", encoded) for encoded in put_frames(snapshots)]
        self.cursor = None  # it counts for the first time only
        progress = self.hub.progress()
        return [*frames, Frame("progress", progress)] if progress else frames

    def _resumed(self, snapshots: Sequence[Snapshot]) -> list[Frame] | None:
        """What changed since the id that the subscriber came with; None when that is not known."""
        if self.cursor is None:
            return None
        upto = min((snapshot.cursor for snapshot in snapshots), key=lambda cursor: cursor.milliseconds)
        known = self.cursor.generation == upto.generation
        # An id from the future is forged, or was given out before Redis lost what it counts.
        if not known or self.cursor.milliseconds > upto.milliseconds + RESUME_MARGIN_MS:
            self.metrics.resumes.labels("put").inc()
            return None
        self.metrics.resumes.labels("patch").inc()
        batch = Batch(tick=0, cursor=upto, stale=any(snapshot.stale for snapshot in snapshots))
        since = self.cursor.milliseconds - RESUME_MARGIN_MS
        changed = [patch for snapshot in snapshots if (patch := snapshot.changed_after(since, batch))]
        return [Frame("patch", patch_frame(changed))] if changed else []

    def _waiting(self) -> bytes:
        return sse.WARMING if self.hub.state is TablesState.WARMING else sse.AWAY

    def _count(self, frame: Frame) -> bytes:
        self.metrics.frames.labels(frame.kind).inc()
        return frame.encoded


def _goodbye(reason: sse.CloseReason) -> bytes:
    return sse.bye(reason, sse.retry_milliseconds(random.random()))


def farewell(reason: sse.CloseReason) -> bytes:
    """A whole stream that only says: not now. A status other than 200 would end a browser's EventSource for good."""
    retry = sse.retry_milliseconds(random.random(), low=15_000, high=30_000)
    return sse.opening(retry) + sse.bye(reason, retry)
