"""The organizations that somebody watches, each with its cells live in memory.

A feed is read as a whole once, when it is first wanted; from then on ticks keep it current, and whoever comes is served
from memory. What a tick read while the feed was being read is merged with it, cell by cell: the later one stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from gateway.cell_filter import CellFilter
from gateway.following import TablesAway
from gateway.images import CellImage, View
from gateway.lines import Chunk
from gateway.outlets import Outlet
from gateway.partial_sums import PartialSum
from gateway.subscriber import Pumped, Subscriber
from schemas.access.permissions import VisibilityClass
from schemas.access.visibility import is_summed
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId, ancestry, level_of
from schemas.organization_list import OrganizationList, OrganizationSummary

# A feed that nobody watches is kept current for this many sweeps at least: those who come back find it there.
_SWEEPS_KEPT: Final = 2


class Feed:
    """One organization as one visibility class sees it."""

    __slots__ = (
        "_name",
        "_sweeps_idle",
        "_waiters",
        "images",
        "opened",
        "organization",
        "outlets",
        "ready",
        "sum",
        "visibility",
        "waiting",
    )

    def __init__(self, organization: OrganizationId, visibility: VisibilityClass) -> None:
        self.organization = organization
        self.visibility = visibility
        self.images: dict[CellField, CellImage] = {}
        self.ready = False  # all cells are in ``images``
        self.opened = (
            0  # how often it was emptied; what was read before the last time may be older than a tick since
        )
        self.outlets: dict[CellFilter, Outlet] = {}
        # What has to be added up from districts, where a class may see those of some only.
        self.sum = PartialSum() if is_summed(organization, visibility) else None
        self.waiting: set[Pumped] = set()  # to be pumped when it is ready
        self._name: str | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._sweeps_idle = 0

    def summary(self) -> OrganizationSummary:
        """Its code, name and level."""
        name = self.organization if self._name is None else self._name
        return OrganizationSummary(self.organization, name, level_of(self.organization).value)

    def call(self, name: str) -> bool:
        """Take this name; whether it had another."""
        if name == self._name:
            return False
        renamed = self._name is not None
        self._name = name
        self._forget_bytes()
        return renamed

    def take(self, images: Mapping[CellField, CellImage]) -> dict[CellField, CellImage]:
        """Keep those that are later than what is here, and say which; nobody needs to be told while it is not ready."""
        fresh = {name: image for name, image in images.items() if image.supersedes(self.images.get(name))}
        self.images |= fresh
        if fresh:
            self._forget_bytes()
        return fresh if self.ready else {}

    def fill(self, images: Mapping[CellField, CellImage]) -> Collection[Pumped]:
        """All cells were read: it is ready. Returns who waited for it."""
        self.take(images)
        self.ready = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        waiting, self.waiting = self.waiting, set()
        return waiting

    def refuse(self, error: TablesAway) -> None:
        """It cannot be read just now; those who only ask once are told."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()

    async def until_ready(self) -> None:
        """Return when it is ready.

        Raises:
            TablesAway: it cannot be read just now.
        """
        while not self.ready:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def start_over(self) -> None:
        """Nothing that was read counts any more."""
        self.reopen()
        if self.sum is not None:
            self.sum = PartialSum()

    def reopen(self) -> None:
        """What may be seen is another now: nothing is shown until all was read again. Districts' cells still count."""
        self.ready = False
        self.opened += 1
        self.images = {}
        self._forget_bytes()

    def drop(self, names: Iterable[CellField]) -> bool:
        """These cells are no more; whether any was here."""
        found = [name for name in names if self.images.pop(name, None) is not None]
        if found:
            self._forget_bytes()
        return bool(found)

    def swept(self, *, in_use: bool) -> bool:
        """Drop what need not be kept; whether the feed itself need not be."""
        self._forget_bytes()
        for cells in [cells for cells, outlet in self.outlets.items() if not outlet.streams]:
            del self.outlets[cells]
        self._sweeps_idle = 0 if in_use or self.outlets or self._waiters else self._sweeps_idle + 1
        return self._sweeps_idle > _SWEEPS_KEPT

    def _forget_bytes(self) -> None:
        for outlet in self.outlets.values():
            outlet.forget_bytes()


