"""The recount, by the acceptance scenarios of the domain: versions, resets, second opportunities, moves, refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cli.simulator.recount import CellId, CountedCell, Recount
from schemas.assessments import Registry, load_registry
from schemas.events import ClaimScore, ExamResult
from schemas.identifiers import GRADES, Grade, TestCode

SCHOOL, NEIGHBOUR, ELSEWHERE = "61700016000001", "61700016000002", "61700026000003"
SCHOOLS = [SCHOOL, NEIGHBOUR, ELSEWHERE]
DISTRICT, COUNTY, STATE = "61700010000000", "61000000000000", "00000000000000"
GRADE_3 = "2026:ELA-SUM:03"
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


@cache
def registry() -> Registry:
    return load_registry()


def assessment_id(test: str = "ELA-SUM", grade: str = "03") -> str:
    return registry().natural_id(TestCode(test), Grade(grade), 2026)


def exam(**changes: Any) -> ExamResult:
    """A scored grade 3 ELA exam of level 2."""
    event = ExamResult(
        assessment_id=assessment_id(),
        opportunity_id="100150",
        school_year=2026,
        status="scored",
        status_date=NOON,
        sequence=1,
        student_id="9000000001",
        school=SCHOOL,
        grade="03",
        enrolled_grade="03",
        completed=NOON - timedelta(days=1),
        scale_score=2431,
        level=2,
        claims=(ClaimScore("SOCK_R", 1), ClaimScore("2-W", 3)),
    )
    return replace(event, **changes)


def reset(sequence: int, **changes: Any) -> ExamResult:
    event = ExamResult(
        assessment_id=assessment_id(),
        opportunity_id="100150",
        school_year=2026,
        status="reset",
        status_date=NOON,
        sequence=sequence,
    )
    return replace(event, **changes)


def recounted(*events: ExamResult, key: str = "a" * 24) -> Recount:
    recount = Recount(registry(), SCHOOLS)
    for event in events:
        recount.add(key, event)
    return recount


def cell_of(recount: Recount, cds: str = SCHOOL, cell: str = GRADE_3) -> CountedCell | None:
    return recount.cells().get(CellId(cds, cell))


def test_a_result_counts_at_its_school_district_county_and_state() -> None:
    cells = recounted(exam()).cells()
    assert set(cells) == {CellId(cds, GRADE_3) for cds in (SCHOOL, DISTRICT, COUNTY, STATE)}
    assert cells[CellId(STATE, GRADE_3)] == CountedCell(
        results=1,
        with_scores=1,
        score_sum=2431,
        score_sum_sq=2431 * 2431,
        levels=[0, 1, 0, 0],
        claims={"SOCK_R": [1, 0, 0], "2-W": [0, 0, 1], "SOCK_LS": [0, 0, 0], "4-CR": [0, 0, 0]},
        histogram={2431: 1},
    )


def test_rescore_across_a_cut_moves_one_student_up_a_level() -> None:
    """Grade 3 ELA, 2431 to 2432: level 2 - 1, level 3 + 1, sum + 1, n unchanged."""
    cell = cell_of(recounted(exam(), exam(sequence=2, scale_score=2432, level=3)))
    assert cell is not None
    assert (cell.with_scores, cell.score_sum, cell.levels) == (1, 2432, [0, 0, 1, 0])
    assert cell.histogram == {2432: 1}


def test_late_original_after_its_rescore_changes_nothing() -> None:
    rescore = exam(status_date=NOON + timedelta(days=3), sequence=2, scale_score=2500, level=4)
    recount = recounted(rescore, exam())
    assert recount.cells() == recounted(rescore).cells()
    assert recount.outcomes == {"applied": 1, "stale": 1}


def test_equal_status_dates_are_ordered_by_sequence() -> None:
    first, second = exam(sequence=1), exam(sequence=2, scale_score=2500, level=4)
    assert recounted(second, first).cells() == recounted(first, second).cells() == recounted(second).cells()


def test_a_later_status_date_outranks_a_higher_sequence() -> None:
    later = exam(status_date=NOON + timedelta(seconds=1), sequence=1, scale_score=2500, level=4)
    assert recounted(later, exam(sequence=9)).cells() == recounted(later).cells()


def test_event_delivered_twice_is_counted_once() -> None:
    recount = recounted(exam(), exam())
    assert recount.cells() == recounted(exam()).cells()
    assert recount.outcomes == {"applied": 1, "duplicate": 1}


def test_reset_before_create_keeps_the_exam_out() -> None:
    recount = recounted(reset(2), exam(sequence=1))
    assert recount.cells() == {}
    assert recount.outcomes == {"applied": 1, "stale": 1}


def test_exam_created_anew_after_its_reset_counts_once() -> None:
    assert recounted(exam(), reset(2), exam(sequence=3)).cells() == recounted(exam()).cells()


def test_one_opportunity_id_in_two_tests_is_two_exams() -> None:
    recount = recounted(exam(), exam(assessment_id=assessment_id(grade="06"), grade="06", scale_score=2600))
    assert {name.cell for name in recount.cells()} == {GRADE_3, "2026:ELA-SUM:06"}


def test_second_opportunity_replaces_the_first_until_it_is_reset() -> None:
    first = exam()
    second = exam(opportunity_id="2", sequence=2, completed=NOON, scale_score=2500, level=4)
    both = cell_of(recounted(second, first))
    assert both is not None and (both.results, both.histogram) == (1, {2500: 1})
    assert recounted(first, second, reset(3, opportunity_id="2")).cells() == recounted(first).cells()


def test_of_two_exams_completed_at_one_moment_the_higher_version_counts() -> None:
    second = exam(opportunity_id="2", sequence=2, scale_score=2500, level=4)
    cell = cell_of(recounted(second, exam()))
    assert cell is not None and cell.histogram == {2500: 1}


def test_an_exam_without_completion_counts_as_completed_at_its_status_date() -> None:
    undated = exam(opportunity_id="2", completed=None, scale_score=2500, level=4)
    cell = cell_of(recounted(undated, exam(completed=NOON - timedelta(seconds=1))))
    assert cell is not None and cell.histogram == {2500: 1}


def test_an_invalidated_second_opportunity_leaves_the_first_one_counting() -> None:
    second = exam(
        opportunity_id="2", completed=NOON, status="invalidated", sequence=2, scale_score=2500, level=4
    )
    assert recounted(exam(), second).cells() == recounted(exam()).cells()


def test_a_student_who_changes_district_is_counted_in_the_new_one_alone() -> None:
    moved = recounted(exam(), exam(sequence=2, school=ELSEWHERE)).cells()
    assert {name.cds for name in moved} == {ELSEWHERE, "61700020000000", COUNTY, STATE}
    assert moved[CellId(STATE, GRADE_3)] == recounted(exam()).cells()[CellId(STATE, GRADE_3)]


def test_by_tested_school_a_student_who_moved_stays_where_the_test_was_taken() -> None:
    recount = Recount(registry(), SCHOOLS, attribution="tested")
    recount.add("a" * 24, exam(school=ELSEWHERE, tested_school=SCHOOL))
    assert CellId(SCHOOL, GRADE_3) in recount.cells()


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_score": None},
        {"level": None},
        {"status": "invalidated"},
        {"validity": "invalid"},
        {"condition": "IN"},
        {"include_indicator": "T"},
        {"include_indicator": "N"},
        {"attempted": "N"},
    ],
    ids=str,
)
def test_a_result_that_does_not_count_is_a_result_without_scores(changes: dict[str, Any]) -> None:
    cell = cell_of(recounted(exam(**changes)))
    assert cell is not None
    assert (cell.results, cell.with_scores, cell.score_sum, sum(cell.levels), cell.histogram) == (
        1,
        0,
        0,
        0,
        {},
    )
    assert sum(map(sum, cell.claims.values())) == 0


@pytest.mark.parametrize(
    "status",
    ["scored", "completed", "reported", "appeal", "submitted", "handscoring", "pending", "paused", "expired"],
)
def test_a_score_and_level_count_in_every_status_but_invalidated_and_reset(status: str) -> None:
    cell = cell_of(recounted(exam(status=status, include_indicator="Y", attempted="P", condition="NS")))
    assert cell is not None and cell.with_scores == 1
    assert cell.under_appeal == (1 if status == "appeal" else 0)


def test_withdrawn_score_leaves_the_mean() -> None:
    cell = cell_of(recounted(exam(), exam(sequence=2, scale_score=None, level=None, claims=())))
    assert cell is not None and (cell.results, cell.with_scores, cell.score_sum) == (1, 0, 0)


def test_a_test_that_spans_grades_counts_in_the_enrolled_grade_and_once_a_year() -> None:
    science = assessment_id("CAST", "11")
    first = exam(assessment_id=science, grade=None, enrolled_grade="10", scale_score=600, level=2, claims=())
    again = replace(first, opportunity_id="2", enrolled_grade="11", sequence=2, completed=NOON)
    cells = recounted(first, again).cells()
    assert {name.cell for name in cells} == {"2026:CAST:11"}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"school": "61700016000099"}, "rejected: unknown school"),
        ({"school": None}, "rejected: no student or no school"),
        ({"student_id": None}, "rejected: no student or no school"),
        ({"assessment_id": "ELPAC-INITIAL-3"}, "rejected: assessment"),
        ({"scale_score": 2651}, "rejected: score"),  # the range of grade 3 ends at 2650
        ({"claims": (ClaimScore("2-W", 4),)}, "rejected: claim level"),
        ({"claims": (ClaimScore("2-W", 1), ClaimScore("2-W", 1))}, "rejected: claim reported twice"),
        (
            {"assessment_id": "CAST-GRADE-HS-Spring-2025-2026", "enrolled_grade": "09", "scale_score": 600},
            "rejected: grade",
        ),
        (
            {"assessment_id": "CAA-ELA-GRADE-3-Spring-2025-2026", "scale_score": 350, "level": 4},
            "rejected: level",
        ),
    ],
    ids=str,
)
def test_an_event_that_cannot_be_true_is_refused_and_changes_nothing(
    changes: dict[str, Any], outcome: str
) -> None:
    recount = recounted(exam(), exam(sequence=2, **changes))
    assert recount.outcomes == {"applied": 1, outcome: 1}
    assert recount.cells() == recounted(exam()).cells()


def test_a_reset_needs_neither_student_nor_school() -> None:
    assert recounted(exam(), reset(2, school="61700016000099")).cells() == {}


def test_other_content_under_the_same_version_is_a_contradiction() -> None:
    recount = recounted(exam(), exam(scale_score=2500))
    assert recount.outcomes == {"applied": 1, "contradiction": 1}
    assert recount.cells() == recounted(exam()).cells()


# A few students, exams, moments and schools, so that everything collides with everything. Sequences are unique, as they
# are when assigned at acceptance.
_events = st.lists(
    st.tuples(
        st.sampled_from(["a" * 24, "b" * 24]),
        st.builds(
            exam,
            assessment_id=st.sampled_from([assessment_id(grade=g) for g in GRADES[3:5]]),
            opportunity_id=st.sampled_from(["1", "2"]),
            status=st.sampled_from(["scored", "appeal", "invalidated", "reset", "paused"]),
            status_date=st.sampled_from([NOON, NOON + timedelta(days=1)]),
            completed=st.sampled_from([None, NOON - timedelta(days=1), NOON]),
            school=st.sampled_from(SCHOOLS),
            scale_score=st.sampled_from([None, 2400, 2431, 2432]),
            level=st.sampled_from([1, 2, 3]),
        ),
    ),
    max_size=12,
).map(lambda pairs: [(key, replace(event, sequence=number)) for number, (key, event) in enumerate(pairs)])


@settings(deadline=None)  # a busy machine is no failure
@given(_events, st.randoms(use_true_random=False), st.data())
def test_no_order_of_delivery_and_no_repetition_changes_the_figures(
    events: list[tuple[str, ExamResult]], shuffler: Any, data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    shuffled = [*events, *repeated]
    shuffler.shuffle(shuffled)
    in_order, otherwise = Recount(registry(), SCHOOLS), Recount(registry(), SCHOOLS)
    for key, event in events:
        in_order.add(key, event)
    for key, event in shuffled:
        otherwise.add(key, event)
    assert otherwise.cells() == in_order.cells()
