"""Reads feeds as a whole: one read of each however many wait for it, several in one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.feeds import Feed, Feeds
from gateway.following import Following, TablesAway, TablesState
from gateway.images import CellImage
from gateway.metrics import Metrics
from gateway.redis_connection import REDIS_AWAY
from gateway.showing import Showing
from gateway.subscriber import Pumped
from gateway.tables import Tables
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import CellField
from schemas.errors import ScoreStreamError
from schemas.identifiers import OrganizationId
from schemas.merged_cells import MergedCell, Serving

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 8  # a few milliseconds of decoding; more would hold up ticks
_CELLS_AT_ONCE: Final = 64  # of districts, each of as many shares as there are partitions; likewise
_RETRY_SECONDS: Final = 0.5

_Wanted = dict[Feed, None]


class Loader:
    """Fills the feeds that are wanted, in the order in which they are.

    Those that may have to be added up from a thousand districts have a queue of their own, so that no school waits for it.
    """

    def __init__(
        self,
        tables: Tables,
        following: Following,
        feeds: Feeds,
        showing: Showing,
        metrics: Metrics,
        filled: Callable[[Iterable[Pumped]], None],
    ) -> None:
        """``filled`` is told who waited for a feed that is ready now."""
        self._tables = tables
        self._following = following
        self._feeds = feeds
        self._showing = showing
        self._metrics = metrics
        self._filled = filled
        self._wanted: _Wanted = {}
        self._sums_wanted: _Wanted = {}
        self._work = asyncio.Event()
        self._sums_work = asyncio.Event()

    def want(self, feed: Feed) -> None:
        """Read this feed soon, unless it is ready."""
        if not feed.ready:
            (self._wanted if feed.sum is None else self._sums_wanted)[feed] = None
            self.wake()

    def wake(self) -> None:
        """The tables are readable again."""
        self._work.set()
        self._sums_work.set()

    def refuse(self, error: TablesAway) -> None:
        """The tables are not readable; those who only ask once are told."""
        for feed in (*self._wanted, *self._sums_wanted):
            feed.refuse(error)

    async def run(self) -> None:
        """Read what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_off(self._wanted, self._work, _AT_ONCE))
            group.create_task(self._work_off(self._sums_wanted, self._sums_work, 1))

    async def _work_off(self, wanted: _Wanted, work: asyncio.Event, at_once: int) -> None:
        while True:
            await work.wait()
            work.clear()
            while wanted and self._following.state is TablesState.LIVE:
                feeds = list(wanted)[:at_once]
                try:
                    await self._read(feeds, wanted)
                except (*REDIS_AWAY, ScoreStreamError) as error:
                    logger.info("organizations could not be read yet error=%r", error)
                    away = TablesAway(f"Redis did not answer ({type(error).__name__})")
                    for feed in feeds:
                        feed.refuse(away)
                        if feed in wanted:  # behind the others, should the fault be its own
                            wanted[feed] = wanted.pop(feed)
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, feeds: list[Feed], wanted: _Wanted) -> None:
        serving = self._following.serving
        if serving is None:
            raise TablesAway("the tables have not been read yet")
        epoch = self._feeds.epoch
        opened = {feed: feed.opened for feed in feeds}
        masked = [feed for feed in feeds if feed.visibility is VisibilityClass.MASKED]
        exact = [feed for feed in feeds if feed.visibility is not VisibilityClass.MASKED]
        if exact:
            stored = await self._tables.read_organizations(serving, [feed.organization for feed in exact])
            for feed, cells in zip(exact, stored, strict=True):
                if feed.sum is not None and self._counts(feed, opened):
                    await self._add_up(serving, feed, cells, epoch)
                if self._counts(feed, opened):
                    self._fill(feed, wanted, self._showing.stored(feed, cells) | self._showing.added_up(feed))
                await asyncio.sleep(0)
        if masked:
            published = await self._tables.read_published([feed.organization for feed in masked])
            for feed, held in zip(masked, published, strict=True):
                if self._counts(feed, opened):
                    self._fill(feed, wanted, self._showing.published(feed, held))
                await asyncio.sleep(0)

    async def _add_up(
        self, serving: Serving, feed: Feed, cells: Mapping[CellField, MergedCell], epoch: int
    ) -> None:
        """Read what is to be added up, until nothing of it is missing; release states may change meanwhile."""
        assert feed.sum is not None
        # Whoever is in what was just read is in this directory: a worker counts no school that it does not have.
        await self._following.check_directory()
        while missing := self._showing.missing(feed, cells):
            some: list[tuple[OrganizationId, list[CellField]]] = []
            while missing and sum(len(names) for _, names in some) < _CELLS_AT_ONCE:
                some.append(missing.popitem())
            found = await self._tables.read_cells(serving, some)
            if epoch != self._feeds.epoch:
                return
            for (district, names), shares in zip(some, found, strict=True):
                self._showing.take_shares(feed, district, shares)
                feed.sum.note_read(district, names)
            await asyncio.sleep(0)

    def _counts(self, feed: Feed, opened: Mapping[Feed, int]) -> bool:
        """Whether what was read of it may be used; else it is wanted still, and read again."""
        return feed.opened == opened[feed]

    def _fill(self, feed: Feed, wanted: _Wanted, images: dict[CellField, CellImage]) -> None:
        organizations = self._following.organizations
        assert organizations is not None  # or nothing could be shown
        wanted.pop(feed, None)
        self._metrics.snapshots.inc()
        feed.call(organizations.summary(feed.organization).name)
        self._filled(feed.fill(images))