class Feeds:
    """All feeds of one gateway process."""

    def __init__(self) -> None:
        # Apart, because they are fed from other tables: what is exact, and what is published.
        self._exact: dict[OrganizationId, dict[VisibilityClass, Feed]] = {}
        self._masked: dict[OrganizationId, dict[VisibilityClass, Feed]] = {}
        self._summed: dict[OrganizationId, set[Feed]] = {}
        # Frames that several newcomers get alike; emptied whenever a feed changes in any way.
        self.shared: dict[object, Chunk] = {}
        self.epoch = 0  # how often all was lost

    def __iter__(self) -> Iterator[Feed]:
        return (feed for kind in self._kinds for feeds in kind.values() for feed in feeds.values())

    def of(self, organization: OrganizationId) -> Collection[Feed]:
        """The feeds of an organization that show exact figures."""
        return self._exact.get(organization, {}).values()

    def masked(self, organization: OrganizationId) -> Collection[Feed]:
        """The feeds of an organization that show what is published."""
        return self._masked.get(organization, {}).values()

    @property
    def any_summed(self) -> bool:
        """Whether anybody watches a feed that may have to be added up from districts."""
        return bool(self._summed)

    def summed_above(self, district: OrganizationId) -> Iterator[Feed]:
        """The feeds that may count a district's cells."""
        for above in ancestry(district)[1:]:
            yield from self._summed.get(above, ())

    def watch(self, organization: OrganizationId, visibility: VisibilityClass) -> Feed:
        """The feed, made when there is none; what changes from here on reaches it."""
        kind = self._masked if visibility is VisibilityClass.MASKED else self._exact
        feeds = kind.setdefault(organization, {})
        feed = feeds.get(visibility)
        if feed is None:
            feed = feeds[visibility] = Feed(organization, visibility)
            if feed.sum is not None:
                self._summed.setdefault(organization, set()).add(feed)
        return feed

    def outlet(self, view: View) -> Outlet:
        """The outlet of a view, made when there is none."""
        feed = self.watch(view.organization, view.visibility)
        outlet = feed.outlets.get(view.cells)
        if outlet is None:
            outlet = feed.outlets[view.cells] = Outlet(feed, view.cells)
        return outlet

    def leave(self, stream: Subscriber, outlets: Iterable[Outlet]) -> None:
        """Stop delivering these to a stream."""
        for outlet in outlets:
            outlet.streams.discard(stream)
            outlet.feed.waiting.discard(stream)

    def rename(self, current: OrganizationList) -> list[Feed]:
        """Take the directory's names; returns the feeds that had another."""
        self.shared.clear()
        return [feed for feed in self if feed.call(current.summary(feed.organization).name)]

    def start_over(self) -> None:
        """Nothing that was read counts any more."""
        self.epoch += 1
        self.shared.clear()
        for feed in self:
            feed.start_over()

    def sweep(self) -> None:
        """Let go of feeds that nobody has watched for a while, and of bytes that nobody has asked for just now."""
        self.shared.clear()
        for kind in self._kinds:
            for organization, feeds in list(kind.items()):
                for visibility, feed in list(feeds.items()):
                    if feed.swept(in_use=bool(feed.waiting)):
                        del feeds[visibility]
                        self._let_go(feed)
                if not feeds:
                    del kind[organization]

    @property
    def _kinds(self) -> tuple[dict[OrganizationId, dict[VisibilityClass, Feed]], ...]:
        return self._exact, self._masked

    def _let_go(self, feed: Feed) -> None:
        summed = self._summed.get(feed.organization)
        if summed is not None:
            summed.discard(feed)
            if not summed:
                del self._summed[feed.organization]
