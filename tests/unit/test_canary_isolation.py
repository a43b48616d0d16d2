"""Canaries never touch a real figure: not in the tables, not in the recount, not in what is published, listed or granted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import pytest
from fake_tables import DISTRICT, SCHOOL, FakeTables
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_partition import MemoryPartition
from msgspec.structs import replace
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.history import Event, History
from simulation.log import LogRecord
from simulation.oracle import NOTHING, CellName, Counted, counted, recount

from cli.simulator.recount import Recount
from schemas.access.permissions import Grant, Permission, VisibilityClass
from schemas.access.roles import BUILT_IN_ROLES, CANARY_ROLE
from schemas.access.visibility import Visibility
from schemas.aggregates import CellField
from schemas.assessments import load_registry
from schemas.canary import CANARY_COUNTY, canary_entries, canary_school, is_canary, names_canary
from schemas.errors import InvalidInput
from schemas.events import decode_exam_result, encode_event
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry, district_of
from schemas.keys import Attribution
from schemas.organization_list import OrganizationList
from schemas.organizations import Directory
from schemas.releases import ReleaseKey, Releases, ReleaseState, Report
from streams.reading import Reader
from streams.rebuild_recount import Recount as RowRecount
from streams.rebuild_recount import suffixes_of

CANARY, SECOND_CANARY = canary_school(1), canary_school(2)
EVERY_SCHOOL = frozenset((*SCHOOLS, LATE_SCHOOL, CANARY, SECOND_CANARY))

seeds = st.integers(0, 100_000)
examples = settings(max_examples=60, deadline=None)
attributions = st.sampled_from(("current", "tested"))


def real_events(seed: int, attribution: Attribution) -> list[Event]:
    """What befalls some exams of real schools. Of two contradictions the one that comes first counts; so there are none."""
    planned = History(Random(seed), 1, attribution).events(30)
    return [event for event in planned if not event.kind.startswith("contradiction")]


def as_canaries(events: Iterable[Event], rng: Random) -> list[Event]:
    """The same exams of the same students, with other scores, later versions and resets, in canaries' schools.

    A canary that respects nothing: it uses the identifiers of real students and real exams.
    """
    canaries = []
    for event in events:
        try:
            told = decode_exam_result(event.value)
        except ValueError:
            continue
        school = rng.choice((CANARY, SECOND_CANARY))
        changes: dict[str, Any] = {
            "school": school,
            "sequence": told.sequence + rng.choice((-1, 0, 1, 1_000)),
        }
        changes["sequence"] = max(0, changes["sequence"])
        if told.tested_school is not None:
            changes["tested_school"] = rng.choice((CANARY, SECOND_CANARY))
        if rng.random() < 0.3:
            changes["status"] = "reset"
        canaries.append(event._replace(value=encode_event(replace(told, **changes))))
    return canaries


def as_mixed(events: Iterable[Event], rng: Random) -> list[Event]:
    """Events that name a real school and a canary's; they are none."""
    mixed = []
    for event in events:
        try:
            told = decode_exam_result(event.value)
        except ValueError:
            continue
        schools = [told.school or SCHOOLS[0], CANARY]
        rng.shuffle(schools)
        value = encode_event(
            replace(told, school=schools[0], tested_school=schools[1], sequence=told.sequence + 500)
        )
        mixed.append(event._replace(value=value))
    return mixed


def shuffled_in(events: Sequence[Event], more: Iterable[Event], rng: Random) -> list[Event]:
    together = list(events)
    for event in more:
        together.insert(rng.randrange(len(together) + 1), event)
    return together


def applied(events: Sequence[Event], attribution: Attribution) -> MemoryPartition:
    partition = MemoryPartition(
        Reader(load_registry(), cast().pseudonyms, EVERY_SCHOOL.__contains__, attribution)
    )
    records = [
        LogRecord(event.key, event.value, offset, 1_777_000_000_000, event.fact)
        for offset, event in enumerate(events)
    ]
    for start in range(0, len(records), 7):
        partition.apply(records[start : start + 7])
    return partition


def real_cells(cells: Iterable[tuple[CellName, Counted]]) -> dict[CellName, Counted]:
    return {name: cell for name, cell in cells if not is_canary(name[0]) and cell != NOTHING}


def without_canaries(events: Iterable[Event]) -> dict[CellName, Counted]:
    """The brute-force recount of the real events; it knows nothing of canaries, and of no rule of the code."""
    return recount(event.fact for event in events if event.fact.reason is None).cells


