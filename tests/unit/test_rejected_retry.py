"""Which rejected results are produced again, and as what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rejected_results import CE, KEY, NOON, SCHOOL, marker_of, parked_import, read, rejected, result

from cli.rejected.index import build_index
from cli.rejected.judging import student_key_secret, unproducible, worker_judge
from cli.rejected.records import RejectedRecord, Retried
from cli.rejected.retrying import Plan, make_plan, retry_records
from cli.rejected.selection import Selection
from cli.state import StateFolder
from schemas.closings import Change, fold
from schemas.errors import InvalidInput
from schemas.events import ClosingEntry
from schemas.rejections import Reason, coordinates_of
from streams.topic_reading import StoredRecord

SECRET = b"sixteen bytes or more of a secret"
PARKED = Selection(reasons=frozenset({"unknown_organization", "unknown_assessment"}))


def plan(
    *records: RejectedRecord | Retried,
    wanted: Selection = PARKED,
    schools: tuple[str, ...] = (),
    secret: bytes = SECRET,
) -> Plan:
    return make_plan(build_index(records, worker_judge(schools.__contains__, secret, "current")), wanted)


def test_result_whose_school_has_come_is_retried_and_the_others_still_wait() -> None:
    made = plan(
        read(rejected("0:1")), read(rejected("0:2", value=result("99700013333333"))), schools=(SCHOOL,)
    )
    assert list(made.chosen) == ["0:1"]
    [(blocked, count)] = made.waiting.items()
    assert (blocked.reason, blocked.waits_for, count) == ("unknown_organization", "99700013333333", 1)


def test_result_of_an_assessment_that_is_still_unknown_waits_for_it() -> None:
    record = read(rejected("0:1", Reason.UNKNOWN_ASSESSMENT, value=result(assessment_id="NEW-TEST")))
    made = plan(record, schools=(SCHOOL,))
    assert [blocked.waits_for for blocked in made.waiting] == ["NEW-TEST"]


def test_result_of_a_closed_test_waits_until_it_is_reopened() -> None:
    changes = [
        Change(ClosingEntry(school_year=2026, test="ELA-SUM", change="closed"), 0),
        Change(ClosingEntry(school_year=2026, test="ELA-SUM", change="reopened"), 60_000),
    ]
    detail = "2026/ELA-SUM is closed since 1970-01-01T00:00:10.000Z; reopen it and retry"
    index_of = [
        build_index(
            [read(rejected("0:1", Reason.CLOSED, detail=detail)), read(rejected("0:2"))],
            worker_judge({SCHOOL}.__contains__, SECRET, "current", fold(changes), now_ms),
        )
        for now_ms in (20_000, 90_000)
    ]
    wanted = Selection(reasons=frozenset({"closed"}), waits_for="2026/ELA-SUM")
    still, by_now = (make_plan(index, wanted) for index in index_of)
    assert [(blocked.reason, blocked.waits_for) for blocked in still.waiting] == [("closed", "2026/ELA-SUM")]
    assert list(by_now.chosen) == ["0:1"], "and nothing that waits for something else"
    assert not make_plan(index_of[1], Selection(waits_for="2025/ELA-SUM")).chosen
    assert list(make_plan(index_of[0], PARKED).waiting), "a school that has come does not open a test"


def test_contradiction_is_never_retried_unless_forced() -> None:
    record = read(rejected("0:1", Reason.CONTRADICTION))
    wanted = Selection(references=frozenset({"0:1"}))
    assert not plan(record, wanted=wanted, schools=(SCHOOL,)).chosen
    forced = make_plan(build_index([record], unproducible), wanted, forced=True)
    assert list(forced.chosen) == ["0:1"]


def test_results_under_a_wrong_key_are_retried_once_the_workers_secret_is_mended() -> None:
    record = read(rejected("0:1", Reason.WRONG_KEY))
    wanted = Selection(reasons=frozenset({"wrong_key"}))
    assert list(plan(record, wanted=wanted, schools=(SCHOOL,)).chosen) == ["0:1"]
    other = plan(record, wanted=wanted, schools=(SCHOOL,), secret=b"another secret of the workers")
    assert [blocked.reason for blocked in other.waiting] == ["wrong_key"]


@pytest.mark.parametrize(
    "record",
    [
        read(rejected("0:1", key=None)),
        read(rejected("0:1", value=b"x" * 1_000_000)),
    ],
    ids=["no key", "too large"],
)
def test_record_that_is_not_whole_is_never_produced_even_if_forced(record: RejectedRecord) -> None:
    made = make_plan(build_index([record], unproducible), PARKED, forced=True)
    assert not made.chosen and made.waiting.total() == 1


def test_parked_import_goes_together_with_the_tombstone_ahead_of_it_or_not_at_all() -> None:
    reset = result(status="reset", student_id=None, school=None, grade=None, scale_score=None, level=None)
    records = [
        read(parked_import("b3f0.1", value=reset, place=0)),
        read(parked_import("b3f0", place=1)),
    ]
    assert not plan(*records).chosen
    assert plan(*records).waiting.total() == 2
    assert set(plan(*records, schools=(SCHOOL,)).chosen) == {"import-1:0", "import-1:1"}
    # The tombstone names no school, and still belongs to the import that is asked for.
    for wanted in (
        Selection(school=SCHOOL),
        Selection(references=frozenset({"import-1:1"})),
        Selection(references=frozenset({"import-1:0"})),
    ):
        assert set(plan(*records, wanted=wanted, schools=(SCHOOL,)).chosen) == {"import-1:0", "import-1:1"}


def test_result_that_was_retried_is_not_retried_again_but_named() -> None:
    records: list[RejectedRecord | Retried] = [read(rejected("0:1")), Retried(coordinates_of("0:1"), 60_000)]
    made = plan(*records, wanted=Selection(references=frozenset({"0:1"})), schools=(SCHOOL,))
    assert not made.chosen and made.already == [("0:1", 60_000)]
    with pytest.raises(InvalidInput, match=r"no rejected record is called 0:2, 5:5"):
        plan(*records, wanted=Selection(references=frozenset({"0:1", "0:2", "5:5"})))


def test_retry_is_the_original_with_a_word_of_where_it_comes_from_and_a_marker() -> None:
    record = read(rejected("3:1042", headers=(*CE, ("retry_of", b"3:7"))))
    again, marker = retry_records(record, NOON)
    assert (again.topic, again.key, again.value) == ("exam-results.v1", KEY, result())
    assert again.headers == (*CE, ("retry_of", b"3:1042"))
    assert (marker.topic, marker.key, marker.value) == ("exam-results.rejected.v1", KEY, None)
    assert marker.headers == (
        ("rejected_topic", b"exam-results.v1"),
        ("rejected_partition", b"3"),
        ("rejected_offset", b"1042"),
        ("rejected_retried", b"2026-05-02T12:00:00.000+00:00"),
    )


@pytest.mark.parametrize("build", [lambda: rejected("3:1042"), lambda: parked_import("b3f0", place=8)])
def test_marker_means_the_very_record_that_was_retried(build: Callable[[], StoredRecord]) -> None:
    record = read(build())
    _, marker = retry_records(record, NOON)
    stored = StoredRecord(marker.key, marker.value, 99, 0, 0, marker.headers)
    assert marker_of(stored) == Retried(record.origin, int(NOON.timestamp() * 1000))


def test_without_the_workers_secret_nobody_guesses_what_would_be_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SCORES_STUDENT_KEY_SECRET is not set"):
        student_key_secret(StateFolder(tmp_path), {})
    assert not list(tmp_path.iterdir())  # no new secret is made in its stead
    assert student_key_secret(StateFolder(tmp_path), {"SCORES_STUDENT_KEY_SECRET": "s" * 16}) == b"s" * 16
