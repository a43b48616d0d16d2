"""What is watched is shown anew when it is another who may see it, or when it has another name.

After a change of release states the feeds that it concerns show nothing until they were read again; from that moment no
frame has a row that was withdrawn:

1. Their images go, and with them what was encoded; so does what a tick under way has for them and not delivered.
2. Mailboxes hold names, not figures; what waits there of these feeds becomes a put of what is seen then.
3. A stream whose client has not taken what it was sent is reset when rows were withdrawn: what lies in this process is
   dropped with the connection. What lies in the kernel, or on the way, is out of reach.

Streams of other organizations hear nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.feeds import Feed, Feeds
from gateway.loading import Loader
from gateway.outlets import Outlet
from gateway.showing import Showing
from gateway.subscriber import Subscriber
from gateway.ticking import Ticker
from schemas.access.visibility import affected
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel
from schemas.organization_list import OrganizationList
from schemas.releases import Releases, ReleaseState, Report


class Reopening:
    """Closes feeds and opens them again."""

    def __init__(self, feeds: Feeds, ticker: Ticker, loader: Loader, showing: Showing) -> None:
        self._feeds = feeds
        self._ticker = ticker
        self._loader = loader
        self._showing = showing

    def released(self, known: Releases, current: Releases) -> None:
        """Release states changed: those who watch what they are about are sent what they may see now."""
        changed = current.changed_since(known)
        is_affected = affected(key.district for key in changed if key.report is Report.AGGREGATE)
        self._reopen(
            [
                feed
                for feed in self._feeds
                if feed.visibility.lowest is not ReleaseState.LOADING and is_affected(feed.organization)
            ],
            withdrawn=any(current.state(*key) < known.state(*key) for key in changed),
        )

    def renamed(self, known: OrganizationList, current: OrganizationList, releases: Releases | None) -> None:
        """The directory changed: those organizations are sent anew whose name is another, or whose districts are others."""
        districts = _districts(known) ^ _districts(current)
        is_affected = affected(districts)
        self._reopen(
            [
                feed
                for feed in self._feeds
                if feed.sum is not None
                and is_affected(feed.organization)
                and (releases is None or releases.withholds(feed.visibility.lowest))
            ]
            if districts
            else (),
            withdrawn=False,
        )
        self.send_again(outlet for feed in self._feeds.rename(current) for outlet in feed.outlets.values())

    def send_again(self, outlets: Iterable[Outlet]) -> None:
        """Send these whole once more."""
        for stream, again in _by_stream(outlets).items():
            stream.put_again(again)

    def _reopen(self, feeds: Collection[Feed], *, withdrawn: bool) -> None:
        if not feeds:
            return
        self._feeds.shared.clear()
        self._ticker.withhold(feeds)
        for feed in feeds:
            self._showing.reopen(feed)
        for stream, outlets in _by_stream(
            outlet for feed in feeds for outlet in feed.outlets.values()
        ).items():
            if withdrawn:
                stream.withdraw()
            stream.put_again(outlets)  # as soon as they are there
        for feed in feeds:
            self._loader.want(feed)


def _by_stream(outlets: Iterable[Outlet]) -> dict[Subscriber, list[Outlet]]:
    found: dict[Subscriber, list[Outlet]] = {}
    for outlet in outlets:
        for stream in outlet.streams:
            found.setdefault(stream, []).append(outlet)
    return found


def _districts(organizations: OrganizationList) -> set[OrganizationId]:
    return set(organizations.below(STATE, OrganizationLevel.DISTRICT))
