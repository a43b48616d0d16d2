"""The records of ``aggregate-changes.v1``, ``published-changes.v1`` and ``result-changes.v1``, byte for byte.

A difference means that the wire format changes. When that is meant (a new field with a default, say), renew the golden files, read the
difference, and note it under "Wire format" in the changelog:

    RENEW_GOLDEN=1 python -m pytest tests/contract/test_change_records.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.aggregate_changes import (
    CellChange,
    ResultChange,
    decode_cell_change,
    decode_result_change,
    encode_change,
)
from schemas.aggregates import cell_field, cell_name
from schemas.identifiers import OrganizationId
from schemas.webhooks.examples import NOON_MS, example_figures, example_results

GOLDEN = Path(__file__).parent / "golden"
SCHOOL = OrganizationId("19990010000101")
CELL = cell_field(2026, "ELA-SUM", "03")

CHANGES: dict[str, CellChange] = {
    "aggregate-change.json": CellChange(
        organization=SCHOOL,
        cell=CELL,
        generation="g19f2d7c41a8-4-current",
        version=4,
        changed_ms=NOON_MS,
        figures=example_figures(cell_name(CELL), 4),
    ),
    "published-change.withdrawn.json": CellChange(
        organization=SCHOOL, cell=CELL, generation="", version=9, changed_ms=NOON_MS + 3_120, figures=None
    ),
}
[RESULT, _] = example_results()


def compare(name: str, current: bytes) -> None:
    path = GOLDEN / name
    if os.environ.get("RENEW_GOLDEN") == "1":
        path.write_bytes(current)
        pytest.fail(f"{name} was renewed; read its difference, then run again without RENEW_GOLDEN")
    assert path.read_bytes() == current, (
        f"{name} differs; the head of this file says how to renew it on purpose"
    )


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_cell_is_encoded_byte_for_byte_as_published(name: str) -> None:
    compare(name, encode_change(CHANGES[name]) + b"\n")
    assert decode_cell_change((GOLDEN / name).read_bytes()) == CHANGES[name]


def test_a_changed_result_is_encoded_byte_for_byte_as_published() -> None:
    compare("result-change.json", encode_change(RESULT) + b"\n")
    assert decode_result_change((GOLDEN / "result-change.json").read_bytes()) == RESULT


def test_a_changed_result_names_the_exam_and_neither_student_nor_score() -> None:
    assert set(ResultChange.__struct_fields__) == {
        "id",
        "kind",
        "organization",
        "assessment_id",
        "opportunity_id",
        "school_year",
        "status_date",
        "changed_ms",
        "preliminary",
    }


@pytest.mark.parametrize("name", [*CHANGES, "result-change.json"])
def test_every_record_says_that_it_is_preliminary(name: str) -> None:
    assert b'"preliminary":true' in (GOLDEN / name).read_bytes()


def test_fields_of_a_later_version_do_not_keep_a_record_from_being_read() -> None:
    for change in CHANGES.values():
        assert decode_cell_change(encode_change(change)[:-1] + b',"later":[1]}') == change
    assert decode_result_change(encode_change(RESULT)[:-1] + b',"later":[1]}') == RESULT
