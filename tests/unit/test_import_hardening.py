"""Documents that are sent to do harm: each is refused with a reason, at no more cost than its size."""

from __future__ import annotations

import sys
import tracemalloc
from datetime import UTC, datetime

import pytest
from fake_imports import NOW, SCHOOL, event, json, registry, student_key, xml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

from gateway.imports.documents import JSON, XML, Document, TooManyDocuments, split_json
from gateway.imports.histories import exam_claim
from gateway.imports.judging import Sender, judge
from gateway.imports.reading import DocumentReader, Reading, Refusal
from schemas.events import decode_exam_result
from schemas.imports import FieldError, ImportStatus

MIB = 2**20


@pytest.fixture
def read() -> DocumentReader:
    return DocumentReader(registry())


def refused(read: DocumentReader, body: bytes) -> tuple[ImportStatus, FieldError]:
    outcome = read(Document(body, JSON))
    assert isinstance(outcome, Refusal)
    return outcome.status, outcome.errors[0]


def with_more(*fields: bytes) -> bytes:
    """A sound event with more fields at its end, as they stand in its text."""
    return encode(event())[:-1] + b"".join(b"," + field for field in fields) + b"}"


def test_an_array_of_a_million_zeros_is_refused_before_it_is_taken_in() -> None:
    body = b"[" + b"0," * MIB + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(TooManyDocuments):
            split_json(body, None, 1000)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB  # a list of them would take a hundred
    finally:
        tracemalloc.stop()


def test_an_array_of_just_as_many_events_as_allowed_is_taken() -> None:
    documents, many = split_json(b"[" + b"{}," * 999 + b"{}]", None, 1000)
    assert (len(documents), many) == (1000, True)


def test_arrays_within_arrays_without_end_are_one_document_that_is_refused(read: DocumentReader) -> None:
    (document,), many = split_json(b"[" * 100_000, None, 1000)
    assert not many
    assert refused(read, document.data)[0] is ImportStatus.BAD_FORMAT


def test_an_event_with_brackets_without_end_is_refused_however_deep_the_caller_stands(
    read: DocumentReader,
) -> None:
    def deeper(calls: int, body: bytes) -> Reading | Refusal:
        return deeper(calls - 1, body) if calls else read(Document(body, JSON))

    few, many = (with_more(b'"later":' + b"[" * depth + b"]" * depth) for depth in (500, 700))
    for calls in (0, 200):
        assert calls + 700 < sys.getrecursionlimit()
        assert isinstance(deeper(calls, few), Reading)
        assert isinstance(deeper(calls, many), Refusal)


def test_an_event_that_no_message_could_carry_is_refused(read: DocumentReader) -> None:
    names = b",".join([b'"White"'] * 10_000)
    status, error = refused(read, with_more(b'"subgroups":{"ethnicities":[' + names + b"]}"))
    assert (status, "at most 65536 are read" in error.error) == (ImportStatus.BAD_FORMAT, True)


@pytest.mark.parametrize(
    ("body", "element"),
    [
        pytest.param(b'{"status":5, and then no JSON', "status", id="no JSON behind it"),
        pytest.param(
            b'{"claims":[{"code":"1","level":9}],"claims":[]}', "claims[0].level", id="claims said again"
        ),
        pytest.param(b'{"subgroups":{"sex":5},"subgroups":null}', "subgroups.sex", id="groups said again"),
        pytest.param(b'{"sequence":"' + b"9" * 5000 + b'"}', "sequence", id="long number"),
    ],
)
def test_a_fault_is_told_whatever_follows_it(read: DocumentReader, body: bytes, element: str) -> None:
    status, error = refused(read, body)
    assert (status, error.element) == (ImportStatus.BAD_DATA, element)
    assert len(error.value) <= 80


def test_a_long_value_is_not_repeated_in_the_reason(read: DocumentReader) -> None:
    _, error = refused(read, encode(event(status="x" * 50_000)))
    assert error.element == "status"
    assert len(error.error) <= 300


@pytest.mark.parametrize("status", ["scored", "reset"])
@pytest.mark.parametrize(
    "date",
    [
        "0001-01-01T00:00:00+01:00",
        "0001-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2199-12-31T23:59:59-00:01",
    ],
)
def test_a_status_date_that_means_never_is_refused(read: DocumentReader, date: str, status: str) -> None:
    refusal_status, error = refused(read, encode(event(status=status, status_date=date)))
    assert (refusal_status, error.element) == (ImportStatus.BAD_DATA, "status_date")
    assert "not of this century" in error.error


def test_the_first_and_the_last_status_date_that_are_taken_make_a_version(read: DocumentReader) -> None:
    for date in ("2000-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z"):
        reading = read(json(status_date=date, completed=date))
        assert isinstance(reading, Reading)
        assert len(exam_claim(reading.event, student_key("9000000001")).version.packed()) == 16


@pytest.mark.parametrize("code", [SCHOOL + "\n", SCHOOL + " ", SCHOOL[:-1]])
def test_a_cds_code_is_its_14_digits_and_nothing_more(read: DocumentReader, code: str) -> None:
    assert refused(read, encode(event(school=code)))[1].element == "school"


def kept_name(data: bytes, filename: str, kind: str = XML) -> str | None:
    sender = Sender("a vendor", None, datetime.now(UTC))
    refusal = Refusal(ImportStatus.BAD_DATA, (FieldError("document", "", "of no interest here"),))
    document = Document(data, kind, filename)
    return judge(document, document.digest(), sender, None, refusal, frozenset()).record.filename


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(xml().data, id="name first"),
        pytest.param(b'<A value="9000000001" context="FINAL" name="StudentIdentifier">', id="value first"),
        pytest.param(b"<A name='SSID' b='&#10;' value='9000000001'", id="cut off"),
        pytest.param(b'{"student_id" : "9000000001", nonsense', id="JSON"),
    ],
)
def test_a_file_named_by_its_student_is_kept_without_the_student(data: bytes) -> None:
    assert kept_name(data, "9000000001-ELA-9000000001.xml") == "(student)-ELA-(student).xml"


def test_another_tags_value_is_not_taken_for_the_student() -> None:
    data = b'<A name="SSID"/><B value="spring"/>'
    assert kept_name(data, "spring.xml") == "spring.xml"


def test_what_stands_for_the_student_is_not_searched_for_students_again() -> None:
    data = b'<A name="SSID" value="stud"/><A name="SSID" value="dent)"/>' * 40
    assert kept_name(data, "stud.xml") == "(student).xml"


def test_of_two_students_the_longer_identifier_is_hidden_first() -> None:
    data = b'<A name="SSID" value="9000"/><A name="SSID" value="90001"/>'
    assert kept_name(data, "90001.xml") == "(student).xml"


def test_a_file_that_names_students_without_end_is_kept_without_a_name() -> None:
    assert kept_name(b'<A name="SSID" value="9000000001"/>' * 100_000, "spring.xml") is None


def test_a_file_too_large_to_be_read_is_kept_without_a_name() -> None:
    assert kept_name(b"<A>" + b" " * (16 * MIB), "spring.xml") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_an_event(body: bytes) -> None:
    assert isinstance(DocumentReader(registry())(Document(body, JSON)), Refusal)


def test_what_is_taken_is_read_back_as_it_was(read: DocumentReader) -> None:
    reading = read(json())
    assert isinstance(reading, Reading)
    assert reading.event.status_date < NOW
    assert decode_exam_result(encode(reading.event)) == reading.event
