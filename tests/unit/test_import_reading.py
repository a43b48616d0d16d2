"""One document read: JSON events are checked as strictly as reports, and faults never say whose exam it is."""

from __future__ import annotations

import pytest
from fake_imports import event, json, registry, xml

from gateway.imports.documents import JSON, Document
from gateway.imports.reading import DocumentReader, Reading, Refusal
from schemas.imports import ImportStatus


@pytest.fixture
def read() -> DocumentReader:
    return DocumentReader(registry())


def refusal(outcome: Reading | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


def test_a_report_and_an_event_of_the_same_exam_are_read_alike(read: DocumentReader) -> None:
    from_xml, from_json = (
        read(xml()),
        read(json(scale_score_error="25", enrolled_grade="04")),
    )

    assert isinstance(from_xml, Reading)
    assert isinstance(from_json, Reading)
    assert from_xml.event == from_json.event


@pytest.mark.parametrize(
    ("wrong", "element", "value"),
    [
        pytest.param({"status": "rescored"}, "status", "rescored", id="a status that does not exist"),
        pytest.param({"status": None}, "status", "", id="no status"),
        pytest.param({"status_date": "2021-05-10"}, "status_date", "2021-05-10", id="a date without time"),
        pytest.param({"school": "19-64733"}, "school", "19-64733", id="half a code"),
        pytest.param({"school": None}, "school", "", id="no school"),
        pytest.param({"level": 0}, "level", "0", id="level 0"),
        pytest.param({"scale_score": 2857}, "scale_score", "2857", id="a score above the range"),
        pytest.param({"scale_score": "2480"}, "scale_score", "2480", id="a score in quotation marks"),
        pytest.param({"claims": [{"code": "SOCK_R", "level": 4}]}, "claims", "", id="claim level 4"),
        pytest.param(
            {"claims": [{"code": "SOCK_R", "level": 9}]}, "claims[0].level", "9", id="claim level 9"
        ),
        pytest.param({"student_id": None}, "student_id", "", id="no student"),
        pytest.param({"student_id": "1" * 120}, "student_id", "(withheld)", id="an identifier too long"),
    ],
)
def test_an_event_with_a_wrong_value_is_bad_data_and_the_element_is_named(
    read: DocumentReader, wrong: dict[str, object], element: str, value: str
) -> None:
    refused = refusal(read(json(**wrong)))

    assert refused.status is ImportStatus.BAD_DATA
    assert [(fault.element, fault.value) for fault in refused.errors] == [(element, value)]
    assert refused.errors[0].error


def test_all_faults_that_the_registry_finds_in_an_event_are_told_at_once(read: DocumentReader) -> None:
    refused = refusal(read(json(student_id=None, school=None, scale_score=1)))

    assert [fault.element for fault in refused.errors] == ["student_id", "school", "scale_score"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"{", ImportStatus.BAD_FORMAT),
        (b"\xff\xfe", ImportStatus.BAD_FORMAT),
        (b"42", ImportStatus.INVALID),
        (b"null", ImportStatus.INVALID),
    ],
)
def test_what_is_no_event_at_all_is_refused(read: DocumentReader, data: bytes, status: ImportStatus) -> None:
    assert refusal(read(Document(data, JSON))).status is status


def test_an_unknown_assessment_is_refused_by_its_name(read: DocumentReader) -> None:
    refused = refusal(read(json(assessment_id="(SBAC)Nonesuch-2021")))

    assert refused.status is ImportStatus.UNKNOWN_ASMT
    assert refused.errors[0].value == "(SBAC)Nonesuch-2021"


def test_a_document_of_another_kind_is_refused_by_its_content_type(read: DocumentReader) -> None:
    refused = refusal(read(Document(b"a,b", "text/csv")))

    assert (refused.status, refused.errors[0].value) == (ImportStatus.BAD_FORMAT, "text/csv")


def test_the_year_of_the_assessments_id_outranks_the_events(read: DocumentReader) -> None:
    outcome = read(json(school_year=2020))

    assert isinstance(outcome, Reading)
    assert outcome.event.school_year == 2021
    assert outcome.warnings[0].value == "2020"


def test_fields_that_are_not_the_events_never_get_past_the_import(read: DocumentReader) -> None:
    outcome = read(json(last_name="Nonesuch", essay="It was a dark and stormy night"))

    assert isinstance(outcome, Reading)
    assert "Nonesuch" not in repr(outcome)
    assert "dark" not in repr(outcome)


def test_a_reset_needs_neither_school_nor_scores(read: DocumentReader) -> None:
    minimal = ("assessment_id", "opportunity_id", "school_year", "status_date", "student_id")
    others = dict.fromkeys(set(event()) - set(minimal))

    assert isinstance(read(json(**(others | {"status": "reset"}))), Reading)
