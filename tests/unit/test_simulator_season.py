"""A simulated season: the same for the same seed, with the asked-for shares of everything, and exact to recount."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import pytest
from memory_partition import MemoryPartition

from cli.simulator.county import County, plan_county
from cli.simulator.options import Kind, SeasonOptions, SimulatedRecord
from cli.simulator.recount import CellId, CountedCell, Recount
from cli.simulator.season import Season
from cli.verify import compare, contradictions, counted_cells
from schemas.assessments import Registry, load_registry
from schemas.errors import InvalidInput
from schemas.events import ExamResult, decode_exam_result, encode_event
from schemas.identifiers import OrganizationId, StudentId, district_of
from schemas.pseudonyms import Pseudonymizer
from streams.reading import Reader

PSEUDONYMIZER = Pseudonymizer(b"a secret for tests alone")
SMALL = SeasonOptions(schools=16, results=4_000, seed=11, window=400)
EVERYTHING = replace(
    SMALL, rescores=0.2, resets=0.1, moves=0.1, oddities=0.3, corrections=0.05, strays=0.05, disorder=0.3
)


@cache
def registry() -> Registry:
    return load_registry()


@cache
def county() -> County:
    return plan_county(SMALL.schools, SMALL.seed)


def season(options: SeasonOptions) -> Season:
    return Season(county(), registry(), PSEUDONYMIZER, options)


@cache
def records(options: SeasonOptions) -> list[SimulatedRecord]:
    return list(season(options))


def recount_of(delivered: Iterable[SimulatedRecord]) -> Recount:
    recount = Recount(registry(), [school.cds for school in county().schools])
    for record in delivered:
        recount.add(record.key, record.event)
    return recount


def share(kind: Kind, options: SeasonOptions = SMALL) -> float:
    """Events of a kind per exam that was taken."""
    return sum(record.kind is kind for record in records(options)) / (options.results or 1)


def test_same_seed_gives_the_same_records_byte_for_byte() -> None:
    again = [(r.key, encode_event(r.event), r.kind) for r in season(SMALL)]
    assert again == [(r.key, encode_event(r.event), r.kind) for r in records(SMALL)]


def test_another_seed_gives_other_students_and_scores() -> None:
    other = records(replace(SMALL, seed=12))
    assert not {r.key for r in other} & {r.key for r in records(SMALL)}
    assert [r.event.scale_score for r in other] != [r.event.scale_score for r in records(SMALL)]


def test_a_season_can_be_iterated_twice_at_once() -> None:
    """Moves change the students' schools; each iteration has students of its own."""
    one = season(SMALL)
    interleaved = list(zip(islice(one, 2_000), islice(one, 2_000), strict=True))
    assert all(left == right for left, right in interleaved)


def test_every_event_is_valid_and_a_few_hundred_bytes() -> None:
    sizes = []
    for record in records(EVERYTHING):
        encoded = encode_event(record.event)
        assert decode_exam_result(encoded) == record.event
        sizes.append(len(encoded))
    assert 400 < sum(sizes) / len(sizes) < 600


def test_the_record_key_is_the_pseudonym_of_the_event_student() -> None:
    for record in records(EVERYTHING):
        if record.event.student_id is not None:
            assert record.key == PSEUDONYMIZER.student_key(StudentId(record.event.student_id))
        else:
            assert record.event.status == "reset"


def test_no_two_versions_of_an_exam_are_equal() -> None:
    contents: dict[tuple[object, ...], bytes] = {}
    for record in records(EVERYTHING):
        event = record.event
        version = (
            record.key,
            event.assessment_id,
            event.opportunity_id,
            event.status_date,
            event.sequence,
        )
        assert contents.setdefault(version, encode_event(event)) == encode_event(event)


def test_only_so_many_exams_are_taken() -> None:
    exams = {
        (r.event.student_id, r.event.assessment_id) for r in records(replace(SMALL, resets=0.0, oddities=0.0))
    }
    assert len(exams) == SMALL.results


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (Kind.RESCORED, 0.09, 0.14),  # 10%, some twice, and some after appeals
        (Kind.RESET, 0.013, 0.032),  # 2%, and some second opportunities
        (Kind.MOVED, 0.013, 0.027),  # 2%
        (Kind.DUPLICATE, 0.025, 0.046),  # 3% of some 1.2 events an exam
        (Kind.APPEALED, 0.001, 0.01),  # a sixth of 3%, as the rest
        (Kind.INVALIDATED, 0.001, 0.01),
        (Kind.SECOND, 0.001, 0.01),
        (Kind.WITHDRAWN, 0.001, 0.01),
        (Kind.UNSCORED, 0.001, 0.01),
        (Kind.NOT_COUNTED, 0.001, 0.01),
        (Kind.CORRECTED, 0, 0),
        (Kind.STRAY, 0, 0),
    ],
)
def test_what_befalls_exams_has_the_share_asked_for(kind: Kind, low: float, high: float) -> None:
    assert low <= share(kind) <= high


def test_without_anything_befalling_there_is_one_event_an_exam() -> None:
    quiet = SeasonOptions(
        schools=16,
        results=500,
        rescores=0,
        resets=0,
        moves=0,
        oddities=0,
        duplicates=0,
        disorder=0,
    )
    assert Counter(r.kind for r in season(quiet)) == {Kind.SCORED: 500}
    assert recount_of(season(quiet)).outcomes == {"applied": 500}


