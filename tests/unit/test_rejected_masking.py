"""A rejected result is shown without saying whose it is, until somebody asks for that."""

from __future__ import annotations

import json

import pytest
from rejected_results import CE, KEY, STUDENT, read, rejected, result

from cli.rejected.exporting import exported
from cli.rejected.masking import HIDDEN, shown_body
from cli.rejected.showing import describe
from schemas.rejections import Reason


def test_identifier_and_key_are_hidden_wherever_they_are_repeated() -> None:
    record = read(
        rejected(
            detail=f"student {STUDENT} has no school",
            value=result(scale_score_text=f"x{STUDENT}"),
            headers=(*CE, ("ce_subject", STUDENT.encode()), ("ssid", b"7"), ("retry_of", KEY)),
        )
    )
    shown = describe(record, reveal=False)
    text = json.dumps(shown)
    assert STUDENT not in text and KEY.decode() not in text
    assert shown["key"] == HIDDEN
    assert ["ssid", HIDDEN] in shown["headers"]  # type: ignore[operator]  # a list
    assert '"assessment_id": "(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026"' in text


def test_revealed_result_shows_identifier_key_and_all_headers() -> None:
    shown = describe(read(rejected(headers=(("ssid", b"7"),))), reveal=True)
    assert shown["key"] == KEY.decode()
    assert shown["body"]["student_id"] == STUDENT  # type: ignore[index]  # a dict
    assert shown["headers"] == [["ssid", "7"]]


@pytest.mark.parametrize(
    "body",
    [
        {"student_id": 7000000012, "assessment_id": "about 7000000012"},
        {"7000000012": 1},
        {"studentName": "7000000012"},
        {"school": {"of": "7000000012"}},
        {"subgroups": {"7000000012": "x", "sex": ["7000000012", {"a": 1}], "note": "7000000012"}},
        {"claims": [{"code": {"x": "7000000012"}}, "7000000012", ["7000000012"]]},
        ["7000000012"],
        "7000000012",
    ],
    ids=str,
)
def test_field_that_nobody_knows_is_not_shown(body: object) -> None:
    shown = json.dumps(shown_body(json.dumps(body).encode(), reveal=False))
    if isinstance(body, dict) and "subgroups" in body:
        shown = shown.replace("sex", "")
    assert "7000000012" not in shown
    assert "7000000012" in json.dumps(shown_body(json.dumps(body).encode(), reveal=True))


def test_report_that_is_no_json_is_not_shown_at_all() -> None:
    report = f"<TDSReport><Examinee name='StudentIdentifier' value='{STUDENT}'/>\x1b[2J".encode()
    assert shown_body(report, reveal=False) == f"({len(report)} bytes that are not JSON; --reveal shows them)"
    revealed = shown_body(report, reveal=True)
    assert isinstance(revealed, str) and STUDENT in revealed and "\x1b" not in revealed


def test_exported_record_has_every_byte() -> None:
    record = read(rejected("3:7", Reason.UNDECODABLE, value=b"\xff\x00", headers=(*CE, ("trace", b"\xfe"))))
    line = exported(record.reference, record)
    assert (line["record"], line["key"], line["value_base64"]) == ("3:7", KEY.decode(), "/wA=")
    assert line["headers"] == [
        *({"name": name, "value": content.decode()} for name, content in CE),
        {"name": "trace", "value_base64": "/g=="},
    ]
