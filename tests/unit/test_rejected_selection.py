"""Which rejected results a command is about, each once, and what is known of them without their bodies."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from rejected_results import NOON, SCHOOL, parked_import, read, rejected, result

from cli.rejected.index import Index, build_index
from cli.rejected.listing import summarize
from cli.rejected.records import RejectedRecord, Retried
from cli.rejected.selection import Selection, selection
from schemas.errors import InvalidInput
from schemas.rejections import Reason, coordinates_of

OTHER = "99700013333333"
LATER = NOON + timedelta(hours=1)


def index() -> Index:
    return build_index(
        [
            read(rejected("0:1", minutes=0, place=0)),
            read(rejected("1:1", value=result(OTHER), minutes=10, place=1)),
            read(rejected("1:2", Reason.INVALID, detail="level 4 is above", minutes=20, place=2)),
            read(rejected("2:9", Reason.UNDECODABLE, value=b"<TDSReport/>", minutes=30, place=3)),
            read(parked_import("b3f0", place=4)),
        ]
    )


def chosen(**options: object) -> list[str]:
    wanted = selection(**options, now=LATER)  # type: ignore[arg-type]  # the caller's
    return [reference for reference, _ in index().select(wanted)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["0:1", "1:1", "1:2", "2:9", "import-1:4"]),
        ({"reasons": ["invalid", "undecodable"]}, ["1:2", "2:9"]),
        ({"reasons": ["Unknown-Organization"]}, ["0:1", "1:1", "import-1:4"]),
        ({"since": "45m"}, ["1:2", "2:9"]),
        ({"since": "2026-05-02T12:20Z"}, ["1:2", "2:9"]),
        ({"since": "2026-05-02 14:20+02:00"}, ["1:2", "2:9"]),
        ({"since": "2026-05-02"}, ["0:1", "1:1", "1:2", "2:9", "import-1:4"]),
        ({"partition": 1}, ["1:1", "1:2"]),
        ({"school": OTHER}, ["1:1"]),
        ({"school": "99-70001-2222222", "reasons": ["invalid"]}, ["1:2"]),
        ({"references": ["2:9", "import-1:4"]}, ["2:9", "import-1:4"]),
    ],
    ids=str,
)
def test_conditions_hold_together(options: dict[str, object], expected: list[str]) -> None:
    assert chosen(**options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reasons": ["unknown_school"]}, "expected one of unknown_organization, unknown_assessment"),
        ({"since": "yesterday"}, "expected a time such as"),
        ({"school": "99700010000000"}, "is a district; --school expects the code of a school"),
        ({"school": "Lincoln"}, "is not a CDS code"),
        ({"references": ["7"]}, "is not a reference"),
    ],
    ids=str,
)
def test_value_that_means_nothing_is_refused_with_what_is_expected(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        chosen(**options)


def test_rejection_repeated_after_a_crash_is_listed_once() -> None:
    twice = build_index([read(rejected("0:1", place=0)), read(rejected("0:1", minutes=1, place=1))])
    [(reference, row)] = twice.select(Selection())
    assert (reference, row.offset) == ("0:1", 1)


@pytest.mark.parametrize("marker_first", [True, False])
def test_retried_result_is_left_out_wherever_its_marker_stands(marker_first: bool) -> None:
    records: list[RejectedRecord | Retried] = [read(rejected("0:1")), read(rejected("0:2"))]
    records.insert(0 if marker_first else 2, Retried(coordinates_of("0:1"), 5_000))
    found = build_index(records)
    assert [reference for reference, _ in found.select(Selection())] == ["0:2"]
    assert [reference for reference, _ in found.select(Selection(retried=True))] == ["0:1", "0:2"]


def test_result_that_is_rejected_again_after_its_retry_appears_again() -> None:
    again = rejected("0:9", headers=(("retry_of", b"0:1"),))
    found = build_index([read(rejected("0:1")), Retried(coordinates_of("0:1"), 5_000), read(again)])
    [(reference, row)] = found.select(Selection())
    assert (reference, row.retry_of) == ("0:9", "0:1")


def test_summary_names_the_missing_organization_that_holds_up_most_results() -> None:
    records = [read(rejected(f"0:{n}", value=result(OTHER if n else SCHOOL))) for n in range(4)]
    found = build_index([*records, Retried(coordinates_of("0:3"), 1), read(rejected("1:1", Reason.INVALID))])
    summary = summarize(row for _, row in found.select(replace(Selection(), retried=True)))
    assert summary.waiting == {"unknown_organization": {OTHER: 2, SCHOOL: 1}}
    assert summary.reasons == {"unknown_organization": 3, "invalid": 1}
    assert summary.retried == 1


def test_index_of_many_rejections_keeps_each_text_once() -> None:
    body = result()
    found = Index()
    for offset in range(500):
        found.add(read(rejected(f"0:{offset}", value=body[:-1] + b" " * 10_000 + b"}", place=offset)))
    details = {id(row.detail) for row in found.rows.values()}
    schools = {id(row.school) for row in found.rows.values()}
    assert len(details) == len(schools) == 1


def test_index_does_not_grow_with_the_bodies() -> None:
    body = result()
    found = Index()
    tracemalloc.start()
    for offset in range(200):
        found.add(read(rejected(f"0:{offset}", value=body[:-1] + b" " * 100_000 + b"}", place=offset)))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 200 < 2_000  # bytes a record; a body here has 100,000
