"""Ticks: what changed is read once, encoded once, and handed to everybody who watches it.

At once when it was quiet; under load with pauses, so that changes of the same cell become one. A pause is as long as the
tick before it, so that delivering leaves half of the time for everything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway import sse
from gateway.batches import Batch, Patch
from gateway.bursts import Burst
from gateway.feeds import Feed, Feeds
from gateway.following import Following
from gateway.images import CellImage
from gateway.metrics import Metrics
from gateway.outlets import Outlet
from gateway.progress import Progress, encoded
from gateway.redis_connection import REDIS_AWAY
from gateway.showing import Showing
from gateway.subscriber import Subscriber, deliver_each
from gateway.tables import Tables
from schemas.aggregates import CellField
from schemas.disclosure.published import PublishedCell
from schemas.errors import ScoreStreamError
from schemas.identifiers import OrganizationId, OrganizationLevel, level_of
from schemas.merged_cells import MergedCell, Serving

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 0.25  # beyond that a screen no longer looks live


Names = dict[OrganizationId, set[CellField]]

# Of a tick that streams were written to: next offsets by partition as they were read with the notices, seconds since the first
# of its changes was noticed, organizations that changed, and frames.
TickEnded = Callable[[Mapping[int, int], float, int, int], None]


def nobody_told(applied: Mapping[int, int], seconds: float, organizations: int, frames: int) -> None:
    """The ``TickEnded`` of a gateway that makes no traces."""


class _Read(NamedTuple):
    """What one tick read."""

    exact: list[tuple[OrganizationId, Mapping[CellField, MergedCell]]]
    published: list[tuple[OrganizationId, Mapping[CellField, PublishedCell]]]


class Ticker:
    """Takes changes of watched cells, and delivers them."""

    def __init__(
        self,
        tables: Tables,
        following: Following,
        feeds: Feeds,
        showing: Showing,
        progress: Progress,
        metrics: Metrics,
        *,
        shortest_pause_seconds: float,
        finished: Callable[[Collection[Subscriber] | None], None],
        vanished: Callable[[Feed], None],
        burst: Burst,
        turn: Callable[[], int],
        progress_turns: int,
        ended: TickEnded,
    ) -> None:
        """``turn`` is the wheel's, and ``progress_turns`` how many of them a stream goes without hearing of the progress.

        ``finished`` hears of each tick; when all is there again, so that everybody has to hear of it, who has heard.

        ``vanished`` is told of a feed that has lost published cells: a patch cannot say that.
        """
        self._tables = tables
        self._following = following
        self._feeds = feeds
        self._showing = showing
        self._progress = progress
        self._metrics = metrics
        self._shortest_pause_seconds = shortest_pause_seconds
        self._finished = finished
        self._vanished = vanished
        self._burst = burst
        self._turn = turn
        self._progress_turns = progress_turns
        self._ended = ended
        self._dirty: Names = {}
        self._dirty_published: Names = {}
        self._dirty_since = 0.0
        self._work = asyncio.Event()
        self._under_way = False
        self._epoch = 0
        self._touched: dict[
            Subscriber, tuple[Patch, ...]
        ] = {}  # by the tick under way, and not delivered yet
        self._batch: Batch | None = None
        self._whole_again = False  # with this tick, so that its progress goes to everybody
        self._informed: set[Subscriber] = set()  # they got it with their changes

    @property
    def idle(self) -> bool:
        """Whether all that was noticed is delivered."""
        return not self._dirty and not self._dirty_published and not self._under_way

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of those cells that somebody watches, or that are added up for somebody."""
        for organization, names in changes.items():
            code = OrganizationId(organization)
            if self._feeds.of(code):
                self._note(self._dirty, code, names)
            elif self._feeds.any_summed and (counted := self._added_up(code, names)):
                self._note(self._dirty, code, counted)

    def changed_published(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of those published cells that somebody watches."""
        for organization, names in changes.items():
            code = OrganizationId(organization)
            if self._feeds.masked(code):
                self._note(self._dirty_published, code, names)

    def start_over(self) -> None:
        """Nothing that was read counts any more, and everything is read anew from now on."""
        self._epoch += 1
        self._dirty.clear()
        self._dirty_published.clear()
        self._touched.clear()

    def withhold(self, feeds: Collection[Feed]) -> None:
        """Deliver nothing more of these feeds that was read so far."""
        outlets = {outlet for feed in feeds for outlet in feed.outlets.values()}
        for stream in list(self._touched):
            self.withhold_from(stream, outlets)

    def withhold_from(self, stream: Subscriber, outlets: Container[Outlet]) -> None:
        """The same for one stream, of these views."""
        patches = self._touched.pop(stream, ())
        kept = tuple(patch for patch in patches if patch.outlet not in outlets)
        if kept:
            self._touched[stream] = kept

    def hurry(self, stream: Subscriber) -> None:
        """Deliver now what the tick under way still has for this stream."""
        patches = self._touched.pop(stream, None)
        if not patches or self._batch is None:
            return
        if self._whole_again:
            self._informed.add(stream)
        chunk = stream.take(patches, self._batch, self._whole_again)
        if chunk is not None and stream.line is not None:
            stream.line.write(chunk)
            self._metrics.frames.count("patch")

    def forget(self, stream: Subscriber) -> None:
        """Deliver nothing more to this stream."""
        self._touched.pop(stream, None)

    async def run(self) -> None:
        """Deliver what changes, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            started = time.monotonic()
            try:
                await self._deliver()
                informed, self._informed = self._informed, set()
                self._finished(informed if self._whole_again else None)
            except (*REDIS_AWAY, ScoreStreamError) as error:
                logger.info("changed cells could not be read yet error=%r", error)
                self._work.set()
                await asyncio.sleep(_RETRY_SECONDS)
            cost = time.monotonic() - started
            await asyncio.sleep(max(self._shortest_pause_seconds, min(cost, _LONGEST_PAUSE_SECONDS)))

    async def _deliver(self) -> None:
        self._whole_again = False
        serving = self._following.serving
        if not (self._dirty or self._dirty_published) or serving is None:
            return
        dirty, self._dirty = self._dirty, {}
        published, self._dirty_published = self._dirty_published, {}
        since, told, epoch = self._dirty_since, self._progress.reached(), self._epoch
        self._under_way = True
        try:
            read = await self._read(serving, dirty, published)
            if epoch != self._epoch:
                return  # read before all was lost; everybody gets a put of what is read since
            self._whole_again = self._progress.told.stale and not told.stale
            now = self._turn()
            self._batch = Batch(
                cursor=sse.Cursor(serving.generation, told.as_of_ms or 0),
                stale=told.stale,
                progress=encoded(told, live=True),
                now=now,
                progress_due=now - self._progress_turns,
            )
            self._take_in(read, published)
            informed = self._informed if self._whole_again else None
            written = await deliver_each(self._touched, self._batch, self._burst, informed)
            self._metrics.frames.count("patch", written)
            if written:
                self._observe_age(read)
                self._ended(
                    self._following.applied,
                    time.monotonic() - since,
                    len(read.exact) + len(read.published),
                    written,
                )
            if epoch == self._epoch:
                became_stale = self._following.stale() and not told.stale
                if not became_stale:  # else that was said meanwhile
                    self._progress.note(told)
                self._metrics.fanout_seconds.observe(time.monotonic() - since)
        except BaseException:
            if epoch == self._epoch:
                for missed, noted in ((dirty, self._dirty), (published, self._dirty_published)):
                    for organization, names in missed.items():  # still to be told
                        noted.setdefault(organization, set()).update(names)
            raise
        finally:
            self._under_way = False
            self._batch = None

    async def _read(self, serving: Serving, dirty: Names, published: Names) -> _Read:
        found = _Read([], [])
        if dirty:
            wanted = [(organization, sorted(names)) for organization, names in dirty.items()]
            cells = await self._tables.read_cells(serving, wanted)
            found.exact.extend(zip(dirty, cells, strict=True))
            if self._feeds.any_summed:
                # Whoever is in these totals is in this directory: a worker counts no school that it does not have.
                await self._following.check_directory()
        if published:
            wanted = [(organization, sorted(names)) for organization, names in published.items()]
            held = await self._tables.read_published_cells(wanted)
            found.published.extend(zip(published, held, strict=True))
        return found

    def _observe_age(self, read: _Read) -> None:
        """How old is now what was told; of an organization's cells the oldest change, since a screen shows them together."""
        now_ms = time.time() * 1000
        for _, cells in read.exact:
            if cells:
                oldest_ms = min(cell.changed_ms for cell in cells.values())
                self._metrics.freshness_seconds.observe(max(0.0, now_ms - oldest_ms) / 1000)

    def _take_in(self, read: _Read, published: Names) -> None:
        """Bring the feeds up to date, all at once, and note who is to be told what."""
        self._feeds.shared.clear()
        summed: dict[Feed, set[CellField]] = {}
        for organization, cells in read.exact:
            for feed in self._feeds.of(organization):
                self._spread(feed, self._showing.stored(feed, cells))
            if self._feeds.any_summed and level_of(organization) is OrganizationLevel.DISTRICT:
                for feed in self._feeds.summed_above(organization):
                    changed = self._showing.take_shares(feed, organization, cells)
                    summed.setdefault(feed, set()).update(changed)
        for feed, names in summed.items():
            if names and feed.ready:  # else it has them with all others as soon as it is
                self._spread(feed, self._showing.added_up(feed, names))
        for organization, held in read.published:
            for feed in self._feeds.masked(organization):
                self._spread(feed, self._showing.published(feed, held))
                if feed.drop(published[organization] - held.keys()):
                    self._vanished(feed)

    def _spread(self, feed: Feed, images: Mapping[CellField, CellImage]) -> None:
        news = feed.take(images)
        self._metrics.cells.inc(len(news))
        for outlet in feed.outlets.values() if news else ():
            seen = outlet.narrowed(news)
            if seen:
                self._touch(outlet.streams, Patch(outlet, seen))

    def _added_up(self, organization: OrganizationId, names: Iterable[str]) -> list[CellField]:
        """Those of a district's cells that count for somebody who watches a county or the state."""
        if level_of(organization) is not OrganizationLevel.DISTRICT:
            return []
        above = list(self._feeds.summed_above(organization))
        return [
            name
            for name in map(CellField, names)
            if any(self._showing.counts(feed, organization, name) for feed in above)
        ]

    def _note(self, dirty: Names, organization: OrganizationId, names: Iterable[str]) -> None:
        if not self._dirty and not self._dirty_published:
            self._dirty_since = time.monotonic()
        dirty.setdefault(organization, set()).update(map(CellField, names))
        self._work.set()

    def _touch(self, streams: set[Subscriber], patch: Patch) -> None:
        """Note a patch for all who watch its view; those with the same patches share one tuple of them."""
        touched = self._touched
        both = streams & touched.keys()
        touched |= dict.fromkeys(streams - both, (patch,))
        joined: dict[tuple[Patch, ...], tuple[Patch, ...]] = {}
        for stream in both:
            before = touched[stream]
            touched[stream] = joined.setdefault(before, (*before, patch))
