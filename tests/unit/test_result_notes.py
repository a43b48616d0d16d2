"""Which changed results are told to districts: rescored ones, and those that count no more. Nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.assessments import load_registry
from schemas.changes import ResultNote, decode_notes, encode_notes
from schemas.events import ExamResult, encode_event
from schemas.identifiers import StudentId
from schemas.pseudonyms import Pseudonymizer
from streams.engine import decide
from streams.reading import Incoming, Reader
from streams.rows import Row

SCHOOL, OTHER_SCHOOL = "19990010000101", "19990020000201"
PSEUDONYMS = Pseudonymizer(b"sixteen bytes or more of a secret")
READER = Reader(load_registry(), PSEUDONYMS, {SCHOOL, OTHER_SCHOOL}.__contains__)
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
NATURAL_ID = load_registry().natural_id("ELA-SUM", "03", 2026)  # type: ignore[arg-type]  # a grade


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int = 0


class Student:
    """One student's stored exams for one assessment and year, to which batches are applied."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self._offset = 0

    def event(self, minute: int, **changes: Any) -> Incoming:
        """The exam's state at some minute, read from a record."""
        event = ExamResult(
            assessment_id=NATURAL_ID,
            opportunity_id="1",
            school_year=2026,
            status="scored",
            status_date=NOON + timedelta(minutes=minute),
            sequence=1,
            student_id=StudentId("9990000001"),
            school=SCHOOL,
            grade="03",
            completed=NOON,
            scale_score=2431,
            level=2,
        )
        event = msgspec.structs.replace(event, **changes)
        key = PSEUDONYMS.student_key(StudentId("9990000001")).encode()
        read = READER.read(Record(key, encode_event(event), self._offset))
        self._offset += 1
        assert isinstance(read, Incoming), read
        return read

    def apply(self, *events: Incoming) -> list[ResultNote]:
        """One batch; what is noted."""
        decision = decide(events, self.rows)
        self.rows |= decision.rows
        return decision.notes


@pytest.fixture
def student() -> Student:
    """Scored at noon, stored."""
    made = Student()
    assert made.apply(made.event(0)) == []
    return made


def test_first_result_is_no_news_however_often_it_changes_within_its_batch() -> None:
    student = Student()
    assert student.apply(student.event(0), student.event(1, scale_score=2500, level=3)) == []


def test_rescored_exam_is_noted_with_its_identifiers_and_the_offset_of_its_event(student: Student) -> None:
    assert student.apply(student.event(1, status="handscoring", scale_score=2500, level=3)) == [
        ResultNote(1, "rescored", SCHOOL, NATURAL_ID, "1", 2026, "2026-04-01T12:01:00Z")  # type: ignore[arg-type]
    ]


def test_of_several_rescores_in_a_batch_the_last_is_noted(student: Student) -> None:
    [note] = student.apply(
        student.event(1, scale_score=2500, level=3), student.event(2, scale_score=2510, level=3)
    )
    assert (note.offset, note.status_date) == (2, "2026-04-01T12:02:00Z")


def test_rescore_that_is_taken_back_in_the_same_batch_is_no_news(student: Student) -> None:
    assert student.apply(student.event(1, scale_score=2500, level=3), student.event(2)) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the same again"),
        pytest.param({"status": "appeal"}, id="an appeal"),
        pytest.param({"school": OTHER_SCHOOL}, id="the student has moved"),
    ],
)
def test_event_that_leaves_score_and_levels_as_they_are_is_no_news(
    student: Student, changes: dict[str, Any]
) -> None:
    assert student.apply(student.event(1, **changes)) == []


def test_student_who_moved_and_was_rescored_is_noted_at_the_school_where_the_result_counts_now(
    student: Student,
) -> None:
    [note] = student.apply(student.event(1, school=OTHER_SCHOOL, scale_score=2500, level=3))
    assert (note.kind, note.school) == ("rescored", OTHER_SCHOOL)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status": "invalidated"}, id="invalidated"),
        pytest.param({"validity": "invalid"}, id="not valid"),
        pytest.param({"scale_score": None, "level": None}, id="score withdrawn"),
        pytest.param({"status": "reset", "scale_score": None, "level": None}, id="reset"),
        pytest.param({"status": "invalidated", "school": OTHER_SCHOOL}, id="and moved"),
    ],
)
def test_result_that_counts_no_more_is_noted_at_the_school_where_it_did(
    student: Student, changes: dict[str, Any]
) -> None:
    [note] = student.apply(student.event(1, **changes))
    assert (note.kind, note.school, note.opportunity_id) == ("invalidated", SCHOOL, "1")


