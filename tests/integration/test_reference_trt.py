"""Real reports and packages of the reporting warehouse, read from the reference data: nothing of them is kept here."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stack
from fake_imports import PSEUDONYMIZER
from msgspec.structs import replace
from reporting_path import ReportingPath

from cli.simulator.recount import Recount
from cli.verify import compare
from schemas.aggregates import Cell, contribution
from schemas.assessments import Registry, load_registry
from schemas.events import ExamResult, decode_exam_result, encode_event
from schemas.identifiers import OrganizationId, StudentId, district_of, grade_from
from schemas.imports import ImportStatus
from schemas.keys import Attribution
from schemas.trt import TrtRefused, read_trt

SCHOOL = "ExamineeRelationship[SchoolId]"
STUDENT = "ExamineeAttribute[StudentIdentifier]"
OPPORTUNITY = "Opportunity/@oppId"
STATUS_DATE = "Opportunity/@statusDate"
DEMO = "Examinee/@isDemo"
NAME = "Test/@name"

# Their one fault is a school that is none of California's. Given one, they are exams as told here.
SOUND = {
    "ICA-score-test": ("MATH-ICA", "04", 2017, 2507, None),
    "SBAC-IAB-FIXED-G4M-G-MATH-4": ("MATH-IAB-G", "04", 2017, 2596, 3),
    "SBAC-IAB-FIXED-G6E-LangVocab-ELA-6": ("ELA-IAB-LANGVOCAB", "06", 2017, 2282, 1),
    "SBAC-IAB-FIXED-G6E-ReadLit-ELA-6": ("ELA-IAB-READLIT", "06", 2017, 2523, 2),
    "SBAC-IAB-FIXED-G6M-EE": ("MATH-IAB-EE", "06", 2017, 2543, 2),
    "SBAC-ICA-FIXED-G4M-COMBINED-2017": ("MATH-ICA", "04", 2017, 2507, 3),
    "SBAC-ICA-FIXED-G6E-COMBINED-2017": ("ELA-ICA", "06", 2017, 2485, 2),
    "SBAC-ICA-FIXED-G6M-COMBINED-2017": ("MATH-ICA", "06", 2017, 2559, 3),
    "TDSReport.iab.2018_AIR_format": ("MATH-IAB-G", "04", 2017, 2596, 3),
    "TDSReport.iab.largeitem": ("MATH-IAB-G", "04", 2017, 2596, 3),
    "TDSReport.iab.sample": ("MATH-IAB-G", "04", 2017, 2596, 3),
    "TDSReport.ica.sample": ("ELA-ICA", "06", 2017, 2485, 2),
}
FAULTY: dict[str, tuple[ImportStatus, set[str]]] = {
    "Custom_Subject_ICA": (ImportStatus.UNKNOWN_ASMT, {NAME, SCHOOL}),
    "RDW_Common__TDSReport.bad": (ImportStatus.BAD_FORMAT, {"document"}),
    "RDW_Common__TDSReport.invalid": (ImportStatus.INVALID, {"Examinee", "Opportunity", NAME}),
    "RDW_Common__TDSReport.minimal": (ImportStatus.UNKNOWN_ASMT, {NAME, SCHOOL, OPPORTUNITY, STATUS_DATE}),
    "RDW_Common__TDSReport.required-only": (
        ImportStatus.UNKNOWN_ASMT,
        {NAME, SCHOOL, OPPORTUNITY, STATUS_DATE},
    ),
    "RDW_Common__TDSReport.sample": (ImportStatus.UNKNOWN_ASMT, {NAME, SCHOOL}),
    "RDW_Common__TDSReport.sample2": (ImportStatus.UNKNOWN_ASMT, {NAME, SCHOOL, STUDENT}),
    "TDSReport.iab.basic.errors": (
        ImportStatus.BAD_DATA,
        {DEMO, STUDENT, SCHOOL, "ExamineeAttribute[GradeLevelWhenAssessed]"},
    ),
    "TDSReport.iab.emptyDataElements": (ImportStatus.BAD_DATA, {DEMO, STUDENT, SCHOOL}),
    "TDSReport.iab.emptyOpportunityAttributes": (
        ImportStatus.BAD_DATA,
        {SCHOOL, OPPORTUNITY, STATUS_DATE, "Opportunity/@dateCompleted"},
    ),
    "TDSReport.iab.noElement": (ImportStatus.BAD_DATA, {DEMO, STUDENT, SCHOOL}),
    "TDSReport.iab.noStudentElement": (ImportStatus.BAD_DATA, {DEMO, STUDENT, SCHOOL}),
    "TDSReport.ica.exam.errors": (
        ImportStatus.BAD_DATA,
        {
            SCHOOL,
            "Opportunity/@dateCompleted",
            *(
                f"Score[{measure} {label}]"
                for measure in ("Overall", "SOCK_R", "2-W", "SOCK_LS", "4-CR")
                for label in ("ScaleScore", "PerformanceLevel")
            ),
        },
    ),
    "TDSReport.no-examinee": (ImportStatus.INVALID, {"Examinee"}),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def sample(reference: Path, name: str) -> bytes:
    return (reference / "trt-samples" / f"{name}.xml").read_bytes()


def test_every_sample_is_accounted_for(reference: Path) -> None:
    assert {path.stem for path in (reference / "trt-samples").glob("*.xml")} == SOUND.keys() | FAULTY.keys()


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_sample_has_no_fault_but_its_school(reference: Path, registry: Registry, name: str) -> None:
    document = sample(reference, name)
    with pytest.raises(TrtRefused) as caught:
        read_trt(document, registry)
    assert caught.value.status is ImportStatus.BAD_DATA
    assert [(error.element, error.value) for error in caught.value.errors] == [(SCHOOL, "APTEST1")]

    event = read_trt(document.replace(b'"APTEST1"', b'"99900010000001"'), registry).event
    assessment = registry.resolve(event.assessment_id)
    read = (assessment.test, event.grade, event.school_year, event.scale_score, event.level)
    assert read == SOUND[name]
    assert decode_exam_result(encode_event(event)) == event


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_sample_is_refused_with_every_reason(reference: Path, registry: Registry, name: str) -> None:
    with pytest.raises(TrtRefused) as caught:
        read_trt(sample(reference, name), registry)
    status, elements = FAULTY[name]
    assert caught.value.status is status
    assert {error.element for error in caught.value.errors} == elements
    assert all(len(error.error) > 20 for error in caught.value.errors)


def test_the_same_opportunity_id_in_two_samples_is_two_exams(reference: Path, registry: Registry) -> None:
    events = [
        read_trt(sample(reference, name).replace(b'"APTEST1"', b'"99900010000001"'), registry).event
        for name in ("SBAC-IAB-FIXED-G4M-G-MATH-4", "SBAC-IAB-FIXED-G6M-EE")
    ]
    assert {event.opportunity_id for event in events} == {"100150"}
    assert len({(event.assessment_id, event.opportunity_id) for event in events}) == 2


def generated(reference: Path) -> Iterator[bytes]:
    archive = next((reference / "generated-trt").glob("*.tar.gz"))
    with tarfile.open(archive, "r|gz") as members:
        for member in members:
            if member.name.endswith(".xml"):
                content = members.extractfile(member)
                assert content is not None
                yield content.read()


def test_a_recount_of_the_generated_exams_gives_the_expected_cells(
    reference: Path, registry: Registry
) -> None:
    cells: dict[tuple[str, ...], Cell] = {}
    warned: Counter[str] = Counter()
    for document in generated(reference):
        event, warnings = read_trt(document, registry)
        assert event.school and event.grade and event.scale_score and event.level
        assessment = registry.resolve(event.assessment_id)
        warned.update(f"{assessment.test} {warning.element}" for warning in warnings)
        key = (str(event.school_year), event.assessment_id, event.school, event.grade)
        levels = assessment.levels_code(event.level, event.claims)
        cells.setdefault(key, Cell()).apply(contribution(event.scale_score, levels))

    with (reference / "generated-trt" / "cells_expected.csv").open(encoding="utf-8", newline="") as lines:
        expected = {
            (row["school_year"], row["test_name"], row["school_id"], row["grade"]): row
            for row in csv.DictReader(lines)
        }
    assert len(expected) == 55
    assert cells.keys() == expected.keys()
    for key, row in expected.items():
        cell = cells[key]
        counted = [cell.results, cell.with_scores, cell.score_sum, *cell.level_counts()]
        students = [int(row[f"level_{level}"]) for level in range(1, 5)]
        assert counted == [int(row["exams"]), int(row["exams"]), int(row["scale_score_sum"]), *students], key
        assert district_of(OrganizationId(key[2])) == row["district_id"]
    assert sum(cell.results for cell in cells.values()) == 10_109
    # Eleven ELPAC exams have the last score of a level's range and the next level (see the data's own README).
    assert warned["ELPAC-SUM Score[Overall PerformanceLevel]"] == 11
    assert not [name for name in warned if not name.startswith("ELPAC-SUM ")]


def churned(events: list[ExamResult], registry: Registry, rng: Random) -> list[ExamResult]:
    """A season's worth of rescores, resets, moves, second opportunities and repetitions of these exams, out of order."""
    schools = sorted({event.school for event in events if event.school})
    sent: list[ExamResult] = []

    def later(event: ExamResult, **changes: Any) -> ExamResult:
        date = event.status_date + timedelta(
            days=rng.randrange(3)
        )  # some on the same date: the sequence decides
        following = replace(event, status_date=date, sequence=event.sequence + 1, **changes)
        sent.append(following)
        return following

    def other_scores(event: ExamResult) -> dict[str, Any]:
        assessment = registry.resolve(event.assessment_id, event.school_year)
        lowest, highest = assessment.score_range or (0, 4095)
        score = min(max((event.scale_score or lowest) + rng.randint(-60, 60), lowest), highest)
        return {"scale_score": score, "level": assessment.level_for(score) or event.level}

    for number, exam in enumerate(events):
        event = replace(exam, sequence=number * 10)
        sent.append(event)
        befalls = rng.random()
        if befalls < 0.10:
            event = later(event, **other_scores(event))
        elif befalls < 0.14:
            event = later(event, status="reset", scale_score=None, level=None, claims=())
            if rng.random() < 0.5:
                later(event, status="scored", claims=exam.claims, **other_scores(exam))
        elif befalls < 0.18:
            event = later(event, school=rng.choice(schools), tested_school=event.school)
        elif befalls < 0.22:
            completed = (event.completed or event.status_date) + timedelta(days=rng.randrange(2))
            name = f"{event.opportunity_id}-2"
            second = later(event, opportunity_id=name, completed=completed, **other_scores(event))
            if rng.random() < 0.5:
                later(second, status="reset", scale_score=None, level=None, claims=())
        elif befalls < 0.24:
            event = later(event, status="appeal")
        elif befalls < 0.26:
            event = later(event, status="invalidated")
        if rng.random() < 0.05:
            sent.append(event)
    order = sorted(range(len(sent)), key=lambda place: place + rng.random() * 500)
    return [sent[place] for place in order]


