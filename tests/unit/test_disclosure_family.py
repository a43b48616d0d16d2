"""The published world of one family: releases back and forth, pools, claims, storing, and what always holds of it."""

from __future__ import annotations

import random

import pytest
from disclosure_schools import (
    ADAMS,
    BAKER,
    CLARK,
    COUNTY,
    DISTRICT,
    ELSEWHERE,
    EVANS,
    FLORES,
    HOUR_MS,
    NEIGHBOUR,
    STATE,
    Told,
    students,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.aggregates import Cell, contribution, levels_code
from schemas.disclosure.family import Family, unpack_family
from schemas.disclosure.held import NOBODY, Held, cell_of, held_from, held_of, total
from schemas.disclosure.published import PublishedCell, pack_published, unpack_published
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, ancestry


def test_a_family_with_nobody_never_appears() -> None:
    told = Told({ADAMS: NOBODY, EVANS: students(4, 4)})

    assert dict(told.family.published()) == {}


def test_a_district_that_is_no_longer_released_leaves_all_totals_at_once() -> None:
    told = Told({ADAMS: students(20, 20), EVANS: students(15, 15)})

    rounds = told.withdraw(EVANS)

    assert rounds.gone == {EVANS, NEIGHBOUR}
    assert told.shown(COUNTY) == told.shown(STATE) == 40


def test_a_district_that_is_released_again_says_what_it_said_until_it_may_move() -> None:
    told = Told({ADAMS: students(20, 20), EVANS: students(15, 15)})
    told.withdraw(EVANS)
    told.withheld[EVANS] = students(15, 16)  # one more came meanwhile
    told.now()

    told.release(EVANS)

    assert told.shown(EVANS) == told.shown(NEIGHBOUR) == 30
    assert told.shown(STATE) == 70


def test_a_school_that_fell_below_11_while_withheld_is_suppressed_when_it_is_released_again() -> None:
    told = Told({ADAMS: students(20, 20), EVANS: students(15, 15)})
    told.withdraw(EVANS)
    told.withheld[EVANS] = students(5, 5)

    told.release(EVANS)

    assert told.is_suppressed(EVANS)
    assert told.shown(STATE) == 40


def test_of_a_pool_whose_district_is_withheld_in_part_nothing_is_shown() -> None:
    """The rest of the pool would give away the part that was taken back."""
    told = Told({ADAMS: students(20, 20), EVANS: students(3, 3), ELSEWHERE: students(4, 4)})
    told.now(hours=30)  # small and at rest: Evans and Elsewhere are one pool
    assert told.shown(STATE) == 54

    told.withdraw(EVANS)
    assert told.shown(STATE) == 40

    told.release(EVANS)
    assert told.shown(STATE) == 54


def test_small_schools_of_several_districts_are_pooled_for_the_county_once_they_are_at_rest() -> None:
    told = Told({ADAMS: students(20, 20), BAKER: students(3, 3), EVANS: students(3, 4)})
    told.now({CLARK: students(30, 30)})
    assert told.shown(COUNTY) == 46 + 60  # Baker and Adams are one pool: all came with the release

    told = Told({ADAMS: students(20, 20)})
    told.now({BAKER: students(3, 3), EVANS: students(3, 4)})
    assert told.shown(COUNTY) == 40

    told.now(hours=24)

    assert told.shown(COUNTY) == 53
    assert told.shown(DISTRICT) == 40
    assert told.is_suppressed(NEIGHBOUR)


def test_a_school_leaves_its_pool_when_it_has_11_new_students_and_the_rest_is_the_lesser_loss() -> None:
    told = Told({ADAMS: students(20, 20), CLARK: students(2, 2)})
    assert told.is_suppressed(ADAMS)

    told.now({ADAMS: students(26, 26)})

    assert told.shown(ADAMS) == told.shown(DISTRICT) == 52


def test_two_schools_part_when_both_have_11_new_students() -> None:
    told = Told({ADAMS: students(5, 4), BAKER: students(4, 5)})
    assert (told.shown(ADAMS), told.shown(DISTRICT)) == (None, 18)

    told.now({ADAMS: students(12, 12), BAKER: students(12, 12)})

    assert [told.shown(cell) for cell in (ADAMS, BAKER, DISTRICT)] == [24, 24, 48]


def test_a_school_with_enough_students_of_its_own_waits_for_nobody() -> None:
    told = Told({ADAMS: students(2, 2), BAKER: students(1)})

    told.now({ADAMS: students(6, 6)})

    assert told.shown(ADAMS) == 12


def test_students_who_come_from_another_school_are_not_new() -> None:
    """All but one of Adams's students go to Baker, whose totals would then give that one away."""
    told = Told({ADAMS: students(10, 10), BAKER: students(10, 10)})

    told.now({ADAMS: students(1), BAKER: students(19, 20)})

    assert told.is_suppressed(ADAMS)
    assert told.shown(BAKER) == told.shown(DISTRICT) == 20


def test_students_who_come_from_a_withheld_school_are_not_new() -> None:
    told = Told({ADAMS: students(20, 20), EVANS: students(10, 10)})
    told.withdraw(EVANS)

    told.withheld[EVANS] = students(1)
    told.now({ADAMS: students(29, 30)})

    assert told.shown(ADAMS) == 40


def test_a_claim_moves_only_with_11_new_students_who_have_a_level_in_it() -> None:
    told = Told({ADAMS: students(10, 10, claims=(10, 10))})

    told.now({ADAMS: students(20, 20, claims=(11, 11))})

    published = told.family.published()[ADAMS]
    assert published is not None
    assert published.with_scores == 40
    assert published.level_counts(1) == (10, 10, 0, 0)


def test_a_round_without_changes_changes_nothing() -> None:
    told = Told({ADAMS: students(20, 20), EVANS: students(3, 3), BAKER: students(2, 2)})

    rounds = told.now()

    assert rounds.changed == {} and not rounds.gone


def test_a_family_that_was_stored_goes_on_as_if_it_had_not_been() -> None:
    rng = random.Random(3)
    one = Told({ADAMS: students(20, 20), BAKER: students(4, 4), EVANS: students(9, 9)})
    for _ in range(30):
        school = rng.choice([ADAMS, BAKER, CLARK, EVANS, FLORES, ELSEWHERE])
        one.actual[school] = students(rng.randrange(30), rng.randrange(30), claims=(rng.randrange(30), 5))
        if rng.random() < 0.3:
            one.withheld |= {gone: one.actual.pop(gone) for gone in (EVANS, FLORES) if gone in one.actual}
        other = unpack_family(one.family.pack())
        assert other.published() == one.family.published()
        expected = one.now(hours=rng.choice((1, 26)))
        assert other.publish(one.actual, one.hour * HOUR_MS, one.withheld) == expected
        assert other.pack() == one.family.pack()


@pytest.mark.parametrize("packed", [b"", b"\x00", b"x\x9c\x03\x00\x00\x00\x00\x01", Family().pack()[:-3]])
def test_bytes_that_are_no_family_are_refused(packed: bytes) -> None:
    with pytest.raises(InvalidInput, match="no family of format 1"):
        unpack_family(packed)


def test_what_is_held_of_a_cell_adds_up_and_becomes_a_cell_again() -> None:
    cell = Cell()
    for number in range(12):
        cell.apply(contribution(2400 + number, levels_code([1 + number % 4, 0, 2]), under_appeal=number == 3))
    cell.apply(contribution(None))

    held = held_of(cell)
    again = cell_of(total([held, held]), version=7)

    assert held == Held((3, 3, 3, 3, 0, 0, 0, 0, 0, 12), cell.score_sum)
    assert (again.results, again.with_scores, again.under_appeal, again.version) == (24, 24, 0, 7)
    assert again.score_sum == 2 * cell.score_sum
    assert again.level_counts(2) == [0, 24, 0, 0]


@pytest.mark.parametrize(
    "held", [None, students(30, 20, 7, 0, claims=(3, 4, 5))], ids=["suppressed", "shown"]
)
def test_a_published_cell_survives_being_stored(held: Held | None) -> None:
    published = PublishedCell(3, 1_762_000_000_123, None if held is None else cell_of(held, 3))

    assert unpack_published(pack_published(published)) == published


@pytest.mark.parametrize("packed", [b"", b"\x00" * 5, b"\xff" * 40])
def test_bytes_that_are_no_published_cell_are_refused(packed: bytes) -> None:
    with pytest.raises(InvalidInput):
        unpack_published(packed)


counts = st.lists(st.integers(0, 14), min_size=4, max_size=8)
schools = st.sampled_from([ADAMS, BAKER, CLARK, EVANS, FLORES, ELSEWHERE])
steps = st.lists(
    st.tuples(schools, counts, st.booleans(), st.sampled_from([1, 1, 30])), min_size=1, max_size=25
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_happens_what_is_shown_is_large_and_spread_and_parents_hide_nothing_small(
    happened: list[tuple[OrganizationId, list[int], bool, int]],
) -> None:
    told = Told()
    before: dict[OrganizationId, Held | None] = {}
    for school, levels, is_released, hours in happened:
        here, there = (told.actual, told.withheld) if is_released else (told.withheld, told.actual)
        there.pop(school, None)
        here[school] = held_from(levels, 2400 * sum(levels[:4]))
        rounds = told.now(hours=hours)

        published = dict(told.family.published())
        assert published == {k: v for k, v in (before | dict(rounds.changed)).items() if k not in rounds.gone}
        assert all(
            organization not in before or before[organization] != value
            for organization, value in rounds.changed.items()
        )
        before = published
        for organization, value in published.items():
            if value is not None:
                _large_and_spread(organization, value, told)
                _hides_nothing_small(organization, value, published)


def _large_and_spread(organization: OrganizationId, value: Held, told: Told) -> None:
    assert value.with_scores >= 11
    for measure in range(2):
        shown = value.level_counts(measure)
        assert not any(shown) or (sum(shown) >= 11 and sum(count > 0 for count in shown) > 1)
    now = total(held for school, held in told.actual.items() if organization in ancestry(school))
    assert now.with_scores >= 11


def _hides_nothing_small(
    organization: OrganizationId, value: Held, published: dict[OrganizationId, Held | None]
) -> None:
    parts = [
        part.with_scores
        for other, part in published.items()
        if part is not None and organization in ancestry(other)[1:2]
    ]
    if parts:
        rest = value.with_scores - sum(parts)
        assert rest == 0 or rest >= 11
