"""What must hold of the engine for any events: order, repetition, batches and partitions make no difference."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.backends import FakeBackend
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.driver import GENERATION, Driver
from simulation.history import Event, History
from simulation.oracle import NOTHING, CellName, Counted, counted, recount
from simulation.schedule import small_limits

from schemas.aggregates import Cell, Contribution, contribution, levels_code
from schemas.identifiers import PartitionId
from schemas.keys import PartitionKeys
from schemas.shares import Share, unpack_share

PARTITIONS = 4

seeds = st.integers(0, 100_000)
examples = settings(max_examples=40, deadline=None)
contributions = st.lists(
    st.builds(
        lambda score, levels, appeal: contribution(
            score, levels_code(levels) if score is not None else 0, under_appeal=appeal
        ),
        st.none() | st.sampled_from((2114, 2431, 2432, 2800)),
        st.lists(st.integers(1, 3), min_size=1, max_size=7),
        st.booleans(),
    ),
    max_size=12,
)


def history(seed: int, partitions: int = PARTITIONS, events: int = 30) -> list[Event]:
    """What befalls some exams. Contradictions are left out: of two, the one that comes first counts."""
    planned = History(Random(seed), partitions, "current").events(events)
    return [event for event in planned if not event.kind.startswith("contradiction")]


def totals(
    events: Sequence[Event], partitions: int = PARTITIONS, *, most: int = 100, replayed: int = 0
) -> dict[CellName, Counted]:
    """All partitions' cells, added up, after the events went through the engine in batches of up to ``most``.

    ``replayed``: how many offsets of each partition are read again in the end.
    """

    async def run() -> dict[CellName, Cell]:
        backend = FakeBackend()
        driver = Driver(backend, partitions=partitions, workers=1)
        for event in events:
            driver.produce(event)
        await driver.assign(0, range(partitions))
        for number in range(partitions):
            for _ in events:
                await driver.deliver(0, number, most)
            driver.processes[0].rewind(number, replayed)
            for _ in events:
                await driver.deliver(0, number, most)
        await driver.settle()
        merged: dict[CellName, Cell] = {}
        for number in range(partitions):
            for name, packed in backend.store.slot(
                PartitionKeys(GENERATION, PartitionId(number))
            ).cells.items():
                unpack_share(*packed).add_to(merged.setdefault(name, Cell()))
        return merged

    with small_limits(Random(0)):
        found = {name: counted(cell) for name, cell in asyncio.run(run()).items()}
    return {name: cell for name, cell in found.items() if cell != NOTHING}


def expected(events: Sequence[Event]) -> dict[CellName, Counted]:
    return recount(event.fact for event in events if event.fact.reason is None).cells


@examples
@given(seed=seeds, data=st.data())
def test_any_permutation_of_the_events_gives_the_same_cells(seed: int, data: st.DataObject) -> None:
    events = history(seed)
    assert totals(data.draw(st.permutations(events))) == expected(events)


@examples
@given(seed=seeds, again=st.lists(st.integers(0, 1_000), max_size=20), at=st.integers(0, 30))
def test_events_delivered_again_are_counted_once(seed: int, again: list[int], at: int) -> None:
    events = history(seed)
    repeated = [events[index % len(events)] for index in again]
    assert totals(events[:at] + repeated + events[at:]) == expected(events)


@examples
@given(seed=seeds, replayed=st.integers(0, 60), most=st.integers(1, 9))
def test_log_read_again_from_any_earlier_offset_changes_nothing(seed: int, replayed: int, most: int) -> None:
    events = history(seed)
    assert totals(events, most=most, replayed=replayed) == expected(events)


@examples
@given(seed=seeds, most=st.integers(1, 40))
def test_size_of_the_batches_makes_no_difference(seed: int, most: int) -> None:
    events = history(seed)
    assert totals(events, most=most) == expected(events)


@examples
@given(seed=seeds, partitions=st.integers(1, 5))
def test_shares_of_any_number_of_partitions_add_up_to_the_same_cells(seed: int, partitions: int) -> None:
    events = [
        event._replace(partition=int(event.key[:8], 16) % partitions) for event in history(seed, partitions)
    ]
    assert totals(events, partitions) == expected(events)


@examples
@given(seed=seeds, cut=st.integers(0, 30))
def test_every_prefix_of_the_log_has_the_cells_of_its_own_events(seed: int, cut: int) -> None:
    events = history(seed)[:cut]
    assert totals(events) == expected(events)


@examples
@given(schools=st.lists(st.sampled_from((*SCHOOLS, LATE_SCHOOL)), min_size=1, max_size=8), seed=seeds)
def test_student_who_moves_from_school_to_school_is_counted_at_the_last_one_only(
    schools: list[str], seed: int
) -> None:
    first = next(event for event in history(seed, events=60) if event.kind == "scored")
    fact = first.fact
    events = []
    for moves, school in enumerate(schools):
        day = f'"status_date":"2026-05-{moves + 1:02d}T00:00:00Z"'.encode()
        value = first.value.replace(_field(first.value, b'"status_date":"'), day)
        value = value.replace(_field(value, b'"school":"'), f'"school":"{school}"'.encode())
        start_us = 1_777_593_600_000_000  # 1 May 2026
        moved = fact._replace(school=school, version=(start_us + moves * 86_400_000_000, fact.version[1]))
        events.append(first._replace(value=value, fact=moved))
    shuffled = Random(seed).sample(events, len(events))
    cells = totals(shuffled)
    assert cells == expected(events)
    last = schools[-1]
    chain = {last, last[:7] + "0" * 7, last[:2] + "0" * 12, "0" * 14}
    assert {organization for organization, _ in cells} == chain
    assert {cell[0][0] for cell in cells.values()} == {1}


def _field(value: bytes, opening: bytes) -> bytes:
    start = value.index(opening)
    return value[start : value.index(b'"', start + len(opening)) + 1]


@given(kept=contributions, passing=contributions, seed=seeds)
def test_whatever_is_retracted_leaves_no_trace(
    kept: list[Contribution], passing: list[Contribution], seed: int
) -> None:
    share = Share()
    steps = [(share.apply, part) for part in (*kept, *passing)]
    Random(seed).shuffle(steps)
    with small_limits(Random(seed)):
        for step, part in steps:
            step(part)
        share = unpack_share(*share.pack())
        for part in passing:
            share.retract(part)
        share = unpack_share(*share.pack(whole=True))
    straight = Cell()
    for part in kept:
        straight.apply(part)
    assert counted(share.totals()) == counted(straight)


@given(parts=st.lists(st.tuples(contributions, st.integers(0, 9)), max_size=6))
def test_shares_add_up_to_what_one_share_of_all_would_be(parts: list[tuple[list[Contribution], int]]) -> None:
    merged, whole = Cell(), Cell()
    for some, version in parts:
        share = Share()
        share.version = version
        for part in some:
            share.apply(part)
            whole.apply(part)
        unpack_share(*share.pack()).add_to(merged)
    assert counted(merged) == counted(whole)
    assert merged.version == sum(version for _, version in parts)


def test_histories_contain_everything_that_can_befall_an_exam() -> None:
    kinds = {event.kind for seed in range(200) for event in History(Random(seed), 3, "tested").events(40)}
    assert {
        "late original",
        "returned",
        "moved",
        "corrected student",
        "contradiction",
        "stale",
        "appealed",
    } <= kinds
    assert len(cast().tests) == 2
