"""Answers to those who ask once: views as a whole, from the same feeds that streams are served from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.feeds import Feeds
from gateway.following import Following, TablesAway, TablesState
from gateway.images import Snapshot, View
from gateway.loading import Loader
from gateway.progress import Progress

_PATIENCE_SECONDS: Final = 10.0  # a plain request is better told to come again than held


class Snapshots:
    """Takes them."""

    def __init__(self, following: Following, feeds: Feeds, loader: Loader, progress: Progress) -> None:
        self._following = following
        self._feeds = feeds
        self._loader = loader
        self._progress = progress

    async def take(self, views: Sequence[View]) -> list[Snapshot]:
        """Each view as a whole, in order, as all of them may be seen when this returns.

        Raises:
            TablesAway: the tables are being filled, or cannot be reached.
        """
        state = self._following.state
        if state is not TablesState.LIVE:
            raise TablesAway(f"the tables are {state.value}")
        feeds = [self._feeds.watch(view.organization, view.visibility) for view in views]
        for feed in feeds:
            self._loader.want(feed)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                # Anew when one was emptied while another was waited for.
                while (cursor := self._progress.cursor) is None or not all(feed.ready for feed in feeds):
                    await asyncio.gather(
                        *(feed.until_ready() for feed in feeds), self._progress.until_known()
                    )
        except TimeoutError as error:
            raise TablesAway("the tables have not been read in time") from error
        return [
            Snapshot(
                cursor,
                {name: image for name, image in feed.images.items() if view.cells(name)},
                feed.summary(),
                self._progress.told.stale,
            )
            for feed, view in zip(feeds, views, strict=True)
        ]
