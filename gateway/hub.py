"""From changed cells to subscribers: reads what changed once, encodes it once, and hands it to everybody who watches.

How no change is missed, and none shown older than before:

1. A subscriber joins its feeds *before* its snapshot is read, so a change during the read is delivered as well.
2. Ticks run one after another, each reading absolute values: within a feed values only grow newer.
3. What a tick delivers is compared with a fresh snapshot, cell by cell (``Subscriber.offer``).
4. A snapshot is shared only until its view's next delivery (``Feed``).
5. When notices may have been lost (stream trimmed, Redis came back older, generation flipped), everybody gets a put.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway import sse
from gateway.directory import OrganizationList
from gateway.feeds import Feed, Feeds
from gateway.following import Following, TablesState
from gateway.images import Batch, Patch, Renderer, Snapshot, View, progress_frame
from gateway.metrics import Metrics
from gateway.subscriber import Subscriber
from gateway.tables import MergedCell, Tables
from schemas.aggregates import CellField
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.identifiers import OrganizationId

logger = logging.getLogger(__name__)

SNAPSHOT_SECONDS: Final = 0.25  # how long newcomers share one; a herd after a deployment comes within that
_BUILDS_AT_ONCE: Final = 16
_RETRY_TICK_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 0.25  # beyond that a screen no longer looks live


class Told(NamedTuple):
    """How far subscribers were told the tables."""

    complete_ms: int | None
    as_of_ms: int | None
    stale: bool


class TablesAway(DependencyUnavailable):
    """No figures can be read just now."""


class Hub:
    """The fan-out of one gateway process."""

    def __init__(
        self,
        tables: Tables,
        renderer: Renderer,
        metrics: Metrics,
        *,
        tick_seconds: float = 0.01,
        progress_seconds: float = 2.0,
    ) -> None:
        self._tables = tables
        self._following = Following(tables, self)
        self._renderer = renderer
        self._metrics = metrics
        self._tick_seconds = tick_seconds
        self._progress_seconds = progress_seconds
        self._subscribers: set[Subscriber] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._feeds = Feeds()
        self._builds = asyncio.Semaphore(_BUILDS_AT_ONCE)
        self._tick = 0
        self._ticks_finished = 0
        self._dirty: dict[OrganizationId, set[CellField]] = {}
        self._dirty_since = 0.0
        self._work = asyncio.Event()
        self._told = Told(None, None, stale=False)

    @property
    def state(self) -> TablesState:
        """How it stands with the tables."""
        return self._following.state

    @property
    def organizations(self) -> OrganizationList | None:
        """The directory; None until it was read for the first time."""
        return self._following.organizations

    @property
    def complete_ms(self) -> int | None:
        """The time before which everything produced is in what subscribers were sent."""
        return self._told.complete_ms

    async def run(self) -> None:
        """Follow the tables and deliver what changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._following.run())
            group.create_task(self._tick_when_needed())
            group.create_task(self._report())

    def subscribe(self, views: Sequence[View]) -> Subscriber:
        """Start delivering these views; ask for ``snapshots`` afterwards. Views are permitted, nothing is checked."""
        subscriber = Subscriber(views)
        self._feeds.join(subscriber)
        self._subscribers.add(subscriber)
        self._empty.clear()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop delivering."""
        self._feeds.leave(subscriber)
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._empty.set()
        self._metrics.merged.inc(subscriber.merged)

    async def until_empty(self) -> None:
        """Return when nobody is subscribed."""
        await self._empty.wait()

    def drain(self, window_seconds: float) -> None:
        """Ask every stream to end, each at a moment of its own within the window."""
        loop = asyncio.get_running_loop()
        for subscriber in self._subscribers:
            loop.call_later(random.random() * window_seconds, subscriber.close, sse.CloseReason.DRAINING)

    async def snapshots(self, views: Sequence[View]) -> list[Snapshot]:
        """Each view as a whole, in order; one build serves all who ask at once.

        Raises:
            TablesAway: the tables are being filled, or cannot be reached.
        """
        if self.state is not TablesState.LIVE:
            raise TablesAway(f"the tables are {self.state.value}")
        try:
            return list(await asyncio.gather(*map(self._snapshot, views)))
        except (RedisError, OSError) as error:
            raise TablesAway(f"Redis did not answer ({type(error).__name__})") from error

    def settled(self, snapshot: Snapshot) -> bool:
        """Whether no patch to come can be older than a snapshot, or repeat it."""
        aged = time.monotonic() - snapshot.read_monotonic >= SNAPSHOT_SECONDS
        return aged and snapshot.tick <= self._ticks_finished

    def progress(self) -> bytes | None:
        """The latest progress frame; None until the tables were read once."""
        told = self._told
        if told.as_of_ms is None:
            return None
        live = self.state is TablesState.LIVE
        return progress_frame(told.complete_ms, told.as_of_ms, live=live, stale=told.stale)

    # What ``Following`` tells.

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of those cells that somebody watches."""
        for organization, names in changes.items():
            if self._feeds.of(OrganizationId(organization)):
                if not self._dirty:
                    self._dirty_since = time.monotonic()
                self._dirty.setdefault(OrganizationId(organization), set()).update(map(CellField, names))
                self._work.set()

    def lost(self) -> None:
        """Send everybody everything anew."""
        self._feeds.start_over()

    def renamed(self, known: OrganizationList, current: OrganizationList) -> None:
        """Send those organizations anew whose name is another."""
        for feed in self._feeds:
            organization = feed.view.organization
            if known.summary(organization) != current.summary(organization):
                feed.snapshot = None
                for subscriber in feed.subscribers:
                    subscriber.request_put()

    def entered(self, state: TablesState) -> None:
        """Tell everybody that the tables came or went."""
        self._metrics.tables_live.set(state is TablesState.LIVE)
        if state is TablesState.LIVE:
            self._note_progress()
        for subscriber in self._subscribers:
            if state is not TablesState.LIVE:
                subscriber.say(sse.WARMING if state is TablesState.WARMING else sse.AWAY)
            subscriber.wake()
        self._tell_progress()

    def turned_stale(self, stale: bool) -> None:
        """Say so at once; that all is there, not before it is delivered."""
        self._metrics.tables_stale.set(stale)
        if stale:
            self._told = Told(None, self._told.as_of_ms, stale=True)
        else:
            self._note_progress()
        self._tell_progress()

    # Delivering.

    async def _tick_when_needed(self) -> None:
        """At once when it was quiet; under load with pauses, so that changes of the same cell become one.

        A pause is as long as the tick before it, so that delivering leaves half of the time for everything else.
        """
        while True:
            await self._work.wait()
            self._work.clear()
            started = time.monotonic()
            try:
                await self._deliver()
            except (RedisError, OSError, ScoreStreamError) as error:
                logger.info("changed cells could not be read yet error=%r", error)
                self._work.set()
                await asyncio.sleep(_RETRY_TICK_SECONDS)
            cost = time.monotonic() - started
            await asyncio.sleep(max(self._tick_seconds, min(cost, _LONGEST_PAUSE_SECONDS)))

    async def _deliver(self) -> None:
        serving = self._following.serving
        if not self._dirty or serving is None:
            return
        dirty, self._dirty = self._dirty, {}
        since, told = self._dirty_since, self._reached()
        self._tick += 1
        batch = Batch(self._tick, sse.Cursor(serving.generation, self._following.reached_ms()), told.stale)
        wanted = [(organization, sorted(names)) for organization, names in dirty.items()]
        try:
            found = await self._tables.read_cells(serving, wanted)
        except BaseException:
            for organization, names in dirty.items():  # still to be told
                self._dirty.setdefault(organization, set()).update(names)
            raise
        finally:
            self._ticks_finished = batch.tick
        if self._following.serving is not serving:
            return  # of a generation that is not served any more; everybody gets a put of the new one
        for (organization, _), cells in zip(wanted, found, strict=True):
            for feed in self._feeds.of(organization):
                self._deliver_to(feed, cells, batch)
        was_stale = self._told.stale
        if told.stale or not self._following.stale():  # otherwise it became stale meanwhile, which was said
            self._told = told
        self._note_progress()
        if was_stale and not self._told.stale:
            self._tell_progress()
        self._metrics.fanout_seconds.observe(time.monotonic() - since)

    def _deliver_to(self, feed: Feed, cells: Mapping[CellField, MergedCell], batch: Batch) -> None:
        visibility = feed.view.visibility
        news = feed.news(
            {name: self._renderer.image(name, merged, visibility) for name, merged in cells.items()}
        )
        if not news:
            return
        self._metrics.cells.inc(len(news))
        feed.snapshot = None
        patch = Patch(feed.view, batch, news)
        for subscriber in feed.subscribers:
            subscriber.offer(patch)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._progress_seconds)
            if self.state is TablesState.LIVE:
                self._note_progress()
            self._tell_progress()

    def _note_progress(self) -> None:
        """What was read is also what was told, as long as nothing waits to be delivered."""
        if not self._dirty and self._ticks_finished == self._tick:
            self._told = self._reached()

    def _reached(self) -> Told:
        following = self._following
        return Told(following.complete_ms(), following.reached_ms(), following.stale())

    def _tell_progress(self) -> None:
        frame = self.progress()
        if frame is None:
            return
        if self._told.complete_ms is not None:
            self._metrics.watermark.set(self._told.complete_ms / 1000)
        for subscriber in self._subscribers:
            subscriber.report(frame)

    # Snapshots.

    async def _snapshot(self, view: View) -> Snapshot:
        feed = self._feeds.watch(view)
        if feed.snapshot is None:
            feed.snapshot = asyncio.create_task(self._build(feed))
            feed.snapshot.add_done_callback(lambda task: self._keep_a_moment(feed, task))
        # Shielded: the build is everybody's, and goes on when the one who asked first hangs up.
        return await asyncio.shield(feed.snapshot)

    async def _build(self, feed: Feed) -> Snapshot:
        serving, view = self._following.serving, feed.view
        if serving is None or self.organizations is None:
            raise TablesAway("the tables have not been read yet")
        cursor = sse.Cursor(serving.generation, self._following.reached_ms())
        stale = self._following.stale()
        async with self._builds:
            cells = await self._tables.read_organization(serving, view.organization)
        if self._following.serving is not serving:
            raise TablesAway("another generation is served from now on")
        self._metrics.snapshots.inc()
        return Snapshot(
            view=view,
            cursor=cursor,
            tick=self._tick,
            read_monotonic=time.monotonic(),
            cells={
                name: self._renderer.image(name, merged, view.visibility) for name, merged in cells.items()
            },
            organization=self.organizations.summary(view.organization),
            stale=stale or self._following.stale(),
        )

    def _keep_a_moment(self, feed: Feed, task: asyncio.Task[Snapshot]) -> None:
        failed = task.cancelled() or task.exception() is not None

        def forget() -> None:
            if feed.snapshot is task:
                feed.snapshot = None
            if not failed and self.settled(task.result()):
                for subscriber in feed.subscribers:
                    subscriber.settle(task.result())
            self._feeds.forget_if_idle(feed)

        if failed:
            forget()
        else:
            # A little later than that, or a coarse timer would find it not settled yet.
            asyncio.get_running_loop().call_later(SNAPSHOT_SECONDS * 1.1, forget)
