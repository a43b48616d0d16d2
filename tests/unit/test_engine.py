"""The engine against a recount from scratch: any order, any repetition, any split into batches and partitions.

The recount shares no code with the engine. Redis is replaced by two dictionaries, Kafka by a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_partition import MemoryPartition

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.recount import Recount
from cli.simulator.season import Season
from schemas.aggregates import Cell
from schemas.assessments import load_registry
from schemas.errors import AggregateUnderflow
from schemas.events import ExamResult, encode_event
from schemas.identifiers import StudentId
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from streams.engine import CellKey
from streams.reading import Reader, Rejection
from streams.scoring import Outcome

REGISTRY = load_registry()
PSEUDONYMS = Pseudonymizer(b"sixteen bytes or more of a secret")
COUNTY = plan_county(16, seed=7)  # two districts
SCHOOLS = [school.cds for school in COUNTY.schools]
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int = 0
    timestamp: int = 0


def reader(**options: str) -> Reader:
    schools = frozenset(SCHOOLS)
    return Reader(REGISTRY, PSEUDONYMS, lambda school: school in schools, **options)  # type: ignore[arg-type]  # literal


def record_of(event: ExamResult) -> Record:
    assert event.student_id is not None
    return Record(PSEUDONYMS.student_key(StudentId(event.student_id)).encode(), encode_event(event))


def merged(partitions: Sequence[MemoryPartition]) -> dict[CellKey, Cell]:
    total: dict[CellKey, Cell] = {}
    for partition in partitions:
        for key, cell in partition.cells.items():
            total.setdefault(key, Cell()).merge(cell)
    return {key: cell for key, cell in total.items() if cell.results}


def assert_equal_to_recount(cells: dict[CellKey, Cell], recount: Recount) -> None:
    expected = recount.cells()
    assert {tuple(name) for name in expected} == set(cells)
    for name, counted in expected.items():
        cell = cells[name[0], name[1]]  # type: ignore[index]  # the recount's names are plain text
        assert (cell.results, cell.with_scores, cell.under_appeal) == (
            counted.results,
            counted.with_scores,
            counted.under_appeal,
        ), name
        assert (cell.score_sum, cell.score_sum_sq) == (counted.score_sum, counted.score_sum_sq), name
        assert cell.level_counts()[: len(counted.levels)] == counted.levels, name
        assert dict(cell.scores()) == counted.histogram, name
        for measure, counts in enumerate(counted.claims.values(), start=1):
            assert cell.level_counts(measure)[: len(counts)] == counts, (name, measure)


def season(seed: int, results: int = 150) -> list[tuple[str, ExamResult]]:
    options = SeasonOptions(
        schools=16,
        results=results,
        seed=seed,
        rescores=0.2,
        resets=0.1,
        moves=0.2,
        oddities=0.2,
        duplicates=0.1,
    )
    return [(record.key, record.event) for record in Season(COUNTY, REGISTRY, PSEUDONYMS, options)]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shuffle=st.integers(0, 10_000),
    batch=st.integers(1, 60),
    partitions=st.integers(1, 4),
)
def test_any_order_repetition_and_split_equals_a_recount(
    seed: int, shuffle: int, batch: int, partitions: int
) -> None:
    events = season(seed)
    random = Random(shuffle)
    random.shuffle(events)
    replayed = events + events[: len(events) // 3]
    recount = Recount(REGISTRY, SCHOOLS)
    shares = [MemoryPartition(reader()) for _ in range(partitions)]
    logs: list[list[Record]] = [[] for _ in shares]
    for key, event in replayed:
        recount.add(key, event)
        logs[int(key[:8], 16) % partitions].append(Record(key.encode(), encode_event(event)))
    for share, log in zip(shares, logs, strict=True):
        for first in range(0, len(log), batch):
            share.apply(log[first : first + batch])
    assert_equal_to_recount(merged(shares), recount)


def test_schools_add_up_to_districts_counties_and_the_state() -> None:
    share = MemoryPartition(reader())
    share.apply([Record(key.encode(), encode_event(event)) for key, event in season(3, results=600)])
    sums: dict[CellKey, Cell] = {}
    for (organization, cell_name), cell in share.cells.items():
        if organization in SCHOOLS:
            for above in (organization[:7] + "0" * 7, organization[:2] + "0" * 12, "0" * 14):
                sums.setdefault((above, cell_name), Cell()).merge(cell)  # type: ignore[arg-type]  # plain text
    assert sums == {key: cell for key, cell in share.cells.items() if key[0] not in SCHOOLS}


def exam(**changes: object) -> ExamResult:
    values: dict[str, object] = {
        "assessment_id": REGISTRY.natural_id("ELA-SUM", "03", 2026),  # type: ignore[arg-type]  # plain text
        "opportunity_id": "1855629",
        "school_year": 2026,
        "status": "scored",
        "status_date": NOON,
        "sequence": 1,
        "student_id": "7000000001",
        "school": SCHOOLS[0],
        "grade": "03",
        "scale_score": 2431,
        "level": 2,
    }
    return ExamResult(**(values | changes))  # type: ignore[arg-type]  # built from a table


def state_cell(partition: MemoryPartition) -> Cell:
    return partition.cells["0" * 14, "2026:ELA-SUM:03"]  # type: ignore[index]  # plain text


def test_rescore_across_a_cut_touches_no_other_cell() -> None:
    share = MemoryPartition(reader())
    share.apply([record_of(exam())])
    before = {key: cell.version for key, cell in share.cells.items()}
    share.apply([record_of(exam(status_date=NOON + timedelta(days=1), scale_score=2432, level=3))])
    assert {key: cell.version for key, cell in share.cells.items()} == {key: 2 for key in before}
    cell = state_cell(share)
    assert (cell.results, cell.with_scores, cell.score_sum) == (1, 1, 2432)
    assert cell.level_counts() == [0, 0, 1, 0]


def test_student_who_changes_district_leaves_the_old_cells_and_enters_the_new() -> None:
    share = MemoryPartition(reader())
    other = next(school for school in SCHOOLS if school[:7] != SCHOOLS[0][:7])
    share.apply([record_of(exam())])
    share.apply([record_of(exam(status_date=NOON + timedelta(days=1), school=other))])
    assert share.cells[SCHOOLS[0], "2026:ELA-SUM:03"].results == 0  # type: ignore[index]  # plain text
    assert share.cells[other, "2026:ELA-SUM:03"].results == 1  # type: ignore[index]  # plain text
    assert state_cell(share).results == 1


def test_results_follow_the_school_where_the_test_was_taken_when_so_configured() -> None:
    event = exam(tested_school=SCHOOLS[1])
    current, tested = MemoryPartition(reader()), MemoryPartition(reader(attribution="tested"))
    for share in (current, tested):
        share.apply([record_of(event)])
    assert (SCHOOLS[0], "2026:ELA-SUM:03") in current.cells
    assert (SCHOOLS[1], "2026:ELA-SUM:03") in tested.cells


def test_one_opportunity_id_in_two_tests_is_two_exams() -> None:
    share = MemoryPartition(reader())
    grade_6 = REGISTRY.natural_id("ELA-SUM", "06", 2026)  # type: ignore[arg-type]  # plain text
    share.apply(
        [
            record_of(exam(opportunity_id="100150")),
            record_of(exam(opportunity_id="100150", assessment_id=grade_6)),
        ]
    )
    assert share.outcomes == {Outcome.APPLIED: 2}
    assert sum(cell.results for key, cell in share.cells.items() if key[0] == "0" * 14) == 2


def test_withdrawn_score_is_retracted_and_the_result_stays() -> None:
    share = MemoryPartition(reader())
    share.apply([record_of(exam())])
    share.apply([record_of(exam(status_date=NOON + timedelta(days=1), scale_score=None, level=None))])
    cell = state_cell(share)
    assert (cell.results, cell.with_scores, cell.score_sum, cell.level_counts()) == (1, 0, 0, [0, 0, 0, 0])


def test_batch_that_scores_and_resets_an_exam_changes_no_cell() -> None:
    share = MemoryPartition(reader())
    reset = exam(status="reset", status_date=NOON + timedelta(days=1))
    share.apply([record_of(exam()), record_of(reset)])
    assert share.cells == {}
    share.apply([record_of(exam())])
    assert share.cells == {}, "the tombstone must outlive the batch"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (exam(school="59100019999999"), Reason.UNKNOWN_ORGANIZATION),
        (exam(assessment_id="No Such Test"), Reason.UNKNOWN_ASSESSMENT),
        (exam(assessment_id="ELPAC-IA-GRADE-03-Fall-2025-2026"), Reason.REFUSED_ASSESSMENT),
        (exam(school=None), Reason.INVALID),
        (exam(scale_score=2857), Reason.INVALID),
    ],
    ids=["unknown school", "unknown assessment", "Initial ELPAC", "no school", "score out of range"],
)
def test_what_cannot_be_applied_is_rejected_with_its_reason(event: ExamResult, reason: Reason) -> None:
    share = MemoryPartition(reader())
    share.apply([record_of(event)])
    assert [rejection.reason for rejection in share.rejected] == [reason]
    assert share.cells == {}


def test_grade_11_score_of_2857_is_out_of_range_until_2020_and_within_it_after() -> None:
    old = exam(
        assessment_id=REGISTRY.natural_id("ELA-SUM", "11", 2020), school_year=2020, scale_score=2857, level=4
    )  # type: ignore[arg-type]
    new = exam(
        assessment_id=REGISTRY.natural_id("ELA-SUM", "11", 2021), school_year=2021, scale_score=2857, level=4
    )  # type: ignore[arg-type]
    share = MemoryPartition(reader())
    share.apply([record_of(old), record_of(new)])
    assert [rejection.reason for rejection in share.rejected] == [Reason.INVALID]
    assert {key[1] for key in share.cells} == {"2021:ELA-SUM:11"}


def test_same_version_with_other_content_is_rejected_as_a_contradiction() -> None:
    share = MemoryPartition(reader())
    share.apply([record_of(exam()), record_of(exam(scale_score=2500, level=3))])
    assert [rejection.reason for rejection in share.rejected] == [Reason.CONTRADICTION]
    assert state_cell(share).score_sum == 2431


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(b"0" * 24, encode_event(exam())), Reason.WRONG_KEY),
        (Record(None, encode_event(exam())), Reason.WRONG_KEY),
        (Record(b"key", b"<TDSReport/>"), Reason.UNDECODABLE),
        (Record(b"key", None), Reason.UNDECODABLE),
        (Record(b"key", b'{"status": "rescored"}'), Reason.INVALID),
        (Record(b"\xff", b"\xff\xfe"), Reason.UNDECODABLE),
    ],
    ids=["another student's key", "no key", "XML", "empty", "incomplete", "not UTF-8"],
)
def test_record_that_is_no_event_of_its_student_is_rejected(record: Record, reason: Reason) -> None:
    result = reader().read(record)
    assert isinstance(result, Rejection) and result.reason is reason


def test_tombstone_without_identifier_is_taken_by_its_key() -> None:
    share = MemoryPartition(reader())
    original = record_of(exam())
    share.apply([original])
    tombstone = encode_event(exam(status="reset", student_id=None, status_date=NOON + timedelta(days=1)))
    share.apply([Record(original.key, tombstone)])
    assert state_cell(share).results == 0


def test_cells_that_are_not_the_sum_of_the_exams_stop_the_worker() -> None:
    share = MemoryPartition(reader())
    share.apply([record_of(exam())])
    share.shares.clear()
    with pytest.raises(AggregateUnderflow, match="rebuild"):
        share.apply([record_of(exam(status="reset", status_date=NOON + timedelta(days=1)))])
