"""Real reports and packages of the reporting warehouse, read from the reference data: nothing of them is kept here."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.aggregates import Cell, contribution
from schemas.assessments import Registry, load_registry
from schemas.events import decode_exam_result, encode_event
from schemas.identifiers import OrganizationId, district_of, grade_from
from schemas.imports import ImportStatus
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
        levels = [int(row[f"level_{level}"]) for level in range(1, 5)]
        assert counted == [int(row["exams"]), int(row["exams"]), int(row["scale_score_sum"]), *levels], key
        assert district_of(OrganizationId(key[2])) == row["district_id"]
    assert sum(cell.results for cell in cells.values()) == 10_109
    # Eleven ELPAC exams have the last score of a level's range and the next level (see the data's own README).
    assert warned["ELPAC-SUM Score[Overall PerformanceLevel]"] == 11
    assert not [name for name in warned if not name.startswith("ELPAC-SUM ")]


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
