"""Exam reports: dialects, contexts, statuses, scores, dates; every fault told at once, and nothing private kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.assessments import Registry, load_registry
from schemas.events import ClaimScore, ExamResult, Subgroups, decode_exam_result, encode_event
from schemas.imports import FieldError, ImportStatus
from schemas.trt import TrtRefused, read_trt

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trt"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def document(name: str, *edits: tuple[str, str]) -> bytes:
    """A fixture, edited; an edit that does not apply is a mistake of the test."""
    text = (FIXTURES / f"{name}.xml").read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def refusal(registry: Registry, report: bytes) -> TrtRefused:
    with pytest.raises(TrtRefused) as caught:
        read_trt(report, registry)
    assert caught.value.errors
    assert all(len(error.value) <= 80 for error in caught.value.errors)
    return caught.value


def faults(registry: Registry, report: bytes) -> dict[str, FieldError]:
    refused = refusal(registry, report)
    assert refused.status is ImportStatus.BAD_DATA
    return {error.element: error for error in refused.errors}


def test_a_version_3_report_becomes_an_event(registry: Registry) -> None:
    event, warnings = read_trt(document("v3"), registry)
    assert warnings == ()
    assert event == ExamResult(
        assessment_id="(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
        opportunity_id="100150",
        school_year=2026,
        status="scored",
        status_date=datetime(2026, 4, 29, 17, 15, 0, 123456, tzinfo=UTC),
        sequence=0,
        student_id="7000000012",
        school="99700012222222",
        grade="03",
        enrolled_grade="03",
        completed=datetime(2026, 4, 28, 17, tzinfo=UTC),
        attempted="Y",
        scale_score=2431,
        scale_score_error="24",
        level=2,
        claims=(ClaimScore("SOCK_R", 1, 2420), ClaimScore("4-CR", 3)),
        subgroups=Subgroups(
            sex="Female",
            ethnicities=("HispanicOrLatinoEthnicity", "White"),
            english_acquisition="EL",
            english_learner=True,
            disability=False,
            migrant=True,
        ),
    )
    assert decode_exam_result(encode_event(event)) == event


def test_an_air_report_takes_the_year_and_the_grade_of_its_package(registry: Registry) -> None:
    event, warnings = read_trt(document("air"), registry)
    assert warnings == ()
    assert (event.school_year, event.grade, event.enrolled_grade) == (2017, "06", "07")
    assert event.school == "99700012222222"
    assert (event.scale_score, event.scale_score_text, event.level) == (2543, "2542.72882294896", 2)
    assert event.condition == "SD"  # the usual one of an interim
    assert event.completeness == "Complete"
    assert event.status_date == datetime(2016, 10, 12, 23, 59, 17, 693000, tzinfo=UTC)


def test_a_report_of_the_2014_draft_is_read_by_its_older_names(registry: Registry) -> None:
    event, warnings = read_trt(document("draft2014"), registry)
    assert warnings == ()
    assert (event.student_id, event.school) == ("CA-7000000023", "99700012222222")
    assert (event.grade, event.enrolled_grade, event.status) == ("07", "07", "completed")
    assert event.subgroups == Subgroups(sex="Male")
    assert (event.scale_score, event.scale_score_text) == (2552, "2551.5")  # half up
    assert [(claim.code, claim.level) for claim in event.claims] == [
        ("SOCK_R", 2),
        ("2-W", 1),
        ("SOCK_LS", 2),
        ("4-CR", 3),
    ]


def test_elpac_composites_and_domains_are_claims_of_their_own(registry: Registry) -> None:
    event, warnings = read_trt(document("elpac"), registry)
    assert warnings == ()
    assert (event.scale_score, event.level, event.grade) == (1422, 3, "KG")
    assert event.claims == (
        ClaimScore("1", 4, 1478),
        ClaimScore("1-L", 3),
        ClaimScore("1-S", 3),
        ClaimScore("2-R", 1),
    )


def test_a_reset_needs_no_more_than_identity_student_status_and_status_date(registry: Registry) -> None:
    event, warnings = read_trt(document("reset"), registry)
    assert warnings == ()
    assert event == ExamResult(
        assessment_id="(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
        opportunity_id="100150",
        school_year=2026,
        status="reset",
        status_date=datetime(2026, 5, 2, 8, tzinfo=UTC),
        sequence=0,
        student_id="7000000012",
    )


def test_a_reset_without_identity_student_or_status_date_is_refused(registry: Registry) -> None:
    report = document(
        "reset",
        ('oppId="100150"', 'oppId=" "'),
        ('value="7000000012"', 'value=""'),
        ('statusDate="2026-05-02T08:00:00"', ""),
    )
    assert set(faults(registry, report)) == {
        "ExamineeAttribute[StudentIdentifier]",
        "Opportunity/@oppId",
        "Opportunity/@statusDate",
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Scored", "scored"),
        ("COMPLETED", "completed"),
        ("reported", "reported"),
        ("Appeal", "appeal"),
        ("handScoring", "handscoring"),
        ("", "scored"),
    ],
)
def test_statuses_are_read_in_any_case_and_a_missing_one_is_scored(
    registry: Registry, written: str, read: str
) -> None:
    assert read_trt(document("v3", ('status="scored"', f'status="{written}"')), registry).event.status == read
    if not written:
        assert read_trt(document("v3", ('status="scored"', "")), registry).event.status == read


def test_an_unknown_status_is_refused(registry: Registry) -> None:
    found = faults(registry, document("v3", ('status="scored"', 'status="rescored"')))
    assert found["Opportunity/@status"].value == "rescored"
    assert "invalidated" in found["Opportunity/@status"].error


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-04-29T10:15:00", datetime(2026, 4, 29, 10, 15, tzinfo=UTC)),  # no zone: UTC
        ("2026-04-29T10:15:00Z", datetime(2026, 4, 29, 10, 15, tzinfo=UTC)),
        ("2026-04-29T10:15:00-05:00", datetime(2026, 4, 29, 15, 15, tzinfo=UTC)),
        ("2026-04-29T10:15:00.5", datetime(2026, 4, 29, 10, 15, 0, 500_000, tzinfo=UTC)),
        ("2026-04-29T10:15:00.1234567Z", datetime(2026, 4, 29, 10, 15, 0, 123_456, tzinfo=UTC)),
        ("  2026-04-29T10:15:00 ", datetime(2026, 4, 29, 10, 15, tzinfo=UTC)),
    ],
)
def test_dates_without_a_zone_are_utc(registry: Registry, written: str, read: datetime) -> None:
    report = document("v3", ("2026-04-29T10:15:00.123456-07:00", written))
    assert read_trt(report, registry).event.status_date == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "04/29/2026",
        "2026-04-29",
        "2026-02-30T10:15:00",
        "0001-01-01T00:00:00",  # how some systems write "never"
        "9999-12-31T23:59:59-14:00",
        "2026-W18-3T10:15:00",
        "20260429T101500",
        "٢026-04-29T10:15:00",
    ],
)
def test_a_status_date_that_is_missing_or_no_date_is_refused(registry: Registry, written: str) -> None:
    found = faults(registry, document("v3", ("2026-04-29T10:15:00.123456-07:00", written)))
    assert set(found) == {"Opportunity/@statusDate"}


def test_a_finished_exam_needs_its_date_of_completion_and_an_unfinished_one_does_not(
    registry: Registry,
) -> None:
    blank = ('dateCompleted="2026-04-28T17:00:00Z"', 'dateCompleted=""')
    assert set(faults(registry, document("v3", blank))) == {"Opportunity/@dateCompleted"}
    paused = document("v3", blank, ('status="scored"', 'status="paused"'))
    assert read_trt(paused, registry).event.completed is None
    wrong = document("v3", (blank[0], 'dateCompleted="soon"'), ('status="scored"', 'status="paused"'))
    assert set(faults(registry, wrong)) == {"Opportunity/@dateCompleted"}


@pytest.mark.parametrize(
    ("value", "score", "text"),
    [
        ("2431.4999999999", 2431, "2431.4999999999"),
        ("2431.5", 2432, "2431.5"),  # half up, not half even
        ("2432.5", 2433, "2432.5"),
        ("2.4E+3", 2400, "2.4E+3"),
        ("2623.4", 2623, "2623.4"),
        ("02431", 2431, "02431"),
        ("", None, None),
        ("NS", None, None),
        ("ns", None, None),
        ("0", None, None),
        ("0.0", None, None),
    ],
)
def test_scores_are_rounded_half_up_and_blank_ns_or_zero_is_no_score(
    registry: Registry, value: str, score: int | None, text: str | None
) -> None:
    report = document("v3", ('value="2431"', f'value="{value}"'))
    event = read_trt(report, registry).event
    assert (event.scale_score, event.scale_score_text) == (score, text)
    assert event.scale_score_error == ("24" if score else None)


@pytest.mark.parametrize(
    "value", ["-1", "-2017", "bad data", "NaN", "Infinity", "1e999", "2,431", "٢٤٣١", "2 431"]
)
def test_a_score_that_is_no_number_is_refused(registry: Registry, value: str) -> None:
    found = faults(registry, document("v3", ('value="2431"', f'value="{value}"')))
    assert found["Score[Overall ScaleScore]"].value == value


@pytest.mark.parametrize(("score", "fits"), [(2114, False), (2115, True), (2650, True), (2651, False)])
def test_a_score_out_of_the_packages_range_is_refused(registry: Registry, score: int, fits: bool) -> None:
    report = document("v3", ('value="2431"', f'value="{score}"'))
    if fits:
        assert read_trt(report, registry).event.scale_score == score
    else:
        error = faults(registry, report)["Score[Overall ScaleScore]"].error
        assert "outside 2115 to 2650, the range of ELA-SUM grade 03" in error


@pytest.mark.parametrize(("season", "fits"), [("2019-2020", False), ("2020-2021", True)])
def test_grade_11_ela_2857_is_bad_data_in_2019_20_and_valid_in_2020_21(
    registry: Registry, season: str, fits: bool
) -> None:
    report = document(
        "v3",
        ("SBAC-SUM-ELA-3-Spring-2025-2026", f"SBAC-SUM-ELA-11-Spring-{season}"),
        ('grade="3"', 'grade="11"'),
        ('value="2431"', 'value="2857"'),
        ('measureLabel="PerformanceLevel" value="2"', 'measureLabel="PerformanceLevel" value="4"'),
    )
    if fits:
        assert read_trt(report, registry).event.scale_score == 2857
    else:
        assert set(faults(registry, report)) == {"Score[Overall ScaleScore]"}


def test_a_composite_has_a_range_and_a_claim_has_none(registry: Registry) -> None:
    assert set(faults(registry, document("elpac", ('value="1478"', 'value="1149"')))) == {
        "Score[1 ScaleScore]"
    }
    report = document("v3", ('value="2420"', 'value="1999"'))
    assert read_trt(report, registry).event.claims[0].score == 1999
    assert set(faults(registry, document("v3", ('value="2420"', 'value="4096"')))) == {
        "Score[SOCK_R ScaleScore]"
    }


@pytest.mark.parametrize("value", ["0", "5", "15", "-1", "bad data", "2.5", "٢", "²"])
def test_a_level_that_the_assessment_does_not_have_is_refused(registry: Registry, value: str) -> None:
    report = document("v3", ('PerformanceLevel" value="2"', f'PerformanceLevel" value="{value}"'))
    assert faults(registry, report)["Score[Overall PerformanceLevel]"].value == value


def test_claims_have_three_levels_whatever_the_overall_has(registry: Registry) -> None:
    report = document(
        "v3",
        (
            'measureOf="4-CR" measureLabel="PerformanceLevel" value="3"',
            'measureOf="4-CR" measureLabel="PerformanceLevel" value="4"',
        ),
    )
    assert "expected 1 to 3" in faults(registry, report)["Score[4-CR PerformanceLevel]"].error


@pytest.mark.parametrize("value", ["", "NS"])
def test_an_exam_without_a_level_has_none(registry: Registry, value: str) -> None:
    report = document("v3", ('PerformanceLevel" value="2"', f'PerformanceLevel" value="{value}"'))
    assert read_trt(report, registry).event.level is None


def test_a_level_that_the_cuts_contradict_counts_as_reported_and_warns(registry: Registry) -> None:
    report = document("v3", ('value="2431"', 'value="2432"'))
    event, warnings = read_trt(report, registry)
    assert event.level == 2
    (warning,) = warnings
    assert warning.element == "Score[Overall PerformanceLevel]"
    assert "cut scores give level 3" in warning.error


def test_a_final_attribute_outranks_an_initial_one_even_when_it_is_blank(registry: Registry) -> None:
    blank = document(
        "v3",
        (
            'context="FINAL" name="StudentIdentifier" value="7000000012"',
            'context="FINAL" name="StudentIdentifier" value=""',
        ),
    )
    assert set(faults(registry, blank)) == {"ExamineeAttribute[StudentIdentifier]"}
    absent = document("v3", ('context="FINAL" name="StudentIdentifier"', 'context="FINAL" name="Nickname"'))
    assert read_trt(absent, registry).event.student_id == "7000000001"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Yes", True),
        ("Y", True),
        ("T", True),
        ("true", True),
        ("1", True),
        ("no", False),
        ("N", False),
        ("F", False),
        ("FALSE", False),
        ("0", False),
        ("", None),
        ("Unknown/Cannot Provide", None),
        ("ja", None),
    ],
)
def test_flags_are_read_in_every_spelling_and_unknown_ones_left_out(
    registry: Registry, written: str, read: bool | None
) -> None:
    report = document("v3", ('name="IDEAIndicator" value="No"', f'name="IDEAIndicator" value="{written}"'))
    groups = read_trt(report, registry).event.subgroups
    assert groups is not None
    assert groups.disability is read


def test_completeness_is_read_from_its_older_attribute_when_the_newer_is_blank(registry: Registry) -> None:
    older = document("v3", (' completeness="Complete"', ' completeness=""'))
    assert read_trt(older, registry).event.completeness == "Partial"
    neither = document("v3", (' completeness="Complete"', ""), (' completeStatus="Partial"', ""))
    assert read_trt(neither, registry).event.completeness == "Complete"
    wrong = document("v3", (' completeness="Complete"', ' completeness="Half"'))
    assert set(faults(registry, wrong)) == {"Opportunity/@completeness"}


@pytest.mark.parametrize(
    ("fixture", "written", "read"),
    [
        ("v3", "", "Valid"),
        ("v3", "in", "IN"),
        ("v3", "IN", "IN"),
        ("v3", "valid", "Valid"),
        ("v3", "sd", "SD"),
    ],
)
def test_the_condition_is_kept_and_a_blank_one_is_the_usual_one(
    registry: Registry, fixture: str, written: str, read: str
) -> None:
    report = document(fixture, ('administrationCondition="Valid"', f'administrationCondition="{written}"'))
    assert read_trt(report, registry).event.condition == read


def test_an_invalid_exam_is_kept_as_such(registry: Registry) -> None:
    report = document("v3", ('validity="valid"', 'validity="Invalid"'))
    event = read_trt(report, registry).event
    assert (event.validity, event.status, event.scale_score) == ("invalid", "scored", 2431)


@pytest.mark.parametrize("written", ["true", "1", "TRUE", "yes"])
def test_a_demonstration_student_is_refused(registry: Registry, written: str) -> None:
    found = faults(registry, document("v3", ('isDemo="false"', f'isDemo="{written}"')))
    assert set(found) == {"Examinee/@isDemo"}


@pytest.mark.parametrize("school", ["", "APTEST1", "9970001222222", "99700010000000", "99000000000000"])
def test_a_school_that_is_not_a_schools_cds_code_is_refused(registry: Registry, school: str) -> None:
    report = document("v3", ("99700012222222", school))
    assert set(faults(registry, report)) == {"ExamineeRelationship[SchoolId]"}


@pytest.mark.parametrize(("grade", "fits"), [("10", True), ("12", True), ("09", False), ("", False)])
def test_a_high_school_test_counts_in_the_enrolled_grade(registry: Registry, grade: str, fits: bool) -> None:
    report = document(
        "v3",
        ("(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026", "CAST-GRADE-HS-Spring-2025-2026"),
        ('grade="3"', 'grade="HS"'),
        ('name="GradeLevelWhenAssessed" value="03"', f'name="GradeLevelWhenAssessed" value="{grade}"'),
        ('value="2431"', 'value="600"'),
    )
    if fits:
        assert read_trt(report, registry).event.grade == grade
    else:
        error = faults(registry, report)["ExamineeAttribute[GradeLevelWhenAssessed]"].error
        assert "CAST spans grades 10 to 12" in error


def test_an_ungraded_student_keeps_the_assessments_grade(registry: Registry) -> None:
    report = document("v3", ('WhenAssessed" value="03"', 'WhenAssessed" value="UG"'))
    event, warnings = read_trt(report, registry)
    assert (event.grade, event.enrolled_grade) == ("03", None)
    assert [warning.element for warning in warnings] == ["ExamineeAttribute[GradeLevelWhenAssessed]"]


def test_a_report_whose_grade_is_not_its_assessments_warns(registry: Registry) -> None:
    event, warnings = read_trt(document("v3", ('grade="3"', 'grade="04"')), registry)
    assert event.grade == "03"
    assert [warning.element for warning in warnings] == ["Test/@grade"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SBAC-SUM-HISTORY-3-2026", "is not the id of any assessment"),
        ("ELPAC-IA-GRADE-KG-2025-2026", "the Initial ELPAC is never taken"),
        ("CST-SCIENCE-GRADE-05-2026", "last given in 2015–16"),
    ],
)
def test_an_assessment_that_is_not_taken_has_a_status_of_its_own(
    registry: Registry, name: str, remedy: str
) -> None:
    refused = refusal(registry, document("v3", ("(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026", name)))
    assert refused.status is ImportStatus.UNKNOWN_ASMT
    (error,) = refused.errors
    assert (error.element, error.value) == ("Test/@name", name)
    assert remedy in error.error


@pytest.mark.parametrize("section", ["Test", "Examinee", "Opportunity"])
def test_a_report_without_one_of_its_sections_is_invalid(registry: Registry, section: str) -> None:
    refused = refusal(
        registry,
        document("v3", (f"<{section} ", "<Other "), (f"</{section}>", "</Other>"))
        if section != "Test"
        else document("v3", ("<Test ", "<Other ")),
    )
    assert refused.status is ImportStatus.INVALID
    assert [error.element for error in refused.errors] == [section]


def test_two_exams_in_one_report_are_invalid(registry: Registry) -> None:
    refused = refusal(registry, document("v3", ("</TDSReport>", '<Opportunity oppId="2"/></TDSReport>')))
    assert refused.status is ImportStatus.INVALID
    assert "several Opportunity elements" in refused.errors[0].error


@pytest.mark.parametrize(
    "report", [b"<Exam/>", b"<html><body>502</body></html>", b'<TDSReport xmlns="urn:x"/>']
)
def test_xml_that_is_not_an_exam_report_is_invalid(registry: Registry, report: bytes) -> None:
    refused = refusal(registry, report)
    assert refused.status is ImportStatus.INVALID
    assert [error.element for error in refused.errors] == ["TDSReport"]


@pytest.mark.parametrize("report", [b"", b"not XML", b"{}", b"<TDSReport>", b"\x00\xff", b"<a/><b/>"])
def test_what_is_not_xml_has_a_bad_format(registry: Registry, report: bytes) -> None:
    refused = refusal(registry, report)
    assert refused.status is ImportStatus.BAD_FORMAT
    assert "not well-formed XML at line 1" in refused.errors[0].error


def test_all_faults_of_a_report_are_told_at_once_under_the_gravest_status(registry: Registry) -> None:
    report = document(
        "v3",
        ('oppId="100150"', 'oppId=""'),
        ("99700012222222", "Larkspur"),
        ('value="2431"', 'value="bad data"'),
        (
            'measureOf="SOCK_R" measureLabel="PerformanceLevel" value="1"',
            'measureOf="SOCK_R" measureLabel="PerformanceLevel" value="0"',
        ),
        ('name="GradeLevelWhenAssessed" value="03"', 'name="GradeLevelWhenAssessed" value="3rd"'),
        ('validity="valid"', 'validity="maybe"'),
    )
    assert set(faults(registry, report)) == {
        "Opportunity/@oppId",
        "ExamineeRelationship[SchoolId]",
        "Score[Overall ScaleScore]",
        "Score[SOCK_R PerformanceLevel]",
        "ExamineeAttribute[GradeLevelWhenAssessed]",
        "Opportunity/@validity",
    }
    text = report.decode()
    unknown = refusal(registry, text.replace("SBAC-SUM-ELA-3-Spring", "SBAC-FT-ELA-3-Spring").encode())
    assert unknown.status is ImportStatus.UNKNOWN_ASMT
    assert {"Test/@name", "Opportunity/@oppId"} <= {error.element for error in unknown.errors}
    cut = refusal(
        registry,
        text.replace("<Examinee ", "<Pupil ")
        .replace("</Examinee>", "</Pupil>")
        .replace("SBAC-SUM-ELA-3-Spring", "SBAC-FT-ELA-3-Spring")
        .encode(),
    )
    assert cut.status is ImportStatus.INVALID


def test_a_student_identifier_is_never_repeated_in_a_fault(registry: Registry) -> None:
    identifier = "7" * 120
    refused = refusal(registry, document("v3", ("7000000012", identifier)))
    assert [error.element for error in refused.errors] == ["ExamineeAttribute[StudentIdentifier]"]
    assert "has 120 characters; at most 65" in refused.errors[0].error
    assert identifier[:20] not in str(refused) + repr(refused.errors)


def test_a_score_written_into_an_essay_or_an_item_is_no_score(registry: Registry) -> None:
    """The version 3 fixture has both: 2623 in the essay, 2622 in the item."""
    assert read_trt(document("v3"), registry).event.scale_score == 2431
    escaped = document("v3", ("<![CDATA[", ""), ("]]>", ""))  # now a real element, deep in the item
    assert read_trt(escaped, registry).event.scale_score == 2431


def test_the_same_opportunity_id_of_two_tests_is_two_exams(registry: Registry) -> None:
    third, sixth = (read_trt(document(name), registry).event for name in ("v3", "air"))
    assert third.opportunity_id == sixth.opportunity_id == "100150"
    assert third.assessment_id != sixth.assessment_id