def test_a_duplicate_is_an_earlier_event_byte_for_byte() -> None:
    sent: set[bytes] = set()
    for record in records(SMALL):
        encoded = record.key.encode() + encode_event(record.event)
        assert (encoded in sent) == (record.kind is Kind.DUPLICATE)
        sent.add(encoded)


def test_disorder_delivers_later_versions_before_earlier_ones() -> None:
    assert recount_of(records(EVERYTHING)).outcomes["stale"] > 100
    in_order = replace(EVERYTHING, disorder=0.0, duplicates=0.0)
    assert recount_of(season(in_order)).outcomes["stale"] == 0


def test_order_of_delivery_does_not_change_what_it_amounts_to() -> None:
    backwards = list(reversed(records(EVERYTHING)))
    assert recount_of(backwards).cells() == recount_of(records(EVERYTHING)).cells()


def test_a_student_who_moves_is_reported_by_the_new_school_in_and_out_of_the_district() -> None:
    within = Counter[bool]()
    for record in records(SMALL):
        event = record.event
        if record.kind is Kind.MOVED:
            assert event.school and event.tested_school and event.school != event.tested_school
            districts = {district_of(OrganizationId(cds)) for cds in (event.school, event.tested_school)}
            within[len(districts) == 1] += 1
    assert within[True] and within[False]


def test_students_of_a_grade_take_the_tests_of_that_grade() -> None:
    tests: dict[str | None, set[str]] = defaultdict(set)
    for record in records(SMALL):
        event = record.event
        if event.status != "reset":
            assessment = registry().resolve(event.assessment_id, 2026)
            assert event.enrolled_grade in assessment.grades
            tests[event.enrolled_grade].add(assessment.test)
    assert {"ELA-SUM", "MATH-SUM", "CAST", "ELPAC-SUM", "ELA-ICA"} <= tests["05"]
    assert {"ELA-SUM", "MATH-SUM", "CAST"} <= tests["11"]
    assert "CAST" not in tests["04"]
    assert tests["01"] == {"ELPAC-SUM"}


def test_scores_are_in_the_range_and_levels_follow_the_cuts() -> None:
    levels: Counter[int] = Counter()
    for record in records(SMALL):
        event = record.event
        assessment = registry().resolve(event.assessment_id, 2026)
        if event.scale_score is None or event.level is None or assessment.score_range is None:
            continue
        assert assessment.score_range[0] <= event.scale_score <= assessment.score_range[1]
        assert assessment.level_for(event.scale_score) in {None, event.level}
        if assessment.test == "ELA-SUM":
            levels[event.level] += 1
    assert min(levels[level] for level in (1, 2, 3, 4)) > 0.1 * levels.total()


def test_unknown_schools_are_refused_and_counted_nowhere() -> None:
    outcomes = recount_of(records(EVERYTHING)).outcomes
    strays = sum(record.kind is Kind.STRAY for record in records(EVERYTHING))
    assert 0 < strays <= outcomes["rejected: unknown school"]
    assert not [outcome for outcome in outcomes if outcome == "contradiction"]


def test_a_corrected_student_counts_under_the_new_identifier_alone() -> None:
    options = replace(SMALL, results=300, corrections=1.0, rescores=0, resets=0, moves=0, oddities=0)
    cells = recount_of(season(options)).cells()
    total = sum(cell.results for name, cell in cells.items() if name.cds == "0" * 14)
    assert total == 300


def test_schools_add_up_to_districts_counties_and_the_state() -> None:
    assert contradictions(recount_of(records(EVERYTHING)).cells()) == []


@pytest.mark.parametrize("batch_events", [1, 97, 100_000])
def test_the_stream_engine_comes_to_the_recount(batch_events: int) -> None:
    """Incremental, in batches, against counted from scratch: every cell, to the integer."""
    options = replace(EVERYTHING, results=1_000 if batch_events == 1 else 4_000)
    recount = recount_of(season(options))
    found, rejected = streamed(season(options), batch_events)
    assert compare(recount.cells(), found) == []
    refused = sum(n for outcome, n in recount.outcomes.items() if outcome.startswith("rejected"))
    assert rejected == refused


def streamed(
    delivered: Iterable[SimulatedRecord], batch_events: int
) -> tuple[dict[CellId, CountedCell], int]:
    """The engine's cells, the tables kept in plain dictionaries, and how many events it rejected."""
    schools = {school.cds for school in county().schools}
    reader = Reader(registry(), PSEUDONYMIZER, lambda cds: cds in schools)
    partition = MemoryPartition(reader)
    source = iter(delivered)
    while batch := list(islice(source, batch_events)):
        partition.apply([FakeRecord(record.key, record.event) for record in batch])
    named = {CellId(*key): cell for key, cell in partition.cells.items()}
    return counted_cells(named, registry()), len(partition.rejected)


class FakeRecord:
    """A consumed record."""

    def __init__(self, key: str, event: ExamResult) -> None:
        self.key: bytes | None = key.encode()
        self.value: bytes | None = encode_event(event)
        self.offset = 0
        self.timestamp = 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"rescores": 1.4}, "--rescores is 1.4"),
        ({"disorder": -0.1}, "--disorder is -0.1"),
        ({"rescores": 0.6, "moves": 0.6}, "add up to more than 1"),
        ({"results": 0}, "--results is 0"),
        ({"schools": 0}, "--schools is 0"),
    ],
    ids=str,
)
def test_an_impossible_option_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault):
        replace(SMALL, **changes)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"(?s)--moves is 2.*--students is 0"):
        SeasonOptions(moves=2, students=0)


def test_a_year_without_summative_tests_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--school-year is 2001"):
        season(replace(SMALL, school_year=2001))
