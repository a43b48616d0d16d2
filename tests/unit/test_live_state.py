"""What the Python client makes of the frames of a stream, and when it knows that something is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_gateway import DISTRICT, NOON, SCHOOL, SECOND_SCHOOL, cell, patch, progress, put, subscribed

from consumers.live.changes import CellChanged, Change, Mailbox, OrganizationLeft
from consumers.live.errors import FrameUnreadable
from consumers.live.frames import Progress, decode
from consumers.live.state import LiveState
from schemas.aggregates import CellName
from schemas.figures import Figures
from schemas.identifiers import Grade, OrganizationId, TestCode

ELA = CellName(2026, TestCode("ELA-SUM"), Grade("03"))
BOTH = (f"school/{SCHOOL}", f"school/{SECOND_SCHOOL}")


def told(state: LiveState, *frames: bytes) -> list[Change]:
    """What changes when these frames come."""
    changes: list[Change] = []
    for one in frames:
        fields = dict(line.split(": ", 1) for line in one.decode().rstrip("\n").split("\n"))
        decoded = decode(fields["event"], fields["data"])
        assert decoded is not None
        changes += state.apply(decoded)
    return changes


def opened(*frames: bytes, resumed: bool = False, state: LiveState | None = None) -> LiveState:
    """A state with a connection on which these frames came."""
    state = state or LiveState()
    state.opened(resumed=resumed)
    told(state, *frames)
    return state


def shown(state: LiveState, school: str = SCHOOL) -> Figures | None:
    return state.cell(school, 2026, "ELA-SUM", "03")


def left(changes: list[Change]) -> list[str]:
    return [change.organization for change in changes if isinstance(change, OrganizationLeft)]


def test_a_put_replaces_everything_of_the_school_and_tells_what_differs() -> None:
    state = opened(put({SCHOOL: [cell(4), cell(2, test="MATH-SUM")]}))
    changes = told(state, put({SCHOOL: [cell(5), cell(1, test="CAA-ELA")]}))
    assert {(change.name.test, change.before is None, change.after is None) for change in changes} == {  # type: ignore[union-attr]  # a put changes cells only
        ("ELA-SUM", False, False),
        ("MATH-SUM", False, True),
        ("CAA-ELA", True, False),
    }
    held = state.organization(SCHOOL)
    assert held is not None
    assert {name.test for name in held.cells} == {"ELA-SUM", "CAA-ELA"}


def test_a_put_of_what_is_known_already_changes_nothing() -> None:
    state = opened(put({SCHOOL: [cell(4)]}))
    assert told(state, put({SCHOOL: [cell(4)]})) == []


@pytest.mark.parametrize(
    ("version", "changed_ms", "taken"),
    [
        pytest.param(5, NOON, True, id="later version"),
        pytest.param(4, NOON + 1, True, id="same version after a rollback of the store, later time"),
        pytest.param(5, NOON - 1, True, id="later version, clock set back"),
        pytest.param(4, NOON, False, id="the same again"),
        pytest.param(3, NOON, False, id="older version"),
        pytest.param(4, NOON - 1, False, id="older time"),
    ],
)
def test_a_patched_cell_is_taken_when_its_version_or_its_time_is_later(
    version: int, changed_ms: int, taken: bool
) -> None:
    state = opened(put({SCHOOL: [cell(4)]}))
    changes = told(state, patch({SCHOOL: [cell(version, results=9, changed_ms=changed_ms)]}))
    assert len(changes) == taken
    figures = shown(state)
    assert figures is not None
    assert figures.results == (9 if taken else 3)


@given(st.lists(st.integers(min_value=1, max_value=20), min_size=1))
def test_whatever_the_order_of_patches_a_version_never_goes_back_and_the_latest_stays(
    versions: list[int],
) -> None:
    state = opened(put({SCHOOL: []}))
    last = 0
    for version in versions:
        told(state, patch({SCHOOL: [cell(version)]}))
        figures = shown(state)
        assert figures is not None
        assert figures.version >= last
        last = figures.version
    assert last == max(versions)


def test_a_cell_whose_last_result_moved_away_is_gone_and_an_older_patch_does_not_bring_it_back() -> None:
    state = opened(put({SCHOOL: [cell(4)]}))
    assert [change.after for change in told(state, patch({SCHOOL: [cell(5, results=0)]}))] == [None]  # type: ignore[union-attr]  # a patch changes cells only
    assert shown(state) is None
    assert told(state, patch({SCHOOL: [cell(4)]})) == []
    assert shown(state) is None
    assert len(told(state, patch({SCHOOL: [cell(6)]}))) == 1


def test_dropped_schools_are_forgotten() -> None:
    state = opened(subscribed(2, *BOTH), put({SCHOOL: [cell()], SECOND_SCHOOL: [cell()]}))
    changes = told(state, subscribed(1, BOTH[0], dropped=[SECOND_SCHOOL]))
    assert left(changes) == [SECOND_SCHOOL]
    assert state.organization(SECOND_SCHOOL) is None
    assert state.whole


def test_a_put_cut_between_two_schools_is_not_whole() -> None:
    state = opened(subscribed(2, *BOTH), put({SCHOOL: [cell()]}, None))
    assert not state.whole
    told(state, put({SECOND_SCHOOL: []}))
    assert state.whole


def test_a_subtree_without_schools_is_whole_at_once() -> None:
    assert opened(subscribed(0, f"district/{DISTRICT}/schools")).whole


def test_a_school_that_left_while_everything_is_told_anew_is_forgotten_when_all_others_are_there() -> None:
    state = opened(subscribed(2, *BOTH), put({SCHOOL: [cell()], SECOND_SCHOOL: [cell()]}))
    opened(subscribed(1, *BOTH), state=state)
    assert state.organization(SECOND_SCHOOL) is not None, "shown until its successor is known"
    assert left(told(state, put({SCHOOL: [cell()]}))) == [SECOND_SCHOOL]
    assert state.whole


def test_after_a_change_of_filters_nothing_is_whole_until_everything_came_again() -> None:
    state = opened(subscribed(1), put({SCHOOL: [cell()]}))
    state.change_asked(other_filters=True)
    assert not state.whole
    told(state, subscribed(1, tests=["MATH-SUM"]))
    assert not state.whole
    told(state, patch({SCHOOL: [cell(2, test="MATH-SUM")]}))
    assert not state.whole
    told(state, put({SCHOOL: [cell(2, test="MATH-SUM")]}))
    assert state.whole
    assert shown(state) is None


def test_a_renewal_while_a_change_is_under_way_does_not_confirm_the_change() -> None:
    state = opened(subscribed(1), put({SCHOOL: [cell()]}))
    state.change_asked(other_filters=False)
    told(state, subscribed(1))
    assert state.unconfirmed
    told(state, subscribed(2, *BOTH))
    assert not state.unconfirmed
    assert not state.whole
    told(state, put({SECOND_SCHOOL: []}))
    assert state.whole


def test_a_refused_change_leaves_everything_as_it_was() -> None:
    state = opened(subscribed(1), put({SCHOOL: [cell()]}))
    state.change_asked(other_filters=True)
    state.change_refused()
    assert state.whole


@pytest.mark.parametrize("organizations", [1, 3])
def test_a_resumed_stream_about_more_or_fewer_schools_starts_anew(organizations: int) -> None:
    state = opened(subscribed(2, *BOTH), put({SCHOOL: [cell()], SECOND_SCHOOL: [cell()]}))
    opened(subscribed(organizations, *BOTH), resumed=True, state=state)
    assert not state.must_start_anew, "its put may still come"
    told(state, progress())
    assert state.must_start_anew


def test_a_resumed_stream_about_the_same_schools_goes_on() -> None:
    state = opened(subscribed(1), put({SCHOOL: [cell()]}))
    opened(subscribed(1), patch({SCHOOL: [cell(2)]}), progress(), progress(), resumed=True, state=state)
    assert state.whole
    assert not state.must_start_anew


def test_a_patch_of_a_school_that_was_never_put_makes_it_start_anew_unless_its_put_follows() -> None:
    state = opened(subscribed(1), put({SCHOOL: [cell()]}), progress())
    told(state, patch({SECOND_SCHOOL: [cell()]}))
    assert not state.whole
    waiting = opened(subscribed(1), put({SCHOOL: [cell()]}), progress(), patch({SECOND_SCHOOL: [cell()]}))
    told(waiting, subscribed(2, *BOTH), put({SECOND_SCHOOL: [cell()]}), progress())
    assert waiting.whole
    told(state, progress())
    assert state.must_start_anew


def test_the_latest_frame_says_whether_older_results_are_missing() -> None:
    state = opened(put({SCHOOL: [cell()]}, stale=True))
    assert state.stale
    told(state, progress(None, stale=True))
    assert state.stale
    assert state.complete is None
    told(state, progress())
    assert not state.stale
    assert state.complete is not None


def test_what_was_complete_stays_so_while_the_tables_are_away() -> None:
    state = opened(put({SCHOOL: [cell()]}), progress(NOON))
    told(state, progress(None, live=False))
    assert not state.moving
    assert state.complete is not None


def test_unknown_events_and_fields_are_passed_over() -> None:
    assert decode("weather", "{") is None
    assert isinstance(
        decode("progress", '{"complete":null,"as_of":null,"live":true,"mood":{"calm":[1]}}'), Progress
    )


@pytest.mark.parametrize(
    "data", ["", "{", "[]", '{"live":"yes"}', '{"complete":"noon","as_of":null,"live":true}']
)
def test_a_known_event_with_other_data_is_named(data: str) -> None:
    with pytest.raises(FrameUnreadable, match="progress"):
        decode("progress", data)


def changed(before: Figures | None, after: Figures | None, school: str = SCHOOL) -> CellChanged:
    return CellChanged(OrganizationId(school), ELA, before, after)


def taken(mailbox: Mailbox) -> list[Change]:
    found = []
    while (change := mailbox.take()) is not None:
        found.append(change)
    return found


def test_a_slow_reader_gets_the_latest_of_each_cell_and_what_it_knew_before() -> None:
    mailbox = Mailbox()
    for version in range(1, 1_000):
        mailbox.add([changed(cell(version), cell(version + 1))])
    assert taken(mailbox) == [changed(cell(1), cell(1_000))]


def test_a_cell_that_came_and_went_unread_is_not_told() -> None:
    mailbox = Mailbox()
    mailbox.add([changed(None, cell(1)), changed(cell(1), None)])
    assert taken(mailbox) == []


def test_of_a_school_that_left_only_that_is_told() -> None:
    mailbox = Mailbox()
    mailbox.add([changed(None, cell(1)), changed(None, cell(1), SECOND_SCHOOL)])
    mailbox.add([OrganizationLeft(OrganizationId(SCHOOL))])
    mailbox.add([changed(None, cell(2))])
    assert taken(mailbox) == [
        changed(None, cell(1), SECOND_SCHOOL),
        OrganizationLeft(OrganizationId(SCHOOL)),
        changed(None, cell(2)),
    ]


def test_progress_is_told_behind_the_figures_that_it_speaks_of() -> None:
    first, second = (Progress(complete=None, as_of=None, live=live) for live in (False, True))
    mailbox = Mailbox()
    waiting: list[Any] = [first, changed(None, cell(1)), second]
    mailbox.add(waiting)
    assert taken(mailbox) == [changed(None, cell(1)), second]


def test_a_suppressed_cell_is_held_and_told_and_one_that_was_withdrawn_is_not_with_its_versions_beginning_anew() -> (
    None
):
    hidden = msgspec.structs.replace(cell(3), results=None, with_scores=None, mean=None, suppressed=True)
    state = opened(put({SCHOOL: [hidden]}))
    held = shown(state)
    assert held is not None and held.suppressed and held.results is None
    [gone] = told(state, put({SCHOOL: []}))
    assert isinstance(gone, CellChanged) and gone.after is None and shown(state) is None
    told(state, put({SCHOOL: [cell(1)]}), patch({SCHOOL: [cell(2)]}))
    held = shown(state)
    assert held is not None and held.version == 2