@pytest.mark.parametrize("attribution", ["current", "tested"])
def test_11_a_seasons_churn_over_the_10_109_exams_incremental_equals_recount(
    reference: Path, registry: Registry, attribution: Attribution
) -> None:
    exams = [read_trt(document, registry).event for document in generated(reference)]
    assert len(exams) == 10_109
    events = churned(exams, registry, Random(11))
    schools = sorted({event.school for event in exams if event.school})
    recount = Recount(registry, schools, attribution)
    with stack.store("embedded") as server:
        path = ReportingPath(server.url, schools, attribution=attribution, partitions=4, batch_records=500)
        for start in range(0, len(events), 4_000):
            part = events[start : start + 4_000]
            for event in part:
                recount.add(PSEUDONYMIZER.student_key(StudentId(event.student_id or "")), event)
            path.send(*part)
            # At several moments, not in the end alone; a worker starts and stops at each.
            assert compare(recount.cells(), path.cells()) == []
    outcomes = recount.outcomes
    assert outcomes["stale"] > 300 and outcomes["duplicate"] > 300
    assert not [name for name in outcomes if name.startswith("rejected")] and not path.rejected


def rows(reference: Path, name: str) -> Iterator[dict[str, str]]:
    with (reference / "subject-and-package-defs" / name).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def test_cuts_and_ranges_are_those_of_the_summative_packages(reference: Path, registry: Registry) -> None:
    seen = set()
    for row in rows(reference, "2019.demo.summative.csv"):
        if row["AssessmentId"] in seen:
            continue
        seen.add(row["AssessmentId"])
        assessment = registry.resolve(row["AssessmentId"])
        assert assessment.school_year == int(row["AcademicYear"])
        assert assessment.grades == (grade_from(row["AssessmentGrade"]),)
        # These packages repeat each cut as the top of the range below; it belongs to the higher level.
        assert assessment.cuts == tuple(int(row[f"ScaledHigh{level}"]) for level in (1, 2, 3))
        assert assessment.cuts == tuple(int(row[f"ScaledLow{level}"]) for level in (2, 3, 4))
        assert assessment.score_range == (int(row["ScaledLow1"]), int(row["ScaledHigh4"]))
    assert len(seen) == 14


def test_cuts_and_ranges_are_those_of_the_elpac_packages(reference: Path, registry: Registry) -> None:
    packages = list(rows(reference, "2018.summative.ELPAC.csv"))
    assert len(packages) == 13
    for row in packages:
        assessment = registry.resolve(row["AssessmentId"])
        assert assessment.grades == (grade_from(row["AssessmentGrade"]),)
        oral, written = assessment.claim("1"), assessment.claim("2")
        assert oral and written
        for prefix, measure in (("Scaled", assessment), ("Alt1", oral), ("Alt2", written)):
            assert measure.cuts == tuple(int(row[f"{prefix}Low{level}"]) for level in (2, 3, 4)), row[
                "AssessmentId"
            ]
            assert measure.score_range == (int(row[f"{prefix}Low1"]), int(row[f"{prefix}High4"]))
