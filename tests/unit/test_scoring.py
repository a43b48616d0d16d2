"""Which version of an exam is kept, and which exam of a student counts."""

from __future__ import annotations

import pytest

from schemas.aggregates import Contribution, contribution, levels_code
from schemas.errors import InvalidInput
from schemas.identifiers import Grade
from streams.rows import LIVE, TOMBSTONE, Row, pack_live, pack_tombstone, place
from streams.scoring import Outcome, counting, supersede

SCHOOL = "59100010000001"
PLACE = place(SCHOOL, Grade("03"))


def part(score: int | None, *, under_appeal: bool = False) -> Contribution:
    return contribution(score, levels_code([2]), under_appeal=under_appeal)


def scored(
    exam: bytes = b"exam-one", *, status: int, sequence: int = 1, completed: int = 0, score: int | None = 2431
) -> Row:
    return pack_live(LIVE, exam, status, sequence, completed, PLACE, part(score))


def reset(exam: bytes = b"exam-one", *, status: int, sequence: int = 1) -> Row:
    return pack_tombstone(TOMBSTONE, exam, status, sequence)


def test_first_version_of_an_exam_is_applied() -> None:
    assert supersede(b"", scored(status=10)) == (Outcome.APPLIED, scored(status=10))


def test_rescore_with_a_later_status_date_replaces_the_exam() -> None:
    rescored = scored(status=20, score=2432)
    assert supersede(scored(status=10), rescored) == (Outcome.APPLIED, rescored)


def test_rescore_of_one_of_several_exams_leaves_the_others() -> None:
    first, second, third = (scored(exam, status=10) for exam in (b"exam-one", b"exam-two", b"exam-3rd"))
    rescored = scored(b"exam-two", status=20, score=2500)
    assert supersede(first + second + third, rescored) == (Outcome.APPLIED, first + rescored + third)


def test_equal_status_dates_are_ordered_by_import_sequence() -> None:
    later = scored(status=10, sequence=2, score=2500)
    assert supersede(scored(status=10, sequence=1), later) == (Outcome.APPLIED, later)
    assert supersede(later, scored(status=10, sequence=1)) == (Outcome.STALE, later)


def test_status_dates_before_1970_come_before_later_ones() -> None:
    kept = scored(status=-10)
    assert supersede(kept, scored(status=-20)) == (Outcome.STALE, kept)
    assert supersede(kept, scored(status=5))[0] is Outcome.APPLIED


def test_late_original_after_its_rescore_changes_nothing() -> None:
    kept = scored(status=20, score=2432)
    assert supersede(kept, scored(status=10)) == (Outcome.STALE, kept)


def test_events_delivered_twice_are_counted_once() -> None:
    kept = scored(status=10)
    assert supersede(kept, scored(status=10)) == (Outcome.DUPLICATE, kept)


def test_same_version_with_other_content_is_a_contradiction() -> None:
    kept = scored(status=10)
    assert supersede(kept, scored(status=10, score=2600)) == (Outcome.CONTRADICTION, kept)


def test_reset_before_create_keeps_the_exam_from_ever_appearing() -> None:
    _, row = supersede(b"", reset(status=20))
    outcome, row = supersede(row, scored(status=10))
    assert outcome is Outcome.STALE
    assert counting(row) is None


def test_reset_then_a_newer_create_counts_again() -> None:
    _, row = supersede(scored(status=10), reset(status=20))
    assert counting(row) is None
    _, row = supersede(row, scored(status=30, score=2500))
    assert counting(row) == (PLACE, part(2500))


def test_second_opportunity_counts_until_its_reset_then_the_first_counts_again() -> None:
    first = scored(b"exam-one", status=10, completed=10, score=2400)
    second = scored(b"exam-two", status=20, completed=20, score=2500)
    _, row = supersede(first, second)
    assert counting(row) == (PLACE, part(2500))
    _, row = supersede(row, reset(b"exam-two", status=30))
    assert counting(row) == (PLACE, part(2400))


def test_an_exam_without_score_does_not_hide_one_with_a_score() -> None:
    without = scored(b"exam-two", status=99, completed=99, score=None)
    assert counting(scored(status=10, completed=10) + without) == (PLACE, part(2431))


def test_a_student_with_no_scored_exam_is_one_result_without_scores() -> None:
    assert counting(scored(status=10, score=None)) == (PLACE, part(None))


def test_row_of_another_layout_asks_for_a_rebuild() -> None:
    with pytest.raises(InvalidInput, match=r"0x93; expected 0x10 or 0x11\. Rebuild the tables"):
        supersede(b"\x93" + bytes(50), scored(status=10))
