"""Reads feeds as a whole: one read of each however many wait for it, several in one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from gateway.feeds import Feed, Feeds
from gateway.following import Following, TablesAway, TablesState
from gateway.images import Renderer
from gateway.metrics import Metrics
from gateway.redis_connection import REDIS_AWAY
from gateway.subscriber import Pumped
from gateway.tables import Tables
from schemas.errors import ScoreStreamError

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 8  # a few milliseconds of decoding; more would hold up ticks
_RETRY_SECONDS: Final = 0.5


class Loader:
    """Fills the feeds that are wanted, in the order in which they are."""

    def __init__(
        self,
        tables: Tables,
        following: Following,
        feeds: Feeds,
        renderer: Renderer,
        metrics: Metrics,
        filled: Callable[[Iterable[Pumped]], None],
    ) -> None:
        """``filled`` is told who waited for a feed that is ready now."""
        self._tables = tables
        self._following = following
        self._feeds = feeds
        self._renderer = renderer
        self._metrics = metrics
        self._filled = filled
        self._wanted: dict[Feed, None] = {}
        self._work = asyncio.Event()

    def want(self, feed: Feed) -> None:
        """Read this feed soon, unless it is ready."""
        if not feed.ready:
            self._wanted[feed] = None
            self._work.set()

    def wake(self) -> None:
        """The tables are readable again."""
        self._work.set()

    def refuse(self, error: TablesAway) -> None:
        """The tables are not readable; those who only ask once are told."""
        for feed in self._wanted:
            feed.refuse(error)

    async def run(self) -> None:
        """Read what is wanted, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._wanted and self._following.state is TablesState.LIVE:
                feeds = list(self._wanted)[:_AT_ONCE]
                try:
                    await self._read(feeds)
                except (*REDIS_AWAY, ScoreStreamError) as error:
                    logger.info("organizations could not be read yet error=%r", error)
                    away = TablesAway(f"Redis did not answer ({type(error).__name__})")
                    for feed in feeds:
                        feed.refuse(away)
                        if feed in self._wanted:  # behind the others, should the fault be its own
                            self._wanted[feed] = self._wanted.pop(feed)
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, feeds: list[Feed]) -> None:
        serving, organizations = self._following.serving, self._following.organizations
        if serving is None or organizations is None:
            raise TablesAway("the tables have not been read yet")
        epoch = self._feeds.epoch
        found = await self._tables.read_organizations(serving, [feed.organization for feed in feeds])
        for feed, cells in zip(feeds, found, strict=True):
            if epoch != self._feeds.epoch:
                return  # read before all was lost; they are wanted still
            del self._wanted[feed]
            self._metrics.snapshots.inc()
            feed.call(organizations.summary(feed.organization).name)
            self._filled(
                feed.fill(
                    {
                        name: self._renderer.image(name, merged, feed.visibility)
                        for name, merged in cells.items()
                    }
                )
            )
            await asyncio.sleep(0)
