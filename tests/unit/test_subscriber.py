"""A subscriber's mailbox: the latest of everything, nothing twice, nothing older than its snapshot."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from gateway import sse
from gateway.directory import OrganizationSummary
from gateway.feeds import Feeds
from gateway.images import PUT_BYTES, Batch, CellImage, Patch, Snapshot, View, put_frames
from gateway.permissions import VisibilityClass
from gateway.subscriber import Subscriber
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId
from schemas.keys import Generation

SCHOOL = View(OrganizationId("19990010000101"), VisibilityClass.EXACT)
DISTRICT = View(OrganizationId("19990010000000"), VisibilityClass.EXACT)
ELA = CellField("2026:ELA-SUM:03")
MATH = CellField("2026:MATH-SUM:03")


def image(version: int, *, changed_ms: int | None = None, results: int = 1, size: int = 0) -> CellImage:
    changed_ms = version * 1000 if changed_ms is None else changed_ms
    encoded = json.dumps({"version": version, "fill": "x" * size}).encode()
    return CellImage(version, changed_ms, results, encoded)


def cursor(milliseconds: int) -> sse.Cursor:
    return sse.Cursor(Generation("g1"), milliseconds)


def patch(
    tick: int, cells: dict[CellField, CellImage], view: View = SCHOOL, batch: Batch | None = None
) -> Patch:
    return Patch(view, batch or Batch(tick, cursor(tick * 1000)), cells)


def snapshot(tick: int, cells: dict[CellField, CellImage], view: View = SCHOOL) -> Snapshot:
    summary = OrganizationSummary(view.organization, "Cedar Elementary", "school")
    return Snapshot(view, cursor(tick * 1000), tick, 0.0, cells, summary)


def settled_after(ticks_finished: int) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.tick <= ticks_finished


def told(subscriber: Subscriber) -> list[tuple[str, str, int]]:
    """(id, organization, version) of every cell in the next patch."""
    frame = subscriber.take()
    if frame is None:
        return []
    fields = dict(line.split(": ", 1) for line in frame.encoded.decode().splitlines() if line)
    data = json.loads(fields["data"])
    assert data["preliminary"] is True
    return [
        (fields["id"], one["id"], cell["version"]) for one in data["organizations"] for cell in one["cells"]
    ]


def begun(*snapshots: Snapshot, ticks_finished: int = 10) -> Subscriber:
    subscriber = Subscriber([one.view for one in snapshots])
    subscriber.put_due = False
    subscriber.begin(snapshots, settled_after(ticks_finished))
    return subscriber


def test_a_slow_subscriber_gets_the_latest_value_of_a_cell_once() -> None:
    subscriber = begun(snapshot(0, {}))
    for tick in range(1, 6):
        subscriber.offer(patch(tick, {ELA: image(tick)}))
    assert told(subscriber) == [("g1.5000", SCHOOL.organization, 5)]
    assert subscriber.take() is None
    assert subscriber.merged == 4


def test_a_slow_subscriber_loses_no_cell_that_changed_only_once() -> None:
    subscriber = begun(snapshot(0, {}))
    subscriber.offer(patch(1, {MATH: image(1)}))
    subscriber.offer(patch(2, {ELA: image(2)}))
    assert told(subscriber) == [("g1.2000", SCHOOL.organization, 2), ("g1.2000", SCHOOL.organization, 1)]


def test_subscribers_of_the_same_organizations_share_the_very_same_bytes() -> None:
    batch = Batch(1, cursor(1000))
    patches = [patch(1, {ELA: image(1)}, SCHOOL, batch), patch(1, {ELA: image(4)}, DISTRICT, batch)]
    frames = []
    for subscriber in (begun(snapshot(0, {}), snapshot(0, {}, DISTRICT)) for _ in range(2)):
        for one in patches:
            subscriber.offer(one)
        frame = subscriber.take()
        assert frame is not None
        frames.append(frame.encoded)
    assert frames[0] is frames[1]


def test_a_change_during_the_snapshots_read_is_told_after_it() -> None:
    subscriber = Subscriber([SCHOOL])
    subscriber.offer(patch(1, {ELA: image(8)}))
    assert subscriber.take() is None  # the put comes first
    subscriber.put_due = False
    subscriber.begin([snapshot(1, {ELA: image(7)})], settled_after(1))
    assert told(subscriber) == [("g1.1000", SCHOOL.organization, 8)]


def test_a_change_that_the_snapshot_has_already_is_not_told_again() -> None:
    subscriber = Subscriber([SCHOOL])
    subscriber.offer(patch(1, {ELA: image(7), MATH: image(3)}))
    subscriber.put_due = False
    subscriber.begin([snapshot(1, {ELA: image(7), MATH: image(2)})], settled_after(1))
    assert told(subscriber) == [("g1.1000", SCHOOL.organization, 3)]


def test_a_tick_that_read_before_the_snapshot_and_arrives_after_it_does_not_go_back() -> None:
    # Tick 4 was under way while the snapshot was read, and is delivered after the put.
    subscriber = begun(snapshot(4, {ELA: image(9)}), ticks_finished=3)
    subscriber.offer(patch(4, {ELA: image(8)}))
    assert subscriber.take() is None
    subscriber.offer(patch(5, {ELA: image(10)}))
    assert told(subscriber) == [("g1.5000", SCHOOL.organization, 10)]


def test_after_a_rollback_a_repeated_version_with_a_later_time_is_told() -> None:
    later = image(7, changed_ms=9_999)
    assert later.supersedes(image(7, changed_ms=7_000))
    assert image(8, changed_ms=6_000).supersedes(image(7, changed_ms=7_000))  # a clock was set back
    assert not image(7).supersedes(image(7))
    assert not image(6).supersedes(image(7))


def test_a_request_to_start_over_drops_what_was_pending() -> None:
    subscriber = begun(snapshot(0, {}))
    subscriber.offer(patch(1, {ELA: image(1)}))
    subscriber.request_put()
    assert subscriber.put_due
    assert subscriber.take() is None


def test_the_first_reason_to_close_is_the_one_that_counts() -> None:
    subscriber = Subscriber([SCHOOL])
    subscriber.close(sse.CloseReason.TOKEN_EXPIRED)
    subscriber.close(sse.CloseReason.DRAINING)
    assert subscriber.closing is sse.CloseReason.TOKEN_EXPIRED


def test_a_cell_without_results_is_not_in_a_put_and_is_in_what_changed() -> None:
    moved = snapshot(1, {ELA: image(3, results=0), MATH: image(2)})
    assert [cell["version"] for cell in put_organizations(put_frames([moved]))[0]["cells"]] == [2]
    change = moved.changed_after(2_500, Batch(0, cursor(1)))
    assert change is not None and set(change.cells) == {ELA}


def test_a_put_of_much_is_several_frames_and_only_the_last_has_an_id() -> None:
    views = [View(OrganizationId(f"1999001000{number:04d}"), VisibilityClass.EXACT) for number in range(1, 8)]
    snapshots = [snapshot(3, {ELA: image(1, size=PUT_BYTES // 3)}, view) for view in views]
    frames = put_frames(snapshots)
    assert len(frames) > 1
    assert [frame.startswith(b"id: g1.3000\n") for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert [one["id"] for one in put_organizations(frames)] == [view.organization for view in views]
    assert max(map(len, frames)) < PUT_BYTES * 1.5


def test_one_organization_larger_than_a_frame_is_still_one_frame() -> None:
    assert len(put_frames([snapshot(1, {ELA: image(1, size=PUT_BYTES * 2)})])) == 1


def test_the_put_counts_from_the_oldest_of_its_snapshots() -> None:
    frames = put_frames([snapshot(5, {}), snapshot(4, {}, DISTRICT)])
    assert frames[-1].startswith(b"id: g1.4000\n")


def put_organizations(frames: list[bytes]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for frame in frames:
        data = next(line for line in frame.decode().splitlines() if line.startswith("data: "))
        found += json.loads(data.removeprefix("data: "))["organizations"]
    return found


class TestFeeds:
    def test_a_change_is_news_once(self) -> None:
        feed = Feeds().watch(SCHOOL)
        assert set(feed.news({ELA: image(1), MATH: image(1)})) == {ELA, MATH}
        assert set(feed.news({ELA: image(2), MATH: image(1)})) == {ELA}
        assert feed.news({ELA: image(1), MATH: image(1)}) == {}

    def test_nothing_is_kept_of_an_organization_that_nobody_watches(self) -> None:
        feeds = Feeds()
        subscribers = [Subscriber([SCHOOL, DISTRICT]), Subscriber([SCHOOL])]
        for subscriber in subscribers:
            feeds.join(subscriber)
        feeds.leave(subscribers[0])
        assert [feed.view for feed in feeds] == [SCHOOL]
        assert not list(feeds.of(DISTRICT.organization))
        feeds.leave(subscribers[1])
        assert not list(feeds)

    def test_starting_over_asks_everybody_for_a_put(self) -> None:
        feeds = Feeds()
        subscriber = begun(snapshot(0, {}))
        feeds.join(subscriber)
        feed = feeds.watch(SCHOOL)
        feed.news({ELA: image(9)})
        feeds.start_over()
        assert subscriber.put_due
        assert set(feed.news({ELA: image(3)})) == {ELA}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_interleaving_a_subscriber_ends_with_the_latest_and_never_goes_back(seed: int) -> None:
    """Ticks and snapshots read at random moments; between, the cell's version grows."""
    chance = random.Random(seed)
    version, tick, shown = 1, 0, 0
    subscriber = Subscriber([SCHOOL])
    in_flight: Patch | None = None
    begun_at = chance.randrange(30)
    for step in range(60):
        version += chance.randrange(2)
        if in_flight is None:
            tick += 1
            in_flight = patch(tick, {ELA: image(version)})  # read now, delivered later
        elif chance.random() < 0.5:
            subscriber.offer(in_flight)
            in_flight = None
        if step == begun_at:
            subscriber.put_due = False
            subscriber.begin(
                [snapshot(tick, {ELA: image(version)})],
                settled_after(tick if in_flight is None else tick - 1),
            )
            shown = version
        if step > begun_at and chance.random() < 0.5:
            for _, _, seen in told(subscriber):
                assert seen >= shown  # the feed, not the mailbox, leaves out what is the same
                shown = seen
    if in_flight is not None:
        subscriber.offer(in_flight)
    subscriber.offer(patch(tick + 1, {ELA: image(version)}))
    for _, _, seen in told(subscriber):
        assert seen >= shown
        shown = seen
    assert shown == version
