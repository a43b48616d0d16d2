"""The events' JSON Schemas, and one event byte for byte, as others rely on them.

A difference means that the wire format changes. When that is meant (a new field with a default, say), renew the golden
files, read the difference, and note it under "Wire format" in the changelog:

    RENEW_GOLDEN=1 python -m pytest tests/contract/test_event_schemas.py
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.events import (
    EVENT_TYPES,
    EXAM_RESULT_TYPE,
    ClaimScore,
    ClosingEntry,
    ExamResult,
    OrganizationEntry,
    ReleaseEntry,
    Subgroups,
    cloud_event_headers,
    decode_closing,
    decode_exam_result,
    decode_organization,
    decode_release,
    encode_event,
)
from schemas.json_schema import json_schema

GOLDEN = Path(__file__).parent / "golden"

EXAM_RESULT = ExamResult(
    assessment_id="(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
    opportunity_id="100150",
    school_year=2026,
    status="appeal",
    status_date=datetime(2026, 4, 29, 17, 15, 0, 123456, tzinfo=UTC),
    sequence=41,
    student_id="7000000012",
    school="99700012222222",
    grade="03",
    enrolled_grade="03",
    tested_school="99700011111111",
    completed=datetime(2026, 4, 28, 17, tzinfo=UTC),
    completeness="Partial",
    condition="IN",
    validity="invalid",
    attempted="Y",
    include_indicator="Y",
    scale_score=2431,
    scale_score_text="2431.4",
    scale_score_error="24.05",
    level=2,
    claims=(ClaimScore("SOCK_R", 1, 2420), ClaimScore("4-CR", 3)),
    subgroups=Subgroups(
        sex="Female",
        ethnicities=("HispanicOrLatinoEthnicity", "White"),
        english_acquisition="EL",
        english_learner=True,
        disability=False,
        section_504=False,
        economic_disadvantage=True,
        migrant=False,
    ),
)
RESET = ExamResult(
    assessment_id="(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
    opportunity_id="100150",
    school_year=2026,
    status="reset",
    status_date=datetime(2026, 5, 2, 8, tzinfo=UTC),
    sequence=42,
)
RELEASE = ReleaseEntry(
    school_year=2026, district="99700010000000", subject="Math", report="aggregate", state="reviewing"
)
SCHOOL = OrganizationEntry(
    cds="99700012222222",
    name="Piñon Hills – Larkspur Élementary",
    kind="school",
    charter="direct",
    active=False,
)

CLOSING = ClosingEntry(
    school_year=2026, test="ELA-SUM", change="closed", at=datetime(2026, 9, 1, tzinfo=UTC), by="registrar"
)


def compare(name: str, current: bytes) -> None:
    path = GOLDEN / name
    if os.environ.get("RENEW_GOLDEN") == "1":
        path.write_bytes(current)
        pytest.fail(f"{name} was renewed; read its difference, then run again without RENEW_GOLDEN")
    assert path.read_bytes() == current, (
        f"{name} differs; the head of this file says how to renew it on purpose"
    )


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_the_schema_of_an_event_is_the_published_one(event_type: str) -> None:
    compare(f"{event_type}.schema.json", json_schema(event_type))


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("exam-result.full.json", EXAM_RESULT),
        ("exam-result.reset.json", RESET),
        ("organization.json", SCHOOL),
        ("release.json", RELEASE),
        ("closing.json", CLOSING),
    ],
)
def test_an_event_is_encoded_byte_for_byte_as_published(
    name: str, event: ExamResult | OrganizationEntry | ReleaseEntry | ClosingEntry
) -> None:
    compare(name, encode_event(event) + b"\n")


def test_published_events_are_read_back_as_they_were() -> None:
    assert decode_exam_result((GOLDEN / "exam-result.full.json").read_bytes()) == EXAM_RESULT
    assert decode_exam_result((GOLDEN / "exam-result.reset.json").read_bytes()) == RESET
    assert decode_organization((GOLDEN / "organization.json").read_bytes()) == SCHOOL
    assert decode_release((GOLDEN / "release.json").read_bytes()) == RELEASE
    assert decode_closing((GOLDEN / "closing.json").read_bytes()) == CLOSING


def test_the_full_example_leaves_out_no_field() -> None:
    for part in (EXAM_RESULT, EXAM_RESULT.claims[0], EXAM_RESULT.subgroups):
        assert part is not None
        assert all(getattr(part, name) not in (None, ()) for name in part.__struct_fields__)


def test_fields_of_a_later_version_do_not_keep_an_event_from_being_read() -> None:
    published = (GOLDEN / "exam-result.full.json").read_bytes().strip()
    assert decode_exam_result(published[:-1] + b',"of_a_later_version":{"any":[1]}}') == EXAM_RESULT


def test_cloud_event_attributes_stand_in_the_headers() -> None:
    time = datetime(2026, 4, 29, 17, 15, 0, 123456, tzinfo=UTC)
    assert cloud_event_headers(EXAM_RESULT_TYPE, "import-41", "/exams/imports", time) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"import-41"),
        ("ce_source", b"/exams/imports"),
        ("ce_type", b"scores.exam-result.v1"),
        ("ce_time", b"2026-04-29T17:15:00.123Z"),
        ("content-type", b"application/json"),
    ]
