"""Watched organizations in memory: only newer cells are taken, whoever waits is told, what nobody needs is let go."""

from __future__ import annotations

import asyncio
import json
import random
from typing import cast

import pytest

from gateway.cell_filter import CellFilter
from gateway.feeds import Feed, Feeds
from gateway.following import TablesAway
from gateway.images import CellImage, View
from gateway.subscriber import Subscriber
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId

SCHOOL = OrganizationId("19990010000101")
VIEW = View(SCHOOL, VisibilityClass.EXACT_RELEASED)
ELA = CellField("2026:ELA-SUM:03")
MATH = CellField("2026:MATH-SUM:03")
ONLY_MATH = VIEW._replace(cells=CellFilter(tests=frozenset({"MATH-SUM"})))


def image(version: int, *, changed_ms: int | None = None) -> CellImage:
    changed_ms = version * 1000 if changed_ms is None else changed_ms
    return CellImage(version, changed_ms, 1, json.dumps({"version": version}).encode())


def ready() -> Feed:
    feed = Feeds().watch(SCHOOL, VisibilityClass.EXACT_RELEASED)
    feed.fill({})
    return feed


def test_after_a_rollback_a_repeated_version_with_a_later_time_is_told() -> None:
    later = image(7, changed_ms=9_999)
    assert later.supersedes(image(7, changed_ms=7_000))
    assert image(8, changed_ms=6_000).supersedes(image(7, changed_ms=7_000))  # a clock was set back
    assert not image(7).supersedes(image(7))
    assert not image(6).supersedes(image(7))


def test_a_change_is_news_once() -> None:
    feed = ready()
    assert set(feed.take({ELA: image(1), MATH: image(1)})) == {ELA, MATH}
    assert set(feed.take({ELA: image(2), MATH: image(1)})) == {ELA}
    assert feed.take({ELA: image(1), MATH: image(1)}) == {}


def test_what_ticks_bring_before_the_whole_is_read_is_kept_and_is_no_news() -> None:
    feed = Feeds().watch(SCHOOL, VisibilityClass.EXACT_RELEASED)
    assert feed.take({ELA: image(5)}) == {}
    feed.fill({ELA: image(4), MATH: image(2)})
    assert {name: one.version for name, one in feed.images.items()} == {ELA: 5, MATH: 2}
    assert feed.ready


def test_each_filter_shows_its_cells_and_is_encoded_once_until_they_change() -> None:
    feeds = Feeds()
    everything, math = feeds.outlet(VIEW), feeds.outlet(ONLY_MATH)
    feed = everything.feed
    assert math.feed is feed
    feed.fill({ELA: image(1), MATH: image(2)})
    assert json.loads(everything.whole())["cells"] == [{"version": 1}, {"version": 2}]
    assert json.loads(math.whole())["cells"] == [{"version": 2}]
    assert math.whole() is math.whole()
    feed.take({MATH: image(3)})
    assert json.loads(math.whole())["cells"] == [{"version": 3}]
    assert math.narrowed({ELA: image(9)}) == {}
    assert math.changed_after(3_000) is None


@pytest.mark.anyio
async def test_whoever_asks_is_told_when_it_is_ready_or_why_it_is_not() -> None:
    feed = Feeds().watch(SCHOOL, VisibilityClass.EXACT_RELEASED)
    asking = [asyncio.ensure_future(feed.until_ready()) for _ in range(2)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.wait({asking[0]})
    feed.refuse(TablesAway("not now"))
    with pytest.raises(TablesAway, match="not now"):
        await asking[1]
    again = asyncio.ensure_future(feed.until_ready())
    await asyncio.sleep(0)
    feed.fill({})
    await again
    await feed.until_ready()


def test_an_organization_is_kept_for_a_moment_and_then_let_go() -> None:
    feeds = Feeds()
    stream = cast(Subscriber, object())
    outlet = feeds.outlet(VIEW)
    outlet.streams.add(stream)
    for _ in range(5):
        feeds.sweep()
    assert feeds.outlet(VIEW) is outlet
    feeds.leave(stream, [outlet])
    feeds.sweep()
    assert list(feeds.of(SCHOOL)) == [outlet.feed]
    for _ in range(3):
        feeds.sweep()
    assert not list(feeds) and not list(feeds.of(SCHOOL))


def test_a_filter_that_nobody_uses_any_more_is_let_go_with_its_bytes() -> None:
    feeds = Feeds()
    feeds.outlet(VIEW).streams.add(cast(Subscriber, object()))
    feeds.outlet(ONLY_MATH)
    feeds.sweep()
    [feed] = feeds
    assert list(feed.outlets) == [VIEW.cells]


def test_starting_over_takes_older_values_too() -> None:
    feeds = Feeds()
    feed = feeds.watch(SCHOOL, VisibilityClass.EXACT_RELEASED)
    feed.fill({ELA: image(9)})
    epoch = feeds.epoch
    feeds.start_over()
    assert feeds.epoch != epoch and not feed.ready
    feed.fill({ELA: image(3)})
    assert feed.images[ELA].version == 3


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_interleaving_a_feed_ends_with_the_latest_and_never_goes_back(seed: int) -> None:
    """Ticks and one read of the whole, each reading at some moment and arriving at a later one."""
    chance = random.Random(seed)
    feed = Feeds().watch(SCHOOL, VisibilityClass.EXACT_RELEASED)
    version, shown = 1, 0
    whole: CellImage | None = None
    tick: CellImage | None = None
    for step in range(60):
        version += chance.randrange(2)
        if step == 5:
            whole = image(version)
        if step > 20 and whole is not None and chance.random() < 0.3:
            feed.fill({ELA: whole})
            whole = None
        if tick is None:
            tick = image(version)
        elif chance.random() < 0.5:
            feed.take({ELA: tick})
            tick = None
        if feed.ready:
            assert feed.images[ELA].version >= shown
            shown = feed.images[ELA].version
    feed.take({ELA: image(version)})
    assert feed.images[ELA].version == version
