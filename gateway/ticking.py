"""Ticks: what changed is read once, encoded once, and handed to everybody who watches it.

At once when it was quiet; under load with pauses, so that changes of the same cell become one. A pause is as long as the
tick before it, so that delivering leaves half of the time for everything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from gateway import sse
from gateway.batches import Batch, Patch
from gateway.feeds import Feeds
from gateway.following import Following
from gateway.images import Renderer
from gateway.metrics import Metrics
from gateway.progress import Progress, encoded
from gateway.redis_connection import REDIS_AWAY
from gateway.subscriber import Subscriber, for_each
from gateway.tables import MergedCell, Tables
from schemas.aggregates import CellField
from schemas.errors import ScoreStreamError
from schemas.identifiers import OrganizationId

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 0.25  # beyond that a screen no longer looks live


class Ticker:
    """Takes changes of watched cells, and delivers them."""

    def __init__(
        self,
        tables: Tables,
        following: Following,
        feeds: Feeds,
        renderer: Renderer,
        progress: Progress,
        metrics: Metrics,
        *,
        shortest_pause_seconds: float,
        finished: Callable[[Collection[Subscriber] | None], None],
    ) -> None:
        """``finished`` hears of each tick; when all is there again, so that everybody has to hear of it, who has heard."""
        self._tables = tables
        self._following = following
        self._feeds = feeds
        self._renderer = renderer
        self._progress = progress
        self._metrics = metrics
        self._shortest_pause_seconds = shortest_pause_seconds
        self._finished = finished
        self._dirty: dict[OrganizationId, set[CellField]] = {}
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
        return not self._dirty and not self._under_way

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of those cells that somebody watches."""
        for organization, names in changes.items():
            if self._feeds.of(OrganizationId(organization)):
                if not self._dirty:
                    self._dirty_since = time.monotonic()
                self._dirty.setdefault(OrganizationId(organization), set()).update(map(CellField, names))
                self._work.set()

    def start_over(self) -> None:
        """Nothing that was read counts any more, and everything is read anew from now on."""
        self._epoch += 1
        self._dirty.clear()
        self._touched.clear()

    def hurry(self, stream: Subscriber) -> None:
        """Deliver now what the tick under way still has for this stream."""
        patches = self._touched.pop(stream, None)
        if patches and self._batch is not None:
            if self._whole_again:
                self._informed.add(stream)
            stream.deliver(patches, self._batch, self._whole_again)

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
        if not self._dirty or serving is None:
            return
        dirty, self._dirty = self._dirty, {}
        since, told, epoch = self._dirty_since, self._progress.reached(), self._epoch
        wanted = [(organization, sorted(names)) for organization, names in dirty.items()]
        self._under_way = True
        try:
            found = await self._tables.read_cells(serving, wanted)
            if epoch != self._epoch:
                return  # read before all was lost; everybody gets a put of what is read since
            self._whole_again = self._progress.told.stale and not told.stale
            self._batch = Batch(
                sse.Cursor(serving.generation, told.as_of_ms or 0), told.stale, encoded(told, live=True)
            )
            self._take_in(zip((organization for organization, _ in wanted), found, strict=True))
            await for_each(self._touched, self.hurry)
            if epoch == self._epoch:
                became_stale = self._following.stale() and not told.stale
                if not became_stale:  # else that was said meanwhile
                    self._progress.note(told)
                self._metrics.fanout_seconds.observe(time.monotonic() - since)
        except BaseException:
            if epoch == self._epoch:
                for organization, names in dirty.items():  # still to be told
                    self._dirty.setdefault(organization, set()).update(names)
            raise
        finally:
            self._under_way = False
            self._batch = None

    def _take_in(self, found: Iterable[tuple[OrganizationId, Mapping[CellField, MergedCell]]]) -> None:
        """Bring the feeds up to date, all at once, and note who is to be told what."""
        self._feeds.shared.clear()
        for organization, cells in found:
            for feed in self._feeds.of(organization):
                news = feed.take(
                    {
                        name: self._renderer.image(name, merged, feed.visibility)
                        for name, merged in cells.items()
                    }
                )
                self._metrics.cells.inc(len(news))
                for outlet in feed.outlets.values() if news else ():
                    seen = outlet.narrowed(news)
                    if seen:
                        self._touch(outlet.streams, Patch(outlet, seen))

    def _touch(self, streams: set[Subscriber], patch: Patch) -> None:
        """Note a patch for all who watch its view; those with the same patches share one tuple of them."""
        touched = self._touched
        both = streams & touched.keys()
        touched |= dict.fromkeys(streams - both, (patch,))
        joined: dict[tuple[Patch, ...], tuple[Patch, ...]] = {}
        for stream in both:
            before = touched[stream]
            touched[stream] = joined.setdefault(before, (*before, patch))
