"""Streams while release states change: who gains and who loses rows, at once, and who hears nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_tables import (
    COUNTY,
    DISTRICT,
    ELA,
    EMPTY_DISTRICT,
    MATH,
    NEW_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    FakeLine,
    World,
    school,
    settled,
    until,
    viewer,
    world,
)

from gateway import sse
from gateway.following import RELEASE_MARGIN_MS, TablesState
from gateway.images import View
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import Cell, CellField, cell_field, contribution, levels_code
from schemas.identifiers import STATE, OrganizationId
from schemas.keys import Generation
from schemas.releases import ReleaseState

pytestmark = pytest.mark.anyio

LOADING, REVIEWING, RELEASED = ReleaseState
SEES_LOADING, SEES_REVIEWING, SEES_RELEASED, MASKED = VisibilityClass
OTHER_DISTRICT = EMPTY_DISTRICT
OTHER_SCHOOL = OrganizationId("19990020000201")
CLOSED_DISTRICT = OrganizationId("19990030000000")
CLOSED_SCHOOL = OrganizationId("19990030000301")
OURS = (2026, DISTRICT, "ELA")
THEIRS = (2026, OTHER_DISTRICT, "ELA")


@asynccontextmanager
async def county() -> AsyncIterator[World]:
    """Two districts, of which nothing is released. Ours has 5 results at one school, and theirs has 70."""
    async with world() as here:
        here.tables.entries[OTHER_SCHOOL] = school(OTHER_SCHOOL, "Fir Middle")
        here.tables.directory_version += 1
        here.tables.set_states({}, LOADING)
        here.tables.score(SCHOOL, results=5)
        here.tables.score(OTHER_SCHOOL, results=70)
        await here.know_releases()
        yield here


async def release(here: World, *keys: tuple[int, OrganizationId, str], state: ReleaseState) -> None:
    here.tables.release(*keys, state=state)
    await here.know_releases()


async def much_later(here: World) -> None:
    """So long after a release change that every gateway has heard of it."""
    here.tables.now_ms += 2 * RELEASE_MARGIN_MS
    here.tables.wake()
    await settled()
    here.tables.score(SCHOOL)  # a tick moves the ids
    await settled()


def held(line: FakeLine, organization: OrganizationId) -> dict[str, int | None]:
    """What a client has of an organization after all that it was sent: results by test."""
    cells: dict[str, int | None] = {}
    for kind, data, _ in line.events("put", "patch"):
        for one in data["organizations"]:
            if one["id"] == organization:
                if kind == "put":
                    cells.clear()
                cells |= {cell["test"]: cell["results"] for cell in one["cells"]}
    return {test: results for test, results in cells.items() if results != 0}


def last_id(line: FakeLine) -> sse.Cursor:
    found = [event_id for _, _, event_id in line.events() if event_id]
    cursor = sse.parse_cursor(found[-1])
    assert cursor is not None
    return cursor


@pytest.mark.parametrize("topic", [f"school/{SCHOOL}", f"district/{DISTRICT}"])
async def test_rows_come_and_go_with_the_release_state_for_exactly_those_whom_it_concerns(topic: str) -> None:
    async with county() as here:
        here.tables.publish(SCHOOL, ELA, published(5, 7))
        here.tables.publish(DISTRICT, ELA, published(5, 7))
        lines = {one: here.stream(topic, who=viewer(one))[1] for one in VisibilityClass}
        await until(lambda: all(line.events("progress") for line in lines.values()))
        organization = OrganizationId(topic[-14:])
        for state in (LOADING, REVIEWING, RELEASED, REVIEWING, LOADING):
            await release(here, OURS, state=state)
            seeing = {one for one, line in lines.items() if "ELA-SUM" in held(line, organization)}
            assert seeing == {one for one in VisibilityClass if state >= one.lowest}
        assert len(lines[SEES_LOADING].events("put")) == 1, "to them nothing ever changed"


async def test_a_county_comes_to_the_released_districts_exactly_and_follows_them() -> None:
    async with county() as here:
        _, all_of_it = here.stream(f"county/{COUNTY}", who=viewer(SEES_LOADING))
        _, line = here.stream(f"county/{COUNTY}", f"state/{STATE}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        assert held(all_of_it, COUNTY) == {"ELA-SUM": 75}
        assert held(line, COUNTY) == held(line, STATE) == {}
        await release(here, OURS, state=RELEASED)
        assert held(line, COUNTY) == held(line, STATE) == {"ELA-SUM": 5}
        here.tables.score(SECOND_SCHOOL, results=2)
        here.tables.score(OTHER_SCHOOL, results=10)
        await settled()
        assert held(line, COUNTY) == held(line, STATE) == {"ELA-SUM": 7}
        await release(here, THEIRS, state=RELEASED)
        assert held(line, COUNTY) == {"ELA-SUM": 87}
        await release(here, OURS, state=REVIEWING)
        assert held(line, COUNTY) == held(line, STATE) == {"ELA-SUM": 80}
        assert held(all_of_it, COUNTY) == {"ELA-SUM": 87}


async def test_the_first_result_of_a_test_reaches_a_sum_as_well() -> None:
    async with county() as here:
        here.tables.release(OURS, (2026, DISTRICT, "Math"), state=RELEASED)
        await here.know_releases()
        _, line = here.stream(f"county/{COUNTY}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        here.tables.score(OTHER_SCHOOL, MATH, results=30)
        here.tables.score(SCHOOL, MATH, results=3)
        await settled()
        assert held(line, COUNTY) == {"ELA-SUM": 5, "MATH-SUM": 3}


async def test_a_change_while_districts_are_read_for_a_sum_is_in_the_sum() -> None:
    async with county() as here:
        here.tables.release(OURS, state=RELEASED)
        await here.know_releases()
        here.tables.ticks_go_on.clear()  # the districts' cells are read, as ticks read them, and do not come
        _, line = here.stream(f"county/{COUNTY}", who=viewer(SEES_RELEASED))
        await settled()
        here.tables.score(SCHOOL, results=1)
        await settled()
        here.tables.ticks_go_on.set()
        await until(lambda: line.events("progress"))
        await settled()
        assert held(line, COUNTY) == {"ELA-SUM": 6}


async def test_a_new_district_does_not_slip_into_a_county_total_before_its_state_is_known() -> None:
    async with county() as here:
        here.tables.release(OURS, THEIRS, state=RELEASED)
        await here.know_releases()
        _, line = here.stream(f"county/{COUNTY}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        assert held(line, COUNTY) == {"ELA-SUM": 75}
        here.tables.entries[CLOSED_SCHOOL] = school(CLOSED_SCHOOL, "Gum Primary")
        here.tables.directory_version += 1  # nobody has looked at the directory yet
        here.tables.score(CLOSED_SCHOOL, results=100)
        await settled()
        assert held(line, COUNTY) == {"ELA-SUM": 75}
        _, newcomer = here.stream(f"state/{STATE}", who=viewer(SEES_RELEASED))
        await until(lambda: newcomer.events("progress"))
        assert held(newcomer, STATE) == {"ELA-SUM": 75}


async def test_what_a_tick_has_read_is_not_delivered_after_it_was_withdrawn() -> None:
    async with county() as here:
        here.tables.release(OURS, THEIRS, state=RELEASED)
        await here.know_releases()
        _, line = here.stream(f"school/{SCHOOL}", f"county/{COUNTY}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        here.tables.ticks_go_on.clear()
        here.tables.score(SCHOOL, results=4)
        await settled()
        sent = len(line.events("put", "patch"))
        here.tables.release(OURS, state=REVIEWING)
        here.hub.look()
        await settled()
        here.tables.ticks_go_on.set()
        await settled()
        assert held(line, SCHOOL) == {} and held(line, COUNTY) == {"ELA-SUM": 70}
        later = line.events("put", "patch")[sent:]
        assert not [cell for _, data, _ in later for one in data["organizations"] for cell in one["cells"]
                    if one["id"] == SCHOOL]  # fmt: skip


async def test_only_those_who_watch_what_it_is_about_hear_of_a_release_and_they_share_the_bytes() -> None:
    async with county() as here:
        lines = [here.stream(f"school/{SCHOOL}", who=viewer(SEES_RELEASED))[1] for _ in range(3)]
        _, elsewhere = here.stream(f"school/{OTHER_SCHOOL}", who=viewer(SEES_RELEASED))
        await until(lambda: all(line.events("progress") for line in (*lines, elsewhere)))
        before = len(elsewhere.writes)
        counted = [len(line.writes) for line in lines]
        await release(here, OURS, state=RELEASED)
        assert len(elsewhere.writes) == before
        first, *others = (line.writes[count] for line, count in zip(lines, counted, strict=True))
        assert b"event: put" in first
        assert all(one is first for one in others)


async def test_a_slow_client_is_sent_what_it_may_see_then_and_never_what_waited_for_it() -> None:
    async with county() as here:
        here.tables.release(OURS, state=RELEASED)
        await here.know_releases()
        slow, line = here.stream(f"school/{SCHOOL}", f"school/{OTHER_SCHOOL}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        slow.paused()  # it has taken all, but its connection is not asked yet
        here.tables.score(SCHOOL, results=4)
        await settled()
        await release(here, OURS, state=LOADING)
        line.drain()
        await settled()
        assert held(line, SCHOOL) == {}
        assert not line.events("patch")


async def test_what_a_client_has_not_taken_when_it_is_withdrawn_is_dropped_with_the_connection() -> None:
    async with county() as here:
        here.tables.release(OURS, state=RELEASED)
        await here.know_releases()
        stream, line = here.stream(f"school/{SCHOOL}", who=viewer(SEES_RELEASED))
        _, other = here.stream(f"school/{OTHER_SCHOOL}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress") and other.events("progress"))
        line.full = other.full = True
        here.tables.score(SCHOOL, results=4)
        await until(lambda: line.events("patch"))
        await release(here, THEIRS, state=RELEASED)
        assert not line.was_reset and not other.was_reset, "nothing was taken away"
        await release(here, OURS, state=REVIEWING)
        assert line.was_reset and stream.reason is sse.CloseReason.SLOW_READER
        assert not other.was_reset


async def test_an_id_of_before_a_release_change_brings_everything_and_a_later_one_what_changed() -> None:
    async with county() as here:
        here.tables.release(OURS, state=RELEASED)
        await here.know_releases()
        topic, who = f"school/{SCHOOL}", viewer(SEES_RELEASED)
        _, line = here.stream(topic, who=who)
        await until(lambda: line.events("progress"))
        here.tables.now_ms += 60_000
        await release(here, OURS, state=REVIEWING)
        _, back = here.stream(topic, who=who, cursor=last_id(line))
        _, asking = here.stream(topic, who=who, since_ms=last_id(line).milliseconds)
        await until(lambda: back.events("progress") and asking.events("progress"))
        assert held(back, SCHOOL) == {} and back.events("put") and asking.events("put")
        await much_later(here)
        _, later = here.stream(topic, who=who, cursor=here.hub.cursor)
        await until(lambda: later.events("progress"))
        assert not later.events("put")


async def test_an_id_given_to_one_class_brings_everything_to_another() -> None:
    async with county() as here:
        topic = f"school/{SCHOOL}"
        _, line = here.stream(topic, who=viewer(SEES_RELEASED))
        _, masked = here.stream(topic, who=viewer(MASKED))
        await until(lambda: line.events("progress") and masked.events("progress"))
        for earlier, one in ((line, SEES_LOADING), (line, MASKED), (masked, SEES_RELEASED)):
            _, back = here.stream(topic, who=viewer(one), cursor=last_id(earlier))
            await until(lambda back=back: back.events("progress"))
            assert back.events("put")
        await much_later(here)
        for one in VisibilityClass:
            _, line = here.stream(topic, who=viewer(one))
            await until(lambda line=line: line.events("progress"))
            _, same = here.stream(topic, who=viewer(one), cursor=last_id(line))
            assert bool(same.events("put")) is (one is MASKED), "what is published comes whole"


async def test_a_token_that_opens_more_or_less_shows_more_or_less_from_then_on() -> None:
    async with county() as here:
        stream, line = here.stream(f"school/{SCHOOL}", who=viewer(SEES_LOADING))
        await until(lambda: line.events("progress"))
        assert held(line, SCHOOL) == {"ELA-SUM": 5}
        here.tables.ticks_go_on.clear()
        here.tables.score(SCHOOL)
        await settled()
        stream.renew(viewer(SEES_RELEASED))
        here.tables.ticks_go_on.set()
        await settled()
        assert held(line, SCHOOL) == {}
        stream.renew(viewer(SEES_LOADING))
        await until(lambda: held(line, SCHOOL) == {"ELA-SUM": 6})


async def test_nothing_is_sent_before_the_release_states_are_known() -> None:
    async with world() as here:
        here.tables.states = None
        here.hub._following.releases = None
        here.tables.generation = Generation("g2")
        here.hub.look()
        await until(lambda: here.hub.state is TablesState.WARMING)
        _, line = here.stream(f"school/{SCHOOL}")
        await settled()
        assert not line.events("put")


async def test_a_plain_request_is_answered_by_the_same_rules() -> None:
    async with county() as here:
        views = [View(COUNTY, one) for one in VisibilityClass]
        here.tables.publish(COUNTY, ELA, None)

        async def seen() -> list[Any]:
            return [len(one.shown()) for one in await here.hub.snapshots(views)]

        assert await seen() == [1, 0, 0, 0]
        await release(here, OURS, state=REVIEWING)
        assert await seen() == [1, 1, 0, 0]
        await release(here, OURS, state=RELEASED)
        assert await seen() == [1, 1, 1, 1]


# What is published.


def published(*levels: int) -> Cell:
    cell = Cell()
    for level, students in enumerate(levels, start=1):
        cell.apply_all([contribution(2450, levels_code([level]))] * students)
    return cell


async def test_where_nothing_is_published_yet_there_is_an_empty_answer() -> None:
    async with county() as here:
        await release(here, OURS, state=RELEASED)
        _, line = here.stream(f"district/{DISTRICT}", who=viewer(MASKED))
        await until(lambda: line.events("progress"))
        [(_, put, _)] = line.events("put")
        assert put["organizations"][0]["cells"] == [] and "stale" not in put


async def test_a_suppressed_cell_says_so_and_one_without_results_is_not_there() -> None:
    async with county() as here:
        here.tables.publish(SCHOOL, ELA, None)
        here.tables.publish(DISTRICT, ELA, published(0, 6, 8))
        await release(here, OURS, state=RELEASED)
        _, line = here.stream(f"school/{SCHOOL}", f"district/{DISTRICT}", who=viewer(MASKED))
        await until(lambda: line.events("progress"))
        [(_, put, _)] = line.events("put")
        cells = {one["id"]: one["cells"] for one in put["organizations"]}
        [hidden], [shown] = cells[SCHOOL], cells[DISTRICT]
        assert hidden["suppressed"] is True
        assert [hidden[name] for name in ("results", "with_scores", "mean", "median")] == [None] * 4
        assert hidden["levels"] == hidden["claims"] == []
        assert "suppressed" not in shown
        assert (shown["results"], shown["with_scores"], shown["mean"]) == (14, 14, 2450)
        assert shown["under_appeal"] is shown["standard_error"] is shown["median"] is None
        assert [level["count"] for level in shown["levels"]] == [0, 6, 8, 0]


async def test_whoever_sees_what_is_published_hears_nothing_of_what_is_not() -> None:
    async with county() as here:
        here.tables.publish(SCHOOL, ELA, None)
        await release(here, OURS, state=RELEASED)
        _, line = here.stream(f"school/{SCHOOL}", who=viewer(MASKED))
        await until(lambda: line.events("progress"))
        written, read = len(line.writes), len(here.tables.reads)
        for _ in range(5):
            here.tables.score(SCHOOL)
            await settled()
        assert (len(line.writes), len(here.tables.reads)) == (written, read)
        here.tables.publish(SCHOOL, ELA, published(5, 7))
        await until(lambda: held(line, SCHOOL) == {"ELA-SUM": 12})


async def test_what_is_published_no_longer_disappears() -> None:
    async with county() as here:
        here.tables.publish(SCHOOL, ELA, published(5, 7))
        here.tables.publish(SCHOOL, MATH, published(9, 9))
        await release(here, OURS, (2026, DISTRICT, "Math"), state=RELEASED)
        stream, line = here.stream(f"school/{SCHOOL}", who=viewer(MASKED))
        slow, waiting = here.stream(f"school/{SCHOOL}", who=viewer(MASKED))
        await until(lambda: line.events("progress") and waiting.events("progress"))
        slow.paused()
        here.tables.publish(SCHOOL, ELA, published(8, 8))
        await settled()
        here.tables.take_back(SCHOOL, ELA)
        await until(lambda: held(line, SCHOOL) == {"MATH-SUM": 18})
        waiting.drain()
        assert held(waiting, SCHOOL) == {"MATH-SUM": 18}
        stream.gone()
        here.tables.now_ms += 60_000
        _, back = here.stream(f"school/{SCHOOL}", who=viewer(MASKED), cursor=last_id(line))
        await until(lambda: back.events("progress"))
        assert back.events("put"), "a patch could not tell that something is gone"


async def test_a_row_that_is_not_released_is_not_shown_even_if_it_is_still_published() -> None:
    async with county() as here:
        field = cell_field(2026, "ELA-ICA", "03")
        for organization in (SCHOOL, DISTRICT, COUNTY, STATE):
            here.tables.publish(organization, ELA, published(5, 7))
            here.tables.publish(organization, CellField(field), published(6, 7))
        topics = (f"school/{SCHOOL}", f"district/{DISTRICT}", f"county/{COUNTY}", f"state/{STATE}")
        _, line = here.stream(*topics, who=viewer(MASKED))
        await until(lambda: line.events("progress"))
        for organization in (SCHOOL, DISTRICT, COUNTY, STATE):
            assert held(line, organization) == {"ELA-ICA": 13}
        await release(here, THEIRS, state=RELEASED)
        assert held(line, SCHOOL) == held(line, DISTRICT) == {"ELA-ICA": 13}
        assert held(line, COUNTY) == {"ELA-SUM": 12, "ELA-ICA": 13}


async def test_a_school_that_is_new_to_a_district_is_shown_as_the_district_is() -> None:
    async with county() as here:
        await release(here, OURS, state=RELEASED)
        here.tables.score(NEW_SCHOOL, results=8)
        _, line = here.stream(f"school/{SCHOOL}", f"district/{DISTRICT}", who=viewer(SEES_RELEASED))
        await until(lambda: line.events("progress"))
        assert held(line, DISTRICT) == {"ELA-SUM": 13}