@examples
@given(seed=seeds, attribution=attributions)
def test_every_real_cell_equals_the_recount_without_canaries(seed: int, attribution: Attribution) -> None:
    rng = Random(seed)
    real = real_events(seed, attribution)
    canaries = as_canaries(rng.sample(real, len(real) // 2), rng)
    mixed = as_mixed(rng.sample(real, 3), rng)
    partition = applied(shuffled_in(real, [*canaries, *mixed], rng), attribution)
    cells = {(name[0], str(name[1])): counted(cell) for name, cell in partition.cells.items()}
    assert real_cells(cells.items()) == without_canaries(real)


@examples
@given(seed=seeds, attribution=attributions)
def test_every_canary_cell_equals_the_recount_without_real_results(
    seed: int, attribution: Attribution
) -> None:
    rng = Random(seed)
    real = real_events(seed, attribution)
    canaries = as_canaries(real[::2], rng)
    together = applied(shuffled_in(canaries, real, rng), attribution)
    alone = applied(canaries, attribution)

    def of_canaries(partition: MemoryPartition) -> dict[CellName, Counted]:
        cells = {(name[0], str(name[1])): counted(cell) for name, cell in partition.cells.items()}
        return {name: cell for name, cell in cells.items() if is_canary(name[0]) and cell != NOTHING}

    assert of_canaries(together) == of_canaries(alone)


@examples
@given(seed=seeds, attribution=attributions)
def test_recount_from_scratch_gives_real_cells_as_if_there_were_no_canaries(
    seed: int, attribution: Attribution
) -> None:
    rng = Random(seed)
    real = real_events(seed, attribution)
    canaries = as_canaries(real[::2], rng)
    plain, mixed = (Recount(load_registry(), EVERY_SCHOOL, attribution) for _ in range(2))
    for recounting, events in ((plain, real), (mixed, shuffled_in(real, canaries, rng))):
        for event in events:
            told = event.value
            try:
                recounting.add(event.key.decode(), decode_exam_result(told))
            except ValueError:
                continue
    found = {name: cell for name, cell in mixed.cells().items() if not is_canary(name.cds)}
    assert found == plain.cells()


@examples
@given(seed=seeds)
def test_rebuilds_recount_of_the_rows_finds_what_the_tables_have_with_canaries_among_them(seed: int) -> None:
    rng = Random(seed)
    real = real_events(seed, "current")
    partition = applied(shuffled_in(real, as_canaries(real[::2], rng), rng), "current")
    rows = RowRecount(suffixes_of({str(name[1]) for name in partition.cells}, load_registry()))
    rows.add(partition.rows.items())
    assert rows.strangers == 0
    cells = {name: counted(cell) for name, cell in rows.cells().items()}
    stored = {name: counted(cell) for name, cell in partition.cells.items()}
    assert {name: cell for name, cell in cells.items() if cell != NOTHING} == {
        name: cell for name, cell in stored.items() if cell != NOTHING
    }


def test_canary_counts_at_its_school_district_and_county_and_not_for_the_state() -> None:
    assert ancestry(CANARY) == (CANARY, district_of(CANARY), CANARY_COUNTY)
    real = next(event for event in real_events(1, "current") if event.kind == "scored")
    [event] = as_canaries([real], Random(3))
    partition = applied([event._replace(value=event.value.replace(b'"reset"', b'"scored"'))], "current")
    assert {name[0] for name in partition.cells} in ({*ancestry(CANARY)}, {*ancestry(SECOND_CANARY)})


def test_event_with_a_real_school_and_a_canarys_is_refused() -> None:
    with pytest.raises(InvalidInput, match="canary"):
        names_canary(SCHOOLS[0], CANARY)
    assert names_canary(CANARY, SECOND_CANARY)
    assert not names_canary(SCHOOLS[0], None)
    partition = applied(as_mixed(real_events(5, "current")[:1], Random(1)), "current")
    assert len(partition.rejected) == 1
    assert not partition.cells


# What is published, listed and granted.


def listed() -> OrganizationList:
    return OrganizationList([*FakeTables().entries.values(), *canary_entries(1)], 1)


@pytest.mark.parametrize("level", [level for level in OrganizationLevel if level != OrganizationLevel.STATE])
def test_the_states_lists_have_no_canary_and_the_canarys_county_has_its_own(level: OrganizationLevel) -> None:
    known, real = listed(), OrganizationList(FakeTables().entries.values(), 1)
    assert list(known.below(STATE, level)) == list(real.below(STATE, level))
    assert known.count_below(STATE, level) == len(known.below(STATE, level))
    assert known.under(STATE) == real.under(STATE)
    assert len(known.below(CANARY_COUNTY, level)) == known.count_below(CANARY_COUNTY, level) == 1
    directory = Directory([*FakeTables().entries.values(), *canary_entries(1)])
    assert CANARY not in directory.schools_of(STATE)


def test_a_canarys_release_state_decides_about_nothing_of_the_state() -> None:
    states = {
        ReleaseKey(2026, district_of(CANARY), "ELA", Report.AGGREGATE): ReleaseState.LOADING,
        ReleaseKey(2026, DISTRICT, "ELA", Report.AGGREGATE): ReleaseState.RELEASED,
    }
    lookup = load_registry().at
    with_canary = Visibility(Releases(states, unlisted=ReleaseState.RELEASED), listed(), lookup)
    without = Visibility(
        Releases({}, unlisted=ReleaseState.RELEASED),
        OrganizationList(FakeTables().entries.values(), 1),
        lookup,
    )
    field = CellField("2026:ELA-SUM:03")
    for seen in VisibilityClass:
        assert with_canary.rows(seen, STATE, field) is without.rows(seen, STATE, field)


@pytest.mark.parametrize("role", sorted(BUILT_IN_ROLES.permissions))
def test_nothing_that_is_granted_for_the_state_holds_in_the_canarys_county(role: str) -> None:
    rights = BUILT_IN_ROLES.rights([Grant(role, STATE)])
    assert not any(
        rights.covers(one, where)
        for one in Permission
        for where in (CANARY, district_of(CANARY), CANARY_COUNTY)
    )


@pytest.mark.parametrize("where", [STATE, OrganizationId("19000000000000"), DISTRICT, SCHOOL])
def test_the_canarys_role_opens_nothing_outside_its_county(where: OrganizationId) -> None:
    assert not BUILT_IN_ROLES.rights([Grant(CANARY_ROLE, where)]).scopes
    at_home = BUILT_IN_ROLES.rights([Grant(CANARY_ROLE, CANARY_COUNTY)])
    assert at_home.covers(Permission.OPERATIONS_CANARY, CANARY)
    assert not any(at_home.covers(one, where) for one in Permission)
