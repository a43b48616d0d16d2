"""Following the tables: reads every partition's change notices, and says what changed, how far, and when all is lost.

Where each partition was left is kept over interruptions, so that after an outage it goes on from there; only when notices
may really have been lost does everybody start over.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

import msgspec

from gateway.redis_connection import REDIS_AWAY
from gateway.tables import PUBLISHED_NOTICES, NoticeKeys, Notices, Tables
from schemas.changes import decode_changes
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.merged_cells import Serving
from schemas.organization_list import OrganizationList
from schemas.process.waiting import wait_at_most
from schemas.releases import Releases

logger = logging.getLogger(__name__)

_BLOCK_SECONDS: Final = 0.5  # how old "complete as of" may be when nothing happens
_WATCH_SECONDS: Final = 1.0  # how soon a flipped generation or a changed directory is noticed
_LOOK_SECONDS: Final = 5.0  # in which that must have been found out, or the tables count as away
# So a release state is known this long after it was set, or nothing is sent; and some more, for clocks that differ.
RELEASE_MARGIN_MS: Final = 10_000
_WARMING_SECONDS: Final = 0.5
_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0


class TablesState(Enum):
    """How the gateway stands with the tables."""

    LIVE = "live"
    WARMING = "warming"  # Redis answers; there are no tables yet
    AWAY = "away"


class TablesAway(DependencyUnavailable):
    """No figures can be read just now."""


class Listener(Protocol):
    """Who is told; all calls come from one event loop and return at once."""

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Cells changed: their names by organization."""

    def changed_published(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Published cells changed, or are no longer published: their names by organization."""

    def lost(self) -> None:
        """Changes may have been missed, or another generation is served: nothing read before counts."""

    def renamed(self, known: OrganizationList, current: OrganizationList) -> None:
        """The directory changed."""

    def released(self, known: Releases, current: Releases) -> None:
        """Release states changed: from now on these decide about what is shown."""

    def entered(self, state: TablesState) -> None:
        """The tables came or went."""

    def turned_stale(self, stale: bool) -> None:
        """Older results are missing from now on; or are no longer missing, and told."""


class _ServingChanged(ScoreStreamError):
    """Another generation, or another number of partitions, is served from now on."""


class Following:
    """Where one gateway process stands with the tables."""

    def __init__(self, tables: Tables, listener: Listener, *, published: bool = False) -> None:
        """``published``: follow the published tables, too."""
        self.state = TablesState.AWAY
        self.serving: Serving | None = None
        self.organizations: OrganizationList | None = None
        self.releases: Releases | None = None  # known whenever the state is LIVE
        self.applied: dict[int, int] = {}  # next offset of each partition, as of its last reading
        self._published = published
        self._look = asyncio.Event()
        self._tables = tables
        self._listener = listener
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        # By partition; the published tables, which have no older results to miss, are the last one.
        self._positions: list[bytes | None] = []
        self._reached_ms: list[int] = []  # every change up to then was told
        self._complete_ms: list[int | None] = []
        self._incomplete: list[bool] = []  # what was told is still without older results
        self._said_stale = False

    def reached_ms(self) -> int:
        """Every change up to this time (Redis time) was told to the listener."""
        return min(self._reached_ms)

    def stale(self) -> bool:
        """Whether what was told is incomplete: some tables are still being built from the log."""
        return any(self._incomplete)

    def complete_ms(self) -> int | None:
        """The time before which everything produced was applied and told; None until every partition has said so.

        None also while stale: then there is no such time.
        """
        if self.stale():
            return None
        known = [moment for moment in self._complete_ms if moment is not None]
        return min(known) if len(known) == len(self._complete_ms) else None

    def look(self) -> None:
        """Look now whether release states, directory or generation have changed, not only when it is time."""
        self._look.set()

    async def check_directory(self) -> None:
        """Take in the directory as it is now, before what was just read is used."""
        await self._read_directory()

    async def run(self) -> None:
        """Follow until cancelled; whatever goes wrong with the tables is mended by going on where we were."""
        while True:
            try:
                await self._follow()
            except* _ServingChanged:
                pass
            except* (*REDIS_AWAY, ScoreStreamError) as group:
                if self._pause_seconds == _SHORTEST_PAUSE_SECONDS:
                    logger.warning("the tables cannot be followed error=%r", group.exceptions[0])
                self._enter(TablesState.AWAY)
            if self.state is TablesState.AWAY:
                await asyncio.sleep(self._pause_seconds * random.uniform(0.8, 1.2))
                self._pause_seconds = min(self._pause_seconds * 1.5, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        serving = await self._look_around()
        while serving is None or self.releases is None:
            self._enter(TablesState.WARMING)
            await asyncio.sleep(_WARMING_SECONDS)
            serving = await self._look_around()
        await self._begin(serving)
        async with asyncio.TaskGroup() as group:
            followed = self._keys(serving)
            for partitions in self._tables.together(range(len(followed))):
                group.create_task(self._read_on(partitions, followed))
            group.create_task(self._watch(serving))

    async def _begin(self, serving: Serving) -> None:
        """Take up every partition where we left it; in a generation that is new to us, at its newest notice."""
        known = serving == self.serving
        followed = self._keys(serving)
        positions: list[bytes | None] = self._positions if known else [None] * len(followed)
        reads = await self._read(followed, positions)
        if not known:
            self.serving = serving
            self._positions = positions
            self._reached_ms = [read.read_ms for read in reads]
            self._complete_ms = [None] * serving.partitions
            self._incomplete = [read.incomplete for read in reads[: serving.partitions]]
            self._listener.lost()
        for partition, read in enumerate(reads):
            self._take_in(partition, read)
        self._say_if_stale()
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        self._enter(TablesState.LIVE)
        logger.info(
            "following the tables generation=%s partitions=%d", serving.generation, serving.partitions
        )

    def _keys(self, serving: Serving) -> list[NoticeKeys]:
        exact: list[NoticeKeys] = [*serving.partition_keys()]
        return [*exact, PUBLISHED_NOTICES] if self._published else exact

    async def _read(self, followed: Sequence[NoticeKeys], positions: Sequence[bytes | None]) -> list[Notices]:
        """What is new in each partition, by its number."""
        groups = self._tables.together(range(len(followed)))
        replies = await asyncio.gather(
            *(
                self._tables.read_notices([(followed[one], positions[one]) for one in group])
                for group in groups
            )
        )
        by_number = {
            one: read
            for group, reads in zip(groups, replies, strict=True)
            for one, read in zip(group, reads, strict=True)
        }
        return [by_number[number] for number in range(len(followed))]

    async def _read_on(self, partitions: Sequence[int], followed: Sequence[NoticeKeys]) -> None:
        while True:
            known = [(followed[one], self._positions[one] or b"") for one in partitions]
            reads = await self._tables.next_notices(known, _BLOCK_SECONDS)
            unread = list(partitions)
            while True:
                for one, read in zip(unread, reads, strict=True):
                    self._take_in(one, read)
                unread = [one for one, read in zip(unread, reads, strict=True) if read.more]
                if not unread:
                    break
                reads = await self._tables.read_notices(
                    [(followed[one], self._positions[one]) for one in unread]
                )

    def _take_in(self, partition: int, read: Notices) -> None:
        exact = partition < len(self._incomplete)
        if exact and read.next_offset is not None:
            self.applied[partition] = read.next_offset
        if exact and read.incomplete:
            self._incomplete[partition] = True
            self._say_if_stale()  # before anything is told of it
        lost = read.gap
        tell = self._listener.changed if exact else self._listener.changed_published
        for packed in read.packed:
            try:
                tell(decode_changes(packed))
            except msgspec.MsgspecError:
                lost = True
        if lost:
            logger.warning("change notices were lost, sending everything anew partition=%d", partition)
            self._listener.lost()
        self._positions[partition] = read.last
        if not read.more:
            self._reached_ms[partition] = read.read_ms
            if exact:
                self._complete_ms[partition] = read.complete_ms
                self._incomplete[partition] = read.incomplete
                self._say_if_stale()

    def _say_if_stale(self) -> None:
        if self.stale() is not self._said_stale:
            self._said_stale = self.stale()
            logger.info(
                "tables are %s", "incomplete, being built from the log" if self._said_stale else "whole"
            )
            self._listener.turned_stale(self._said_stale)

    async def _watch(self, serving: Serving) -> None:
        while True:
            await wait_at_most(self._look, _WATCH_SECONDS)
            self._look.clear()
            if await self._look_around() != serving:
                raise _ServingChanged("another generation is served")

    async def _look_around(self) -> Serving | None:
        """Take in release states and directory; returns what is served."""
        async with asyncio.timeout(_LOOK_SECONDS):
            await self._read_releases()
            await self._read_directory()
            return await self._tables.serving()

    async def _read_releases(self) -> None:
        known = self.releases
        try:
            current = await self._tables.releases(known)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TablesAway(f"the release states in Redis cannot be read: {error}") from error
        self.releases = current
        if known is not None and current is not None and current is not known:
            logger.info("release states changed version=%d", current.version)
            self._listener.released(known, current)

    async def _read_directory(self) -> None:
        known = self.organizations
        current = await self._tables.organizations(known)
        if self.organizations is not known:
            return  # somebody else has looked meanwhile
        if known is not None and current.version < known.version and len(current) < len(known):
            # Redis lost it, and it is being read again from its topic. Meanwhile nobody is to hear that a school does
            # not exist: a browser would take that for an answer, and never come back.
            return
        self.organizations = current
        if known is not None and current is not known:
            self._listener.renamed(known, current)

    def _enter(self, state: TablesState) -> None:
        if state is not self.state:
            self.state = state
            self._listener.entered(state)
