"""Which version of an exam is kept, and which exam of a student counts."""

from __future__ import annotations

from streams.scoring import LIVE, SCORED, UNDER_APPEAL, Outcome, StoredExam, counting, supersede

CELL = "2026:ELA-SUM:03"
SCHOOL = 59_10001_0000001


def scored(
    exam: bytes = b"exam-one", *, status: int, sequence: int = 1, completed: int = 0, score: int = 2431
) -> StoredExam:
    return StoredExam(exam, status, sequence, completed, LIVE | SCORED, SCHOOL, CELL, score, b"\x01")


def reset(exam: bytes = b"exam-one", *, status: int, sequence: int = 1) -> StoredExam:
    return StoredExam(exam, status, sequence)


def test_first_version_of_an_exam_is_applied() -> None:
    assert supersede([], scored(status=10)) == (Outcome.APPLIED, [scored(status=10)])


def test_rescore_with_a_later_status_date_replaces_the_exam() -> None:
    rescored = scored(status=20, score=2432)
    assert supersede([scored(status=10)], rescored) == (Outcome.APPLIED, [rescored])


def test_equal_status_dates_are_ordered_by_import_sequence() -> None:
    later = scored(status=10, sequence=2, score=2500)
    assert supersede([scored(status=10, sequence=1)], later) == (Outcome.APPLIED, [later])
    assert supersede([later], scored(status=10, sequence=1)) == (Outcome.STALE, [later])


def test_late_original_after_its_rescore_changes_nothing() -> None:
    kept = [scored(status=20, score=2432)]
    assert supersede(kept, scored(status=10)) == (Outcome.STALE, kept)


def test_events_delivered_twice_are_counted_once() -> None:
    kept = [scored(status=10)]
    assert supersede(kept, scored(status=10)) == (Outcome.DUPLICATE, kept)


def test_same_version_with_other_content_is_a_contradiction() -> None:
    kept = [scored(status=10)]
    assert supersede(kept, scored(status=10, score=2600)) == (Outcome.CONTRADICTION, kept)


def test_reset_before_create_keeps_the_exam_from_ever_appearing() -> None:
    _, exams = supersede([], reset(status=20))
    outcome, exams = supersede(exams, scored(status=10))
    assert outcome is Outcome.STALE
    assert counting(exams) is None


def test_reset_then_a_newer_create_counts_again() -> None:
    _, exams = supersede([scored(status=10)], reset(status=20))
    assert counting(exams) is None
    _, exams = supersede(exams, scored(status=30, score=2500))
    placed = counting(exams)
    assert placed is not None and placed.part.score == 2500


def test_second_opportunity_counts_until_its_reset_then_the_first_counts_again() -> None:
    first = scored(b"exam-one", status=10, completed=10, score=2400)
    second = scored(b"exam-two", status=20, completed=20, score=2500)
    _, exams = supersede([first], second)
    assert (placed := counting(exams)) is not None and placed.part.score == 2500
    _, exams = supersede(exams, reset(b"exam-two", status=30))
    assert (placed := counting(exams)) is not None and placed.part.score == 2400


def test_an_exam_without_score_does_not_hide_one_with_a_score() -> None:
    with_score = scored(b"exam-one", status=10, completed=10)
    without = StoredExam(b"exam-two", 99, 1, 99, LIVE, SCHOOL, CELL)
    placed = counting([with_score, without])
    assert placed is not None and placed.part.score == 2431


def test_a_student_with_no_scored_exam_is_one_result_without_scores() -> None:
    placed = counting([StoredExam(b"exam-one", 10, 1, 10, LIVE, SCHOOL, CELL)])
    assert placed is not None and placed.part.score is None


def test_an_appealed_exam_keeps_its_score_and_says_so() -> None:
    placed = counting(
        [StoredExam(b"exam-one", 10, 1, 10, LIVE | SCORED | UNDER_APPEAL, SCHOOL, CELL, 2431, b"\x01")]
    )
    assert placed is not None and placed.part.under_appeal and placed.part.score == 2431
