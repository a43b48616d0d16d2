"""What waits for a stream: the latest of everything, nothing twice, in frames of bounded size."""

from __future__ import annotations

import json
from typing import Any

from gateway import sse
from gateway.feeds import Feeds
from gateway.frames import WHOLE_BYTES, put_frame
from gateway.images import CellImage, View
from gateway.mailbox import Mailbox
from gateway.outlets import Outlet
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId
from schemas.keys import Generation

ELA = CellField("2026:ELA-SUM:03")
MATH = CellField("2026:MATH-SUM:03")
CURSOR = sse.Cursor(Generation("g1"), 3_000)


def image(version: int, *, changed_ms: int | None = None, results: int = 1, size: int = 0) -> CellImage:
    changed_ms = version * 1000 if changed_ms is None else changed_ms
    encoded = json.dumps({"version": version, "fill": "x" * size}).encode()
    return CellImage(version, changed_ms, results, encoded)


def outlets(*cells: dict[CellField, CellImage]) -> list[Outlet]:
    """An organization for each of these, ready."""
    feeds = Feeds()
    made = []
    for number, images in enumerate(cells, 1):
        outlet = feeds.outlet(View(OrganizationId(f"1999001000{number:04d}"), VisibilityClass.EXACT_RELEASED))
        outlet.feed.fill(images)
        made.append(outlet)
    return made


def shown(frame: bytes) -> list[tuple[str, int]]:
    """Organization and version of every cell in a frame."""
    data: dict[str, Any] = json.loads(
        next(line for line in frame.decode().splitlines() if line.startswith("data: ")).removeprefix("data: ")
    )
    return [(one["id"], cell["version"]) for one in data["organizations"] for cell in one["cells"]]


def parts(box: Mailbox) -> list[bytes]:
    """All that is to be sent whole, as puts."""
    made = []
    while box.whole:
        part = box.take_part()
        made.append(put_frame(part.fragments, CURSOR, stale=False, last=part.last))
    return made


def test_cells_wait_by_name_and_leave_with_their_latest_values() -> None:
    [outlet] = outlets({ELA: image(1), MATH: image(1)})
    box = Mailbox()
    assert not box.add_changes(outlet, {ELA})
    assert box.add_changes(outlet, {ELA, MATH})
    outlet.feed.take({ELA: image(7)})
    frame = box.take_patch(CURSOR, stale=False)
    assert shown(frame) == [(outlet.feed.organization, 7), (outlet.feed.organization, 1)]
    assert frame.startswith(b"id: g1.3000\n")
    assert box.empty()


def test_changes_of_what_is_to_be_sent_whole_do_not_wait_twice() -> None:
    [outlet] = outlets({ELA: image(1)})
    box = Mailbox()
    box.add_whole([outlet])
    outlet.feed.take({ELA: image(2)})
    box.add_changes(outlet, {ELA})
    assert not box.pending
    assert [shown(frame) for frame in parts(box)] == [[(outlet.feed.organization, 2)]]


def test_starting_over_drops_what_waited() -> None:
    first, second = outlets({ELA: image(1)}, {ELA: image(1)})
    box = Mailbox()
    box.add_changes(first, {ELA})
    box.start = CURSOR
    box.restart([first, second])
    assert not box.pending and box.start is None
    assert list(box.whole) == [first, second]


def test_what_was_dropped_from_the_subscription_does_not_wait() -> None:
    first, second, third = outlets({ELA: image(1)}, {ELA: image(1)}, {ELA: image(1)})
    box = Mailbox()
    box.add_changes(first, {ELA})
    box.add_whole([second, third])
    box.drop([first, second])
    assert not box.pending and list(box.whole) == [third]


def test_much_is_several_frames_and_only_the_last_has_an_id() -> None:
    many = outlets(*({ELA: image(1, size=WHOLE_BYTES // 3)} for _ in range(7)))
    box = Mailbox()
    box.add_whole(many)
    frames = parts(box)
    assert len(frames) > 1
    assert [frame.startswith(b"id: ") for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert [one for frame in frames for one, _ in shown(frame)] == [
        outlet.feed.organization for outlet in many
    ]
    assert max(map(len, frames)) < WHOLE_BYTES * 1.1


def test_one_organization_larger_than_a_frame_is_still_one_frame() -> None:
    box = Mailbox()
    box.add_whole(outlets({ELA: image(1, size=WHOLE_BYTES * 2)}))
    assert len(parts(box)) == 1


def test_patches_of_much_are_cut_too_and_only_the_last_has_an_id() -> None:
    many = outlets(*({ELA: image(1, size=WHOLE_BYTES // 2)} for _ in range(4)))
    box = Mailbox()
    for outlet in many:
        box.add_changes(outlet, {ELA})
    frames = []
    while box.pending:
        frames.append(box.take_patch(CURSOR, stale=False))
    assert [frame.startswith(b"id: ") for frame in frames] == [False, True]
    assert max(map(len, frames)) < WHOLE_BYTES * 2


def test_only_what_changed_since_is_told_and_nothing_of_what_did_not() -> None:
    unchanged, emptied = outlets({ELA: image(1)}, {ELA: image(1), MATH: image(5, results=0)})
    box = Mailbox()
    box.add_whole([unchanged, emptied], 4_000)
    part = box.take_part()
    assert part.last and part.after_ms == 4_000
    # A cell that lost its last result has to be taken away.
    [fragment] = part.fragments
    assert json.loads(fragment)["cells"] == [{"version": 5, "fill": ""}]


def test_what_is_told_whole_and_what_only_in_part_are_frames_of_their_own() -> None:
    resumed, added = outlets({ELA: image(9)}, {ELA: image(9)})
    box = Mailbox()
    box.add_whole([resumed], 1_000)
    box.add_whole([added])
    first, second = box.take_part(), box.take_part()
    assert (first.outlets, first.after_ms, first.last) == ((resumed,), 1_000, False)
    assert (second.outlets, second.after_ms, second.last) == ((added,), None, True)


def test_a_cell_without_results_is_in_no_put() -> None:
    [outlet] = outlets({ELA: image(3, results=0), MATH: image(2)})
    box = Mailbox()
    box.add_whole([outlet])
    assert [shown(frame) for frame in parts(box)] == [[(outlet.feed.organization, 2)]]
