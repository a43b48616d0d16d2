"""From change notices to subscribers: reads what changed once, encodes it once, and hands it to everybody who watches.

How no change is missed, and none shown older than before:

1. A subscriber joins its feeds *before* its snapshot is read, so a change during the read is delivered as well.
2. Ticks run one after another, each reading absolute values: within a feed values only grow newer.
3. A tick that overlaps a snapshot's read is compared with the snapshot, cell by cell (``Subscriber.offer``).
4. A snapshot is shared only until its view's next delivery (``Feed``).
5. When notices may have been lost (stream trimmed, Redis came back older, generation flipped), everybody gets a put.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec
from redis.exceptions import RedisError

from gateway import sse
from gateway.directory import OrganizationList
from gateway.feeds import Feed, Feeds
from gateway.images import Batch, Patch, Renderer, Snapshot, View, progress_frame
from gateway.metrics import Metrics
from gateway.subscriber import Subscriber
from gateway.tables import Notices, Serving, Tables
from schemas.aggregates import CellField
from schemas.changes import decode_changes
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.identifiers import OrganizationId
from schemas.keys import PartitionKeys

logger = logging.getLogger(__name__)

SNAPSHOT_SECONDS: Final = 0.25  # how long newcomers share one; a herd after a deployment comes within that
_BUILDS_AT_ONCE: Final = 16
_BLOCK_SECONDS: Final = 0.5  # how old "complete as of" may be when nothing happens
_WATCH_SECONDS: Final = 1.0  # how soon a flipped generation or a changed directory is noticed
_WARMING_SECONDS: Final = 0.5
_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0


class HubState(Enum):
    """How the hub stands with the tables."""

    LIVE = "live"
    WARMING = "warming"  # Redis answers; there are no tables yet
    AWAY = "away"


class TablesAway(DependencyUnavailable):
    """No figures can be read just now."""


class _ServingChanged(ScoreStreamError):
    """Another generation, or another number of partitions, is served from now on."""


class Hub:
    """The fan-out of one gateway process."""

    def __init__(
        self,
        tables: Tables,
        renderer: Renderer,
        metrics: Metrics,
        *,
        tick_seconds: float = 0.05,
        progress_seconds: float = 2.0,
    ) -> None:
        self.state = HubState.AWAY
        self.organizations: OrganizationList | None = None
        self.ticks_finished = 0
        self._tables = tables
        self._renderer = renderer
        self._metrics = metrics
        self._tick_seconds = tick_seconds
        self._progress_seconds = progress_seconds
        self._subscribers: set[Subscriber] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._feeds = Feeds()
        self._builds = asyncio.Semaphore(_BUILDS_AT_ONCE)
        self._serving: Serving | None = None
        self._positions: list[bytes | None] = []
        self._reached_ms: list[int] = []  # by partition: every change up to then is delivered or in _dirty
        self._complete_ms: list[int | None] = []
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        self._tick = 0
        self._dirty: dict[OrganizationId, set[CellField]] = {}
        self._dirty_since = 0.0
        self._work = asyncio.Event()
        self._told: tuple[int | None, int | None] = (None, None)  # complete, as of

    # What streams and routes use.

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

    async def snapshots(self, views: Sequence[View]) -> list[Snapshot]:
        """Each view as a whole, in order; one build serves all who ask at once.

        Raises:
            TablesAway: the tables are being filled, or cannot be reached.
        """
        if self.state is not HubState.LIVE:
            raise TablesAway(
                "the tables are being filled" if self.state is HubState.WARMING else "Redis does not answer"
            )
        try:
            return list(await asyncio.gather(*(self._snapshot(view) for view in views)))
        except (RedisError, OSError) as error:
            raise TablesAway(f"Redis did not answer ({type(error).__name__})") from error

    def settled(self, snapshot: Snapshot) -> bool:
        """Whether no patch to come can be older than a snapshot, or repeat it."""
        aged = time.monotonic() - snapshot.read_monotonic >= SNAPSHOT_SECONDS
        return aged and snapshot.tick <= self.ticks_finished

    def progress(self) -> bytes | None:
        """The latest progress frame; None until the tables were read once."""
        return progress_frame(*self._told, live=self.state is HubState.LIVE) if self._told[1] else None

    @property
    def complete_ms(self) -> int | None:
        """The time before which everything produced is in what subscribers were sent."""
        return self._told[0]

    def drain(self, window_seconds: float) -> None:
        """Ask every stream to end, each at a moment of its own within the window."""
        loop = asyncio.get_running_loop()
        for subscriber in self._subscribers:
            loop.call_later(random.random() * window_seconds, subscriber.close, sse.CloseReason.DRAINING)

    # Following the tables.

    async def run(self) -> None:
        """Follow the tables until cancelled; whatever goes wrong with them is mended by going on where we were."""
        while True:
            try:
                await self._follow()
            except* _ServingChanged:
                pass
            except* (RedisError, OSError, ScoreStreamError) as group:
                if self._pause_seconds == _SHORTEST_PAUSE_SECONDS:
                    logger.warning("the tables cannot be followed error=%r", group.exceptions[0])
                self._enter(HubState.AWAY)
            if self.state is HubState.AWAY:
                await asyncio.sleep(self._pause_seconds * random.uniform(0.8, 1.2))
                self._pause_seconds = min(self._pause_seconds * 1.5, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        self.organizations = await self._tables.organizations(self.organizations)
        serving = await self._tables.serving()
        while serving is None:
            self._enter(HubState.WARMING)
            await asyncio.sleep(_WARMING_SECONDS)
            self.organizations = await self._tables.organizations(self.organizations)
            serving = await self._tables.serving()
        await self._begin(serving)
        async with asyncio.TaskGroup() as group:
            for partition, keys in enumerate(serving.partition_keys()):
                group.create_task(self._read_partition(partition, keys))
            group.create_task(self._tick_when_needed())
            group.create_task(self._report())
            group.create_task(self._watch(serving))

    async def _begin(self, serving: Serving) -> None:
        """Take up every partition where we left it; in a generation that is new to us, at its newest notice."""
        known = serving == self._serving
        positions: list[bytes | None] = self._positions if known else [None] * serving.partitions
        keys = serving.partition_keys()
        reads = await asyncio.gather(
            *(self._tables.read_notices(k, p) for k, p in zip(keys, positions, strict=True))
        )
        if not known:
            self._serving = serving
            self._positions = positions
            self._reached_ms = [read.read_ms for read in reads]
            self._complete_ms = [None] * serving.partitions
            self._dirty = {}
            self._feeds.start_over()
        for partition, read in enumerate(reads):
            self._take_in(partition, read)
        self._told = (self._complete(), self._reached())
        self._enter(HubState.LIVE)
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        logger.info(
            "following the tables generation=%s partitions=%d", serving.generation, serving.partitions
        )

    async def _read_partition(self, partition: int, keys: PartitionKeys) -> None:
        while True:
            last = self._positions[partition]
            assert last is not None
            await self._tables.wait_for_notice(keys, last, _BLOCK_SECONDS)
            more = True
            while more:
                read = await self._tables.read_notices(keys, self._positions[partition])
                self._take_in(partition, read)
                more = read.more

    def _take_in(self, partition: int, read: Notices) -> None:
        lost = read.gap
        for packed in read.packed:
            try:
                self._note(decode_changes(packed))
            except msgspec.MsgspecError:
                lost = True
        if lost:
            logger.warning("change notices were lost, sending everything anew partition=%d", partition)
            self._feeds.start_over()
        self._positions[partition] = read.last
        if not read.more:
            self._reached_ms[partition] = read.read_ms
            self._complete_ms[partition] = read.complete_ms

    def _note(self, changes: Mapping[str, Sequence[str]]) -> None:
        for organization, names in changes.items():
            if self._feeds.of(OrganizationId(organization)):
                if not self._dirty:
                    self._dirty_since = time.monotonic()
                self._dirty.setdefault(OrganizationId(organization), set()).update(map(CellField, names))
                self._work.set()

    async def _tick_when_needed(self) -> None:
        """At once when it was quiet; under load every so often, so that changes of the same cell become one."""
        while True:
            await self._work.wait()
            self._work.clear()
            started = time.monotonic()
            await self._deliver()
            await asyncio.sleep(max(0.0, started + self._tick_seconds - time.monotonic()))

    async def _deliver(self) -> None:
        assert self._serving is not None
        dirty, self._dirty = self._dirty, {}
        since, told = self._dirty_since, (self._complete(), self._reached())
        self._tick += 1
        batch = Batch(self._tick, sse.Cursor(self._serving.generation, told[1]))
        try:
            wanted = [(organization, sorted(names)) for organization, names in dirty.items()]
            found = await self._tables.read_cells(self._serving, wanted)
        except BaseException:
            for organization, names in dirty.items():  # still to be told
                self._dirty.setdefault(organization, set()).update(names)
            self._work.set()
            self.ticks_finished = batch.tick
            raise
        for (organization, _), cells in zip(wanted, found, strict=True):
            for feed in self._feeds.of(organization):
                images = {
                    name: self._renderer.image(name, merged, feed.view.visibility)
                    for name, merged in cells.items()
                }
                news = feed.news(images)
                if news:
                    self._metrics.cells.inc(len(news))
                    feed.snapshot = None
                    patch = Patch(feed.view, batch, news)
                    for subscriber in feed.subscribers:
                        subscriber.offer(patch)
        self.ticks_finished = batch.tick
        self._told = told
        self._metrics.fanout_seconds.observe(time.monotonic() - since)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._progress_seconds)
            if not self._dirty and self.ticks_finished == self._tick:
                self._told = (self._complete(), self._reached())
            self._tell_progress()

    async def _watch(self, serving: Serving) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if await self._tables.serving() != serving:
                raise _ServingChanged("another generation is served")
            known = self.organizations
            self.organizations = await self._tables.organizations(known)
            if known is not None and self.organizations is not known:
                self._tell_renamed(known, self.organizations)

    def _tell_renamed(self, known: OrganizationList, current: OrganizationList) -> None:
        for feed in self._feeds:
            organization = feed.view.organization
            if known.summary(organization) != current.summary(organization):
                feed.snapshot = None
                for subscriber in feed.subscribers:
                    subscriber.request_put()

    async def _snapshot(self, view: View) -> Snapshot:
        feed = self._feeds.watch(view)
        if feed.snapshot is None:
            feed.snapshot = asyncio.create_task(self._build(feed))
            feed.snapshot.add_done_callback(lambda task: self._keep_a_moment(feed, task))
        # Shielded: the build is everybody's, and goes on when the one who asked first hangs up.
        return await asyncio.shield(feed.snapshot)

    async def _build(self, feed: Feed) -> Snapshot:
        serving, cursor_ms, view = self._serving, self._reached(), feed.view
        assert serving is not None and self.organizations is not None
        async with self._builds:
            cells = await self._tables.read_organization(serving, view.organization)
        if self._serving is not serving:
            raise TablesAway("another generation is served from now on")
        self._metrics.snapshots.inc()
        return Snapshot(
            view=view,
            cursor=sse.Cursor(serving.generation, cursor_ms),
            tick=self._tick,
            read_monotonic=time.monotonic(),
            cells={
                name: self._renderer.image(name, merged, view.visibility) for name, merged in cells.items()
            },
            organization=self.organizations.summary(view.organization),
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

    def _enter(self, state: HubState) -> None:
        if state is self.state:
            return
        self.state = state
        self._metrics.tables_live.set(state is HubState.LIVE)
        for subscriber in self._subscribers:
            if state is not HubState.LIVE:
                subscriber.say(sse.WARMING if state is HubState.WARMING else sse.AWAY)
            subscriber.wake()
        self._tell_progress()

    def _tell_progress(self) -> None:
        frame = self.progress()
        if frame is None:
            return
        if self._told[0] is not None:
            self._metrics.watermark.set(self._told[0] / 1000)
        for subscriber in self._subscribers:
            subscriber.report(frame)

    def _reached(self) -> int:
        return min(self._reached_ms)

    def _complete(self) -> int | None:
        known = [moment for moment in self._complete_ms if moment is not None]
        return min(known) if len(known) == len(self._complete_ms) else None
