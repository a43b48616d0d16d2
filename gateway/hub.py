"""From changed cells to subscribers: reads what changed once, encodes it once, and hands it to everybody who watches.

How no change is missed, and none shown older than before:

1. A feed is in ``Feeds`` *before* it is read as a whole, so a change during the read reaches it by a tick; read and ticks
   are merged cell by cell, and the later one stays (``Feed.take``).
2. Ticks run one after another, each reading absolute values: a feed only grows newer.
3. A tick brings all its feeds up to date in one step, and only then tells anybody. Whoever is sent a view whole, before
   or after, is sent the feed as it stands; so what a tick tells is never older than a put, though it may repeat one.
4. A cursor is where the last finished tick was (``Progress``): everything up to it is in every feed that is ready, and was
   sent, or waits by name in a mailbox. What is sent in several frames carries the cursor of its beginning, on its last.
5. When notices may have been lost (stream trimmed, Redis came back older, generation flipped), an epoch begins: feeds are
   emptied and read again, reads of before do not count, and everybody gets a put.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from gateway import sse
from gateway.audience import SLOTS, Audience
from gateway.bursts import Burst
from gateway.feeds import Feeds
from gateway.following import RELEASE_MARGIN_MS, Following, TablesAway, TablesState
from gateway.images import Renderer, Snapshot, View
from gateway.lines import Chunk
from gateway.loading import Loader
from gateway.metrics import Metrics
from gateway.outlets import Outlet
from gateway.progress import Progress
from gateway.reopening import Reopening
from gateway.showing import Showing
from gateway.snapshots import Snapshots
from gateway.subscriber import Pumped, Subscriber
from gateway.tables import Tables
from gateway.ticking import TickEnded, Ticker, nobody_told
from gateway.wheel import Wheel, turns
from schemas.access.visibility import Visibility
from schemas.assessments import AssessmentLookup
from schemas.organization_list import OrganizationList
from schemas.releases import Releases

_SWEEP_SECONDS: Final = 5.0


class Hub:
    """The fan-out of one gateway process."""

    def __init__(
        self,
        tables: Tables,
        assessments: AssessmentLookup,
        metrics: Metrics,
        *,
        tick_seconds: float = 0.01,
        progress_seconds: float = 2.0,
        burst: Burst | None = None,
        tick_ended: TickEnded = nobody_told,
    ) -> None:
        """``burst`` writes what a tick sends; without it each line is written to by itself."""
        self.wheel = Wheel()
        # Changes take the progress with them when it is half due, and the turn of who was told so lately is passed over.
        self.progress_turns = max(1, turns(progress_seconds) // 2)
        self._metrics = metrics
        self._progress_seconds = progress_seconds
        self._held_back = True  # there is no cursor, and so nothing is told
        self._feeds = Feeds()
        self._following = Following(tables, self, published=True)
        self._showing = showing = Showing(self._following, Renderer(assessments), assessments)
        self._progress = Progress(self._following)
        self._audience = Audience(self.progress)
        self._loader = Loader(tables, self._following, self._feeds, showing, metrics, self._filled)
        self._ticker = Ticker(
            tables,
            self._following,
            self._feeds,
            showing,
            self._progress,
            metrics,
            shortest_pause_seconds=tick_seconds,
            finished=self._ticked,
            vanished=lambda feed: self._reopening.send_again(feed.outlets.values()),
            burst=burst or Burst(),
            ended=tick_ended,
            turn=lambda: self.wheel.now,
            progress_turns=self.progress_turns,
        )
        self._snapshots = Snapshots(self._following, self._feeds, self._loader, self._progress)
        self._reopening = Reopening(self._feeds, self._ticker, self._loader, showing)

    @property
    def state(self) -> TablesState:
        """How it stands with the tables."""
        return self._following.state

    @property
    def organizations(self) -> OrganizationList | None:
        """The directory; None until it was read for the first time."""
        return self._following.organizations

    @property
    def directory(self) -> OrganizationList:
        """The directory.

        Raises:
            TablesAway: it has not been read yet.
        """
        if self._following.organizations is None:
            raise TablesAway("the directory of organizations has not been read yet")
        return self._following.organizations

    @property
    def releases(self) -> Releases:
        """The release states.

        Raises:
            TablesAway: they have not been read yet.
        """
        if self._following.releases is None:
            raise TablesAway("the release states have not been read yet")
        return self._following.releases

    @property
    def visibility(self) -> Visibility:
        """What each class sees now.

        Raises:
            TablesAway: release states and directory have not been read yet.
        """
        return self._showing.visibility

    @property
    def resumable_from_ms(self) -> int:
        """Ids of before do not tell what their holders may see now: a release state may have changed since."""
        releases = self._following.releases
        return releases.changed_ms + RELEASE_MARGIN_MS if releases is not None and releases.changed_ms else 0

    @property
    def complete_ms(self) -> int | None:
        """The time before which everything produced is in what subscribers were sent."""
        return self._progress.told.complete_ms

    @property
    def cursor(self) -> sse.Cursor | None:
        """Where all subscribers stand; None while that is not known."""
        return self._progress.cursor

    @property
    def stale(self) -> bool:
        """Whether older results are missing from the figures."""
        return self._progress.told.stale

    @property
    def shared(self) -> dict[object, Chunk]:
        """Frames made for one subscriber that others may get as well, until a feed changes."""
        return self._feeds.shared

    def look(self) -> None:
        """Release states may have changed: find out now."""
        self._following.look()

    def progress(self) -> Chunk | None:
        """The latest progress frame; None until the tables were read once."""
        return self._progress.chunk()

    async def run(self) -> None:
        """Follow the tables and deliver what changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._following.run())
            group.create_task(self._ticker.run())
            group.create_task(self._loader.run())
            group.create_task(self._audience.run())
            group.create_task(self.wheel.run())
            group.create_task(self._report())
            group.create_task(self._sweep())

    # What streams and routes ask for.

    def enter(self, stream: Subscriber, views: Iterable[View]) -> tuple[Outlet, ...]:
        """Deliver these views from now on. They are permitted; nothing is checked."""
        self._audience.enter(stream)
        return self._join(stream, views)

    def exchange(
        self, stream: Subscriber, outlets: Collection[Outlet], views: Collection[View]
    ) -> tuple[Outlet, ...]:
        """Deliver these views instead of what the outlets deliver; what a tick still has of them goes first."""
        wanted = {self._feeds.outlet(view) for view in views}
        self._ticker.withhold_from(stream, {outlet for outlet in outlets if outlet not in wanted})
        self._ticker.hurry(stream)
        self._feeds.leave(stream, outlets)
        return self._join(stream, views)

    def leave(self, stream: Subscriber, outlets: Iterable[Outlet]) -> None:
        """Stop delivering."""
        self._ticker.forget(stream)
        self._feeds.leave(stream, outlets)
        self._audience.leave(stream)

    async def until_empty(self) -> None:
        """Return when nobody is subscribed."""
        await self._audience.until_empty()

    def drain(self, window_seconds: float) -> None:
        """Ask every stream to end, each at a moment of its own within the window."""
        self._audience.drain(window_seconds)

    async def snapshots(self, views: Sequence[View]) -> list[Snapshot]:
        """Each view as a whole, in order, from memory when somebody watches it or has done so just now.

        Raises:
            TablesAway: the tables are being filled, or cannot be reached.
        """
        return await self._snapshots.take(views)

    # What ``Following`` tells.

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of those cells that somebody watches."""
        self._ticker.changed(changes)

    def changed_published(self, changes: Mapping[str, Sequence[str]]) -> None:
        """The same of what is published."""
        self._ticker.changed_published(changes)

    def released(self, known: Releases, current: Releases) -> None:
        """Let those who watch what it is about see what they may see now."""
        self._reopening.released(known, current)

    def lost(self) -> None:
        """Send everybody everything anew."""
        self._ticker.start_over()
        self._feeds.start_over()
        self._progress.forget()
        self._held_back = True
        for feed in self._feeds:
            self._loader.want(feed)
        for stream in self._audience:
            stream.start_over()

    def renamed(self, known: OrganizationList, current: OrganizationList) -> None:
        """Send those organizations anew whose name is another; let subtrees follow."""
        self._reopening.renamed(known, current, self._following.releases)
        self._audience.follow_directory()

    def entered(self, state: TablesState) -> None:
        """Tell everybody that the tables came or went."""
        self._metrics.tables_live.set(state is TablesState.LIVE)
        if state is TablesState.LIVE:
            self._note_progress()
            self._loader.wake()
            self._audience.pump(self._audience)
        else:
            self._loader.refuse(TablesAway(f"the tables are {state.value}"))
            self._audience.say(sse.WARMING if state is TablesState.WARMING else sse.AWAY)
        self._tell_progress()

    def turned_stale(self, stale: bool) -> None:
        """Say so at once; that all is there, not before it is delivered."""
        self._metrics.tables_stale.set(stale)
        if stale:
            self._progress.note_stale()
        elif self._ticker.idle:
            self._note_progress()
        else:
            return  # the tick that brings the last of it says so
        self._tell_progress()

    # What is told.

    def _ticked(self, informed: Collection[Subscriber] | None) -> None:
        self._note_first_progress()
        self._let_begin()
        if informed is not None:
            self._tell_progress(informed)

    def _filled(self, streams: Iterable[Pumped]) -> None:
        """A feed is ready that these waited for."""
        self._audience.pump(streams)
        self._note_first_progress()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._progress_seconds / SLOTS)
            if self.state is TablesState.LIVE:
                self._note_progress()
            self._note_watermark()
            self._audience.remind()

    def _note_first_progress(self) -> None:
        """Nothing is told after all was lost until it is known how far; that need not wait for the next report."""
        if self._progress.cursor is None and self.state is TablesState.LIVE:
            self._note_progress()

    def _note_progress(self) -> None:
        """What was read is also what was told, as long as nothing waits to be delivered."""
        if self._ticker.idle and self._following.serving is not None:
            self._progress.note(self._progress.reached())
            self._let_begin()

    def _let_begin(self) -> None:
        """Those who could be told nothing, because it was not known how far, can go on when it is."""
        if self._held_back and self.cursor is not None:
            self._held_back = False
            self._audience.pump(self._audience)

    def _tell_progress(self, informed: Collection[Subscriber] = ()) -> None:
        """Everybody hears of it now, but for those who have."""
        self._note_watermark()
        self._audience.tell_progress(informed)

    def _note_watermark(self) -> None:
        complete_ms = self._progress.told.complete_ms
        if complete_ms is not None:
            self._metrics.watermark.set(complete_ms / 1000)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._feeds.sweep()

    def _join(self, stream: Subscriber, views: Iterable[View]) -> tuple[Outlet, ...]:
        outlets = tuple(self._feeds.outlet(view) for view in views)
        for outlet in outlets:
            outlet.streams.add(stream)
            self._loader.want(outlet.feed)
        return outlets
