"""The domain's acceptance scenarios, each under its own sentence: from the exam report to the cells in a real Redis.

Their numbers are those of the list in the domain's description; 6 to 9 are tested where permissions, releases and parked
events are, and 11 beside the reference data that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random

import pytest
import stack
from fake_imports import OTHER_SCHOOL, SCHOOL, registry, report
from fake_imports import json as json_document
from reporting_path import ReportingPath

from cli.simulator.recount import CellId, CountedCell
from schemas.events import ExamResult
from schemas.identifiers import STATE, Grade, OrganizationId, ancestry
from schemas.imports import ImportStatus
from schemas.rejections import Reason

ELSEWHERE = "98543210000033"  # another county
SCHOOLS = (SCHOOL, OTHER_SCHOOL, ELSEWHERE)
CELL = "2021:ELA-SUM:04"
Path = Callable[..., ReportingPath]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with stack.store("embedded") as server:
        yield server.url


@pytest.fixture
def path(address: str) -> Path:
    return lambda **options: ReportingPath(address, SCHOOLS, **options)


def version(day: int, sequence: int, score: int, level: int, **changes: object) -> ExamResult:
    """One version of one exam, from a producer with its own sequence numbers."""
    values: dict[str, object] = {
        "assessment_id": registry().natural_id("ELA-SUM", Grade("04"), 2021),
        "opportunity_id": "700001",
        "school_year": 2021,
        "status": "scored",
        "status_date": datetime(2021, 5, day, tzinfo=UTC),
        "sequence": sequence,
        "student_id": "9000000001",
        "school": SCHOOL,
        "grade": "04",
        "scale_score": score,
        "level": level,
    }
    return ExamResult(**(values | changes))  # type: ignore[arg-type]  # built from a table


def at(cells: dict[CellId, CountedCell], organization: str, cell: str = CELL) -> CountedCell:
    return cells.get(CellId(organization, cell), CountedCell(levels=[0] * 4))


@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled", "doubled", "one by one"])
def test_1_versions_of_one_exam_in_any_order_and_doubled_give_the_same_state_equal_dates_by_sequence(
    path: Path, order: str
) -> None:
    versions = [
        version(10, 1, 2400, 1),
        version(11, 2, 2480, 3),
        version(11, 3, 2500, 3),  # the same status date: the sequence decides
        version(9, 4, 2600, 4),  # imported last, and older than all
    ]
    expected = path()
    expected.send(*versions)
    state = expected.stored()
    assert at(expected.cells(), STATE).histogram == {2500: 1}

    sent = {
        "in order": versions,
        "backwards": versions[::-1],
        "shuffled": Random(5).sample(versions, 4),
        "doubled": versions + versions[1:3] + versions,
        "one by one": versions[::-1],
    }[order]
    other = path(batch_records=1 if order == "one by one" else 100)
    other.send(*sent)
    found = other.stored()
    # A share also counts how often it changed, which is a matter of the order and not of the state.
    assert {name: value for name, value in found.items() if b":exams:" in name} == {
        name: value for name, value in state.items() if b":exams:" in name
    }
    assert {(name.cds, cell.histogram[2500]) for name, cell in other.cells().items()} == {
        (organization, 1) for organization in ancestry(OrganizationId(SCHOOL))
    }


def test_2_reset_before_create_and_the_exam_never_appears(path: Path) -> None:
    results = path()
    results.report(report(status="reset", status_date="2021-05-12T10:00:00"))
    assert results.cells() == {}
    results.report(report(status_date="2021-05-10T10:00:00"))
    assert results.cells() == {}


def test_3_reset_then_a_newer_create_counts_again_once(path: Path) -> None:
    results = path()
    results.report(report(), report(status="reset", status_date="2021-05-12T10:00:00"))
    assert results.cells() == {}
    newer = report(status_date="2021-05-13T10:00:00", score=2500)
    results.report(newer, newer)
    results.report(newer.replace(b"<Test ", b"<Test  "))  # the same exam in other bytes
    cell = at(results.cells(), STATE)
    assert (cell.results, cell.with_scores, cell.histogram) == (1, 1, {2500: 1})


def test_4_rescore_across_a_cut_moves_one_student_one_level_up_and_touches_no_other_cell(path: Path) -> None:
    grade_3 = registry().natural_id("ELA-SUM", Grade("03"), 2021)

    def third_grader(score: int, level: int, **values: str) -> bytes:
        document = report(score=score, level=level, assessment=grade_3, **values)
        return document.replace(b'grade="4"', b'grade="3"').replace(b'value="04"', b'value="03"')

    results = path()
    results.report(third_grader(2431, 2), third_grader(2500, 4, student="9000000002", opportunity="700002"))
    results.report(report(student="9000000003", opportunity="700003", school=OTHER_SCHOOL))
    stored, cells = results.stored(), results.cells()
    results.report(third_grader(2432, 3, status_date="2021-05-11T10:00:00"))
    after, cell = results.cells(), "2021:ELA-SUM:03"
    chain = ancestry(OrganizationId(SCHOOL))
    for organization in chain:
        before, now = at(cells, organization, cell), at(after, organization, cell)
        assert (now.results, now.with_scores) == (before.results, before.with_scores) == (2, 2)
        assert now.score_sum == before.score_sum + 1
        assert (before.levels, now.levels) == ([0, 1, 0, 1], [0, 0, 1, 1])
    changed = {name for name, value in results.stored().items() if stored.get(name) != value}
    assert {name for name in changed if b":cells:" in name} == {
        name for name in changed if name.endswith(cell.encode())
    }
    assert len([name for name in changed if b":cells:" in name]) == len(chain)


@pytest.mark.parametrize("attribution", ["current", "tested"])
@pytest.mark.parametrize("new_school", [OTHER_SCHOOL, ELSEWHERE], ids=["another school", "another district"])
def test_5_student_who_changes_school_or_district_is_counted_by_either_attribution_rule(
    path: Path, attribution: str, new_school: str
) -> None:
    results = path(attribution=attribution)
    results.report(json_document(tested_school=SCHOOL).data)
    assert at(results.cells(), SCHOOL).results == 1
    moved = json_document(school=new_school, tested_school=SCHOOL, status_date="2021-05-14T10:00:00Z")
    results.report(moved.data)
    cells = results.cells()
    counted_at = new_school if attribution == "current" else SCHOOL
    chain = ancestry(OrganizationId(counted_at))
    assert {name.cds for name in cells} == set(chain)
    assert all(at(cells, organization).results == 1 for organization in chain)


def test_10_grade_11_ela_2857_is_bad_data_in_2019_20_and_valid_in_2020_21(path: Path) -> None:
    def eleventh_grader(year: int) -> bytes:
        name = registry().natural_id("ELA-SUM", Grade("11"), year)
        document = report(score=2857, level=4, assessment=name)
        document = document.replace(b'grade="4"', b'grade="11"').replace(b'value="04"', b'value="11"')
        return document.replace(b'academicYear="2021"', f'academicYear="{year}"'.encode())

    results = path()
    old, new = results.report(eleventh_grader(2020), eleventh_grader(2021))
    assert (old.record.status, new.record.status) == (ImportStatus.BAD_DATA, ImportStatus.ACCEPTED)
    assert "2857" in str(old.record.errors)
    cells = results.cells()
    assert {name.cell for name in cells} == {"2021:ELA-SUM:11"}
    assert at(cells, STATE, "2021:ELA-SUM:11").histogram == {2857: 1}
    # A producer that writes to Kafka itself meets the same range.
    name = registry().natural_id("ELA-SUM", Grade("11"), 2020)
    results.send(version(10, 1, 2857, 4, assessment_id=name, school_year=2020, grade="11"))
    assert results.cells() == cells
    assert [rejection.reason for rejection in results.rejected] == [Reason.INVALID]


def test_12_opportunity_id_100150_in_two_tests_is_two_exams(path: Path) -> None:
    grade_6 = registry().natural_id("ELA-SUM", Grade("06"), 2021)
    sixth_grader = report(
        opportunity="100150", assessment=grade_6, score=2540, status_date="2021-05-11T10:00:00"
    )
    sixth_grader = sixth_grader.replace(b'grade="4"', b'grade="6"').replace(b'value="04"', b'value="06"')
    results = path()
    results.report(report(opportunity="100150"), sixth_grader)
    cells = results.cells()
    assert at(cells, STATE).histogram == {2480: 1}
    assert at(cells, STATE, "2021:ELA-SUM:06").histogram == {2540: 1}


def test_13_second_opportunity_then_its_reset_and_the_first_counts_again(path: Path) -> None:
    results = path()
    second = {"opportunity": "700002", "completed": "2021-05-15T09:00:00"}
    results.report(report(score=2480))
    results.report(report(score=2520, status_date="2021-05-15T10:00:00", **second))
    cell = at(results.cells(), STATE)
    assert (cell.results, cell.histogram) == (1, {2520: 1})
    results.report(report(status="reset", status_date="2021-05-16T10:00:00", **second))
    cell = at(results.cells(), STATE)
    assert (cell.results, cell.histogram) == (1, {2480: 1})


def test_14_corrected_ssid_and_the_old_partition_retracts_what_the_new_one_adds(path: Path) -> None:
    results = path()
    wrong = "9000000001"
    right = next(
        student
        for student in map(str, range(9000000002, 9000000100))
        if results.partition_of(student) != results.partition_of(wrong)
    )
    old, new = results.partition_of(wrong), results.partition_of(right)
    results.report(report(student=wrong))
    assert [results.results_in(partition, STATE, CELL) for partition in (old, new)] == [1, 0]
    results.report(report(student=right, status_date="2021-05-12T10:00:00"))
    assert [results.results_in(partition, STATE, CELL) for partition in (old, new)] == [0, 1]
    assert at(results.cells(), STATE).results == 1
    # The late original under the wrong identifier stays away, however it comes.
    results.report(report(student=wrong, status_date="2021-05-11T10:00:00"))
    assert [results.results_in(partition, STATE, CELL) for partition in (old, new)] == [0, 1]


def test_15_initial_elpac_is_refused_by_name(path: Path) -> None:
    results = path()
    name = "ELPAC-IA-GRADE-03-Fall-2020-2021"
    [submission] = results.report(report(assessment=name))
    assert submission.record.status is ImportStatus.UNKNOWN_ASMT
    assert "Initial ELPAC" in str(submission.record.errors)
    results.send(version(10, 1, 400, 2, assessment_id=name))
    assert results.cells() == {}
    [rejection] = results.rejected
    assert rejection.reason is Reason.REFUSED_ASSESSMENT
    assert "Initial ELPAC" in rejection.detail


def test_the_path_of_these_scenarios_can_see_a_difference(path: Path) -> None:
    results = path()
    results.report(report())
    cells = results.cells()
    assert len(cells) == 4
    results.report(report(score=2481, status_date="2021-05-11T10:00:00"))
    assert results.cells() != cells
