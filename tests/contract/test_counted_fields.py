"""The worker decodes a part of an event; the part must mean what the whole means."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from confluent_kafka import Message

from schemas.assessments import load_registry
from schemas.events import ExamResult, decode_exam_result
from schemas.identifiers import Grade, StudentId
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from streams.fetching import FetchedRecord
from streams.reading import CountedFields, Reader, Rejection

SCHOOL = "59100010000001"
EVENT = {
    "assessment_id": load_registry().natural_id("ELA-SUM", Grade("03"), 2026),
    "opportunity_id": "1855629",
    "school_year": 2026,
    "status": "scored",
    "status_date": "2026-04-01T12:00:00Z",
    "sequence": 1,
    "student_id": "7000000001",
    "school": SCHOOL,
    "grade": "03",
    "scale_score": 2431,
    "level": 2,
}
WHOLE = {field.name: field for field in msgspec.inspect.type_info(ExamResult).fields}  # type: ignore[attr-defined]
PART = msgspec.inspect.type_info(CountedFields).fields  # type: ignore[attr-defined]


CHECKED_OTHERWISE = {
    "school",
    "tested_school",
    "grade",
    "enrolled_grade",
}  # without patterns, which cost too much


@pytest.mark.parametrize("field", PART, ids=lambda field: field.name)
def test_counted_field_is_declared_as_in_the_event(field: msgspec.inspect.Field) -> None:
    if field.name == "claims":
        return  # decoded apart, see below
    event = WHOLE[field.name]
    assert (field.required, field.default) == (event.required, event.default)
    if field.name not in CHECKED_OTHERWISE:
        assert _plain(field.type) == _plain(event.type)


def test_grades_of_the_worker_are_those_of_the_event() -> None:
    decode = msgspec.json.Decoder(CountedFields).decode
    for number in [
        *map(str, range(-1, 130)),
        *(f"{n:02d}" for n in range(30)),
        "KG",
        "kg",
        "TK",
        "",
        "KG\n",
        "3-12",
    ]:
        event = {**EVENT, "grade": number, "enrolled_grade": number}
        assert accepts(decode, event) == accepts(decode_exam_result, event), number


@pytest.mark.parametrize(
    "code",
    [
        "",
        "1" * 13,
        "1" * 15,
        "1" * 13 + "\n",
        "1" * 13 + "x",
        " " + "1" * 13,
        "\u0661" * 14,
        "1" * 13 + "\u00b2",
    ],
)
@pytest.mark.parametrize("field", ["school", "tested_school"])
def test_code_that_is_none_in_the_event_is_invalid_for_the_worker(field: str, code: str) -> None:
    pseudonyms = Pseudonymizer(b"sixteen bytes or more of a secret")
    reader = Reader(load_registry(), pseudonyms, lambda code: code == SCHOOL)
    key = pseudonyms.student_key(StudentId("7000000001")).encode()
    for status in ("scored", "reset"):
        event = {**EVENT, "status": status, field: code}
        assert not accepts(decode_exam_result, event)
        result = reader.read(FetchedRecord(Message(key=key, value=msgspec.json.encode(event)), 0))
        assert isinstance(result, Rejection) and result.reason is Reason.INVALID, result


@pytest.mark.parametrize(
    "claims",
    [
        None,
        {},
        "1",
        [None],
        [{}],
        [{"code": ""}],
        [{"code": "1", "level": 5}],
        [{"code": "1", "level": "2"}],
        [{"code": "1", "score": -1}],
        [{"code": str(number)} for number in range(7)],
    ],
)
@pytest.mark.parametrize("status", ["scored", "reset", "invalidated"])
def test_claims_that_are_none_in_the_event_are_invalid_for_the_worker(status: str, claims: object) -> None:
    pseudonyms = Pseudonymizer(b"sixteen bytes or more of a secret")
    reader = Reader(load_registry(), pseudonyms, lambda code: code == SCHOOL)
    key = pseudonyms.student_key(StudentId("7000000001")).encode()
    event = {**EVENT, "status": status, "claims": claims}
    assert not accepts(decode_exam_result, event)
    result = reader.read(FetchedRecord(Message(key=key, value=msgspec.json.encode(event)), 0))
    assert isinstance(result, Rejection) and result.reason is Reason.INVALID, result
    assert "$.claims" in result.detail


def accepts(decode: Callable[[bytes], object], event: dict[str, object]) -> bool:
    with suppress(msgspec.ValidationError):
        decode(msgspec.json.encode(event))
        return True
    return False


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    # Descriptions are for readers of the schema, not for the decoder.
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