def test_result_that_counted_already_no_more_is_not_noted_again(student: Student) -> None:
    student.apply(student.event(1, status="invalidated"))
    assert student.apply(student.event(2, status="reset", scale_score=None, level=None)) == []


def test_result_that_counts_again_after_it_was_invalidated_is_no_rescore(student: Student) -> None:
    student.apply(student.event(1, status="invalidated"))
    assert student.apply(student.event(2)) == []


def test_where_another_exam_counts_instead_nothing_is_noted(student: Student) -> None:
    second = {"opportunity_id": "2", "completed": NOON + timedelta(days=1), "scale_score": 2500, "level": 3}
    assert student.apply(student.event(1, **second)) == []
    assert student.apply(student.event(2, **{**second, "status": "invalidated"})) == []


def test_exam_that_does_not_count_may_change_as_it_likes(student: Student) -> None:
    second = {"opportunity_id": "2", "completed": NOON - timedelta(days=1), "scale_score": 2500, "level": 3}
    assert student.apply(student.event(1, **second)) == []
    assert student.apply(student.event(2, **{**second, "scale_score": 2510})) == []
    [note] = student.apply(student.event(3, scale_score=2440, level=2))
    assert note.opportunity_id == "1"


def test_note_names_neither_student_nor_score(student: Student) -> None:
    [note] = student.apply(student.event(1, scale_score=2555, level=3))
    packed = encode_notes([note])
    key = PSEUDONYMS.student_key(StudentId("9990000001"))
    for secret in (b"9990000001", key.encode(), bytes.fromhex(key), b"2555", msgspec.msgpack.encode(2555)):
        assert secret not in packed
    assert decode_notes(packed) == [note]


STATES: Sequence[dict[str, Any]] = (
    {},
    {"scale_score": 2500, "level": 3},
    {"status": "invalidated"},
    {"status": "appeal"},
    {"status": "reset", "scale_score": None, "level": None},
    {"school": OTHER_SCHOOL},
)


@settings(max_examples=200, deadline=None)
@given(
    history=st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from("12")), min_size=1, max_size=12),
    seed=st.integers(0, 1_000),
)
def test_whatever_befalls_a_student_the_notes_are_what_the_results_before_and_after_say(
    history: list[tuple[dict[str, Any], str]], seed: int
) -> None:
    student, random = Student(), Random(seed)
    events = [
        student.event(minute, opportunity_id=opportunity, **state)
        for minute, (state, opportunity) in enumerate(history)
    ]
    random.shuffle(events)
    latest: dict[str, tuple[int, dict[str, Any]]] = {}
    for start in range(0, len(events), 3):
        batch = events[start : start + 3]
        stored, before = bool(student.rows), counted(latest)
        for incoming in batch:
            minute = incoming.record.offset
            state, opportunity = history[minute]
            if opportunity not in latest or latest[opportunity][0] < minute:
                latest[opportunity] = (minute, state)
        after = counted(latest)
        told = [(note.kind, note.opportunity_id) for note in student.apply(*batch)]
        assert told == (expected(before, after) if stored else [])


def counted(latest: dict[str, tuple[int, dict[str, Any]]]) -> tuple[str, int | None] | None:
    """Which of the opportunities counts, and its score: of those with a score, the one of the latest version."""
    scored = {
        opportunity: (minute, state.get("scale_score", 2431))
        for opportunity, (minute, state) in latest.items()
        if state.get("status") not in {"invalidated", "reset"}
    }
    if not scored:
        return None
    opportunity = max(scored, key=lambda one: scored[one][0])
    return opportunity, scored[opportunity][1]


def expected(
    before: tuple[str, int | None] | None, after: tuple[str, int | None] | None
) -> list[tuple[str, str]]:
    if before is None or before == after:
        return []
    if after is None:
        return [("invalidated", before[0])]
    return [("rescored", before[0])] if before[0] == after[0] else []
