"""The views that somebody watches: who, what they were last told, and the snapshot that newcomers share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from gateway.images import CellImage, Snapshot, View
from gateway.subscriber import Subscriber
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId


class Feed:
    """One watched view.

    A snapshot is shared until a patch of this view is delivered: whoever comes after that delivery has not got the patch,
    and needs a snapshot that was read later.
    """

    __slots__ = ("delivered", "snapshot", "subscribers", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.subscribers: set[Subscriber] = set()
        self.delivered: dict[CellField, tuple[int, int]] = {}  # version and change time last sent
        self.snapshot: asyncio.Task[Snapshot] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody needs it."""
        return not self.subscribers and self.snapshot is None

    def news(self, images: Mapping[CellField, CellImage]) -> dict[CellField, CellImage]:
        """Those of ``images`` that were not delivered yet; from now on they count as delivered."""
        fresh: dict[CellField, CellImage] = {}
        for name, image in images.items():
            version, changed_ms = self.delivered.get(name, (-1, -1))
            if image.version > version or image.changed_ms > changed_ms:
                fresh[name] = image
                self.delivered[name] = (image.version, image.changed_ms)
        return fresh


class Feeds:
    """All watched views, by view and by organization."""

    def __init__(self) -> None:
        self._by_view: dict[View, Feed] = {}
        self._by_organization: dict[OrganizationId, list[Feed]] = {}

    def __iter__(self) -> Iterator[Feed]:
        return iter(self._by_view.values())

    def of(self, organization: OrganizationId) -> Iterable[Feed]:
        """The watched views of an organization."""
        return self._by_organization.get(organization, ())

    def watch(self, view: View) -> Feed:
        """The feed of a view, made when there is none."""
        feed = self._by_view.get(view)
        if feed is None:
            feed = self._by_view[view] = Feed(view)
            self._by_organization.setdefault(view.organization, []).append(feed)
        return feed

    def join(self, subscriber: Subscriber) -> None:
        """Deliver the subscriber's views to it from now on."""
        for view in subscriber.views:
            self.watch(view).subscribers.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Stop delivering to a subscriber."""
        for view in subscriber.views:
            feed = self._by_view.get(view)
            if feed is not None:
                feed.subscribers.discard(subscriber)
                self.forget_if_idle(feed)

    def forget_if_idle(self, feed: Feed) -> None:
        """Drop a feed that nobody needs, so that memory follows the audience."""
        if feed.idle and self._by_view.get(feed.view) is feed:
            del self._by_view[feed.view]
            others = self._by_organization[feed.view.organization]
            others.remove(feed)
            if not others:
                del self._by_organization[feed.view.organization]

    def start_over(self) -> None:
        """Forget what was delivered and what was read; everybody gets a put."""
        for feed in list(self._by_view.values()):
            feed.delivered.clear()
            feed.snapshot = None
            for subscriber in feed.subscribers:
                subscriber.request_put()
            self.forget_if_idle(feed)
