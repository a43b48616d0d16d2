"""What befalls some exams, as events in the order in which they are produced, each beside the plain truth about it.

The truth is written down where the event is made, not read back from its bytes: nothing of the reader or the engine is
used, so that neither can agree with itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Any, Final, NamedTuple

from schemas.events import ClaimScore, ExamResult, encode_event
from schemas.keys import Attribution
from schemas.rejections import Reason
from simulation.cast import LATE_SCHOOL, NO_SCHOOL, SCHOOLS, YEAR, Student, Test, cast

_START: Final = datetime(YEAR, 4, 1, 12, tzinfo=UTC)
_START_US: Final = int(_START.timestamp()) * 1_000_000
_HOUR_US: Final = 3_600_000_000
_FIRST_COUNT: Final = 3  # of a cell's counts, the first of a level; see schemas.aggregates


class Fact(NamedTuple):
    """What one event says, and whether it can be applied at all."""

    student: str
    exam: bytes
    unit: str  # "2026:ELA-SUM:03": of a student's exams in it, one counts
    version: tuple[int, int]
    live: bool = False
    scored: bool = False
    appeal: bool = False
    completed_us: int = 0
    school: str = ""
    cell: str = ""
    score: int = 0
    slots: tuple[int, ...] = ()  # positions among a cell's counts
    reason: Reason | None = None  # why it can never be applied
    late: bool = False  # the directory may not have its school yet


class Event(NamedTuple):
    """An event to produce: key, bytes and partition, and its truth."""

    kind: str
    key: bytes
    value: bytes
    partition: int
    fact: Fact


@dataclass(slots=True)
class _Exam:
    student: Student
    test: Test
    opportunity: str
    hours: int  # status date of the newest version
    completed_hours: int
    fields: dict[str, Any] = field(default_factory=dict)  # of the newest version
    sequence: int = 0


class History:
    """Plans a schedule's events; ``events`` is a function of the generator's state."""

    def __init__(self, rng: Random, partitions: int, attribution: Attribution) -> None:
        self._rng = rng
        self._partitions = partitions
        self._attribution = attribution
        self._sequence = 0
        self._planned: list[Event] = []
        self._exams: list[_Exam] = []
        self._students = rng.sample(cast().students, rng.randint(3, 8))

    def events(self, at_least: int) -> list[Event]:
        """At least so many events, out of order here and there."""
        rng = self._rng
        kinds = list(_KINDS)
        weights = list(_KINDS.values())
        while len(self._planned) < at_least:
            if not self._exams or rng.random() < 0.3:
                self._new_exam()
            else:
                [kind] = rng.choices(kinds, weights)
                getattr(self, f"_{kind}")(rng.choice(self._exams))
        disorder = rng.choice((0.0, 0.1, 0.5))
        order = [
            (index + (rng.random() * 12 if rng.random() < disorder else 0), index)
            for index in range(len(self._planned))
        ]
        return [self._planned[index] for _, index in sorted(order)]

    # What can happen to an exam.

    def _new_exam(self, exam: _Exam | None = None) -> None:
        rng = self._rng
        if exam is None:
            hours = rng.randrange(4)
            exam = _Exam(
                rng.choice(self._students),
                rng.choice(cast().tests),
                str(100_150 + rng.randrange(2)),
                hours,
                hours,
            )
            if any(
                (known.student, known.test, known.opportunity) == (exam.student, exam.test, exam.opportunity)
                for known in self._exams
            ):
                return
        self._exams.append(exam)
        exam.fields = {
            "status": rng.choice(("scored", "completed", "reported")),
            "school": rng.choice(SCHOOLS),
            **self._scores(exam.test),
        }
        if rng.random() < 0.1:
            # The reset overtakes what it resets; sometimes a newer state follows.
            first = dict(exam.fields)
            hours = exam.hours
            self._reset(exam)
            self._emit("late original", replace(exam, fields=first, hours=hours, sequence=0))
            if rng.random() < 0.5:
                self._returned(exam)
            return
        self._emit("scored", self._next(exam, later=0))

    def _rescored(self, exam: _Exam) -> None:
        exam.fields |= {"status": "scored", **self._scores(exam.test)}
        self._emit("rescored", self._next(exam))

    def _rescored_same_date(self, exam: _Exam) -> None:
        exam.fields |= self._scores(exam.test)
        self._emit("rescored, same date", self._next(exam, later=0))

    def _rescored_across_cut(self, exam: _Exam) -> None:
        cut = self._rng.randrange(len(exam.test.cuts))
        below = self._rng.random() < 0.5
        scores = {"scale_score": exam.test.cuts[cut] - below, "level": cut + 2 - below}
        exam.fields |= {"status": "scored", **scores}
        self._emit("rescored across a cut", self._next(exam))

    def _appealed(self, exam: _Exam) -> None:
        exam.fields |= {"status": "appeal"}
        self._emit("appealed", self._next(exam))

    def _invalidated(self, exam: _Exam) -> None:
        how: tuple[dict[str, str], ...] = (
            {"status": "invalidated"},
            {"validity": "invalid"},
            {"condition": "IN"},
            {"attempted": "N"},
            {"include_indicator": "R"},
        )
        changed = replace(exam, fields=exam.fields | self._rng.choice(how))
        self._emit("invalidated", self._next(exam, as_sent=changed))

    def _withdrawn(self, exam: _Exam) -> None:
        exam.fields |= {"status": "pending", "scale_score": None, "level": None, "claims": ()}
        self._emit("withdrawn", self._next(exam))

    def _reset(self, exam: _Exam) -> None:
        self._emit("reset", self._next(exam, as_sent=replace(exam, fields={"status": "reset"})))

    def _returned(self, exam: _Exam) -> None:
        exam.fields |= {"status": "scored", "school": self._rng.choice(SCHOOLS), **self._scores(exam.test)}
        self._emit("returned", self._next(exam))

    def _moved(self, exam: _Exam) -> None:
        exam.fields |= {"tested_school": exam.fields["school"], "school": self._rng.choice(SCHOOLS)}
        if len(exam.test.grades) > 1:
            exam.fields["enrolled_grade"] = self._rng.choice(exam.test.grades)
        self._emit("moved", self._next(exam))

    def _stale(self, exam: _Exam) -> None:
        older = replace(exam, hours=exam.hours - 1, fields=exam.fields | self._scores(exam.test))
        self._sequence += 1
        older.sequence = self._sequence
        self._emit("stale", older)

    def _duplicate(self, exam: _Exam) -> None:
        known = self._rng.choice(self._planned)
        self._planned.append(known._replace(kind=f"{known.kind}, again"))

    def _contradiction(self, exam: _Exam) -> None:
        self._emit("contradiction", replace(exam, fields=exam.fields | self._scores(exam.test)))

    def _second(self, exam: _Exam) -> None:
        """Another opportunity; some are completed at the same moment, and then the version decides."""
        rng = self._rng
        later = rng.randrange(3)
        self._new_exam(
            replace(
                exam,
                opportunity=f"{exam.opportunity}{len(self._exams)}",
                hours=exam.hours + later,
                completed_hours=exam.completed_hours + later,
                fields={},
                sequence=0,
            )
        )

    def _corrected(self, exam: _Exam) -> None:
        """The identifier was another student's: a tombstone under the old key, the exam under the new."""
        fields = dict(exam.fields)
        self._reset(exam)
        exam.student, exam.fields = self._rng.choice(self._students), fields
        self._emit("corrected student", self._next(exam))

    def _unknown_school(self, exam: _Exam) -> None:
        sent = replace(exam, fields=exam.fields | {"school": NO_SCHOOL, "tested_school": None})
        self._emit("unknown school", self._next(exam, as_sent=sent))

    def _late_school(self, exam: _Exam) -> None:
        exam.fields |= {"school": LATE_SCHOOL, "tested_school": None}
        self._emit("late school", self._next(exam))

    def _unreadable(self, exam: _Exam) -> None:
        rng = self._rng
        good = self._event("unreadable", exam)
        no_exam = good.fact._replace(live=False)
        damaged = (
            (good.key, b"<TDSReport/>", Reason.UNDECODABLE),
            (good.key, good.value[: len(good.value) // 2], Reason.UNDECODABLE),
            (good.key, b'{"status": "rescored"}', Reason.INVALID),
            (b"0" * 24, good.value, Reason.WRONG_KEY),
        )
        key, value, reason = rng.choice(damaged)
        fact = no_exam._replace(reason=reason)
        if key != good.key and b'"student_id"' not in value:
            return  # a reset may do without, and then its key is right by definition
        self._planned.append(Event(f"unreadable: {reason}", key, value, good.partition, fact))

    # From an exam's newest version to an event.

    def _next(self, exam: _Exam, later: int = 1, as_sent: _Exam | None = None) -> _Exam:
        """The version after the newest; ``as_sent`` says something else than the exam will remember."""
        self._sequence += 1
        exam.hours += later
        exam.sequence = self._sequence
        return exam if as_sent is None else replace(as_sent, hours=exam.hours, sequence=exam.sequence)

    def _scores(self, test: Test) -> dict[str, Any]:
        rng = self._rng
        level = rng.randrange(len(test.cuts) + 1)
        bounds = (test.lowest, *test.cuts, test.highest)
        return {
            "scale_score": rng.choice((bounds[level], bounds[level] + 1)),
            "level": level + 1,
            "claims": tuple(
                ClaimScore(code, rng.randint(1, 3)) for code in test.claims if rng.random() < 0.7
            ),
        }

    def _emit(self, kind: str, exam: _Exam) -> None:
        self._planned.append(self._event(kind, exam))

    def _event(self, kind: str, exam: _Exam) -> Event:
        student, test, fields = exam.student, exam.test, exam.fields
        reset = fields["status"] == "reset"
        event = ExamResult(
            assessment_id=test.assessment_id,
            opportunity_id=exam.opportunity,
            school_year=YEAR,
            status_date=_START + timedelta(hours=exam.hours),
            sequence=exam.sequence,
            student_id=None if reset and self._rng.random() < 0.5 else student.identifier,
            grade=None if reset else test.grades[0],
            completed=None if reset else _START + timedelta(hours=exam.completed_hours),
            **fields,
        )
        partition = int(student.key[:8], 16) % self._partitions
        return Event(kind, student.key.encode(), encode_event(event), partition, self._fact(exam, event))

    def _fact(self, exam: _Exam, event: ExamResult) -> Fact:
        test, student = exam.test, exam.student.key
        digest = blake2b(f"{test.assessment_id}\0{exam.opportunity}".encode(), digest_size=8).digest()
        version = (_START_US + exam.hours * _HOUR_US, exam.sequence)
        fact = Fact(student, digest, f"{YEAR}:{test.code}:{test.grades[0]}", version)
        if event.status == "reset":
            return fact
        school = event.school or ""
        if self._attribution == "tested" and event.tested_school:
            school = event.tested_school
        fact = fact._replace(
            live=True,
            completed_us=_START_US + exam.completed_hours * _HOUR_US,
            school=school,
            cell=f"{YEAR}:{test.code}:{event.enrolled_grade or test.grades[0]}",
            reason=Reason.UNKNOWN_ORGANIZATION if school == NO_SCHOOL else None,
            late=school == LATE_SCHOOL,
        )
        level, score = event.level, event.scale_score
        counts = event.status != "invalidated" and event.validity == "valid" and event.condition == "Valid"
        if (
            not counts
            or event.attempted == "N"
            or event.include_indicator == "R"
            or level is None
            or score is None
        ):
            return fact
        claims = {claim.code: claim.level or 0 for claim in event.claims}
        measures = enumerate((None, *test.claims))
        slots = [
            _FIRST_COUNT + 4 * number + (level if code is None else claims[code]) - 1
            for number, code in measures
            if code is None or code in claims
        ]
        return fact._replace(scored=True, appeal=event.status == "appeal", score=score, slots=tuple(slots))


_KINDS: Final = {
    "rescored": 5,
    "rescored_same_date": 3,
    "rescored_across_cut": 4,
    "appealed": 2,
    "invalidated": 3,
    "withdrawn": 1,
    "reset": 4,
    "returned": 3,
    "moved": 4,
    "stale": 2,
    "duplicate": 4,
    "contradiction": 1,
    "second": 3,
    "corrected": 2,
    "unknown_school": 1,
    "late_school": 2,
    "unreadable": 1,
}
