"""What a simulated season consists of: sizes, and the shares of what befalls its exams."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.errors import InvalidInput
from schemas.events import ExamResult
from schemas.identifiers import StudentKey

_STUDENTS_A_SCHOOL: Final = 400
_RESULTS_A_STUDENT: Final = (
    1.25  # tests a student takes are about 2; a season stopped early has taken some of them
)


class Kind(StrEnum):
    """Why the simulator sent an event."""

    SCORED = "scored"  # an exam's first state, with its scores
    RESCORED = "rescored"
    RESET = "reset"
    RETURNED = "returned"  # the exam of a reset, with a later version
    MOVED = "moved"  # the exam's next state names the student's new school
    APPEALED = "appealed"
    INVALIDATED = "invalidated"
    WITHDRAWN = "withdrawn"  # the score is taken back, the exam stays
    UNSCORED = "unscored"  # paused, pending or submitted: no score yet
    NOT_COUNTED = "not counted"  # has a score that does not count: partial, not attempted, ...
    SECOND = "second opportunity"
    CORRECTED = "corrected student"
    STRAY = "unknown school"
    DUPLICATE = "duplicate"  # an earlier event again, byte for byte


class SimulatedRecord(NamedTuple):
    """One event to produce, under its record key."""

    key: StudentKey
    event: ExamResult
    kind: Kind


@dataclass(frozen=True, slots=True)
class SeasonOptions:
    """Sizes and shares; shares of exams where nothing else is said, and at most one thing befalls an exam.

    Raises:
        InvalidInput: a size or share is out of range; every fault is named.
    """

    schools: int = 40
    students: int | None = None  # default: enough for the results, or about 400 a school
    results: int | None = None  # exams taken; the season ends after so many, follow-ups included
    seed: int = 1
    school_year: int = 2026
    rescores: float = 0.10
    resets: float = 0.02  # half of them are followed by a newer state of the exam
    moves: float = 0.02
    oddities: float = (
        0.03  # appeals, invalidations, second opportunities, withdrawn scores, late scoring, not counted
    )
    corrections: float = 0.0  # of the student's identifier
    strays: float = 0.0  # events that name a school which the directory does not have
    duplicates: float = 0.03  # share of events sent again
    disorder: float = 0.05  # share of events delivered late, often after a later version
    window: int = 2_000  # how many results long an event or a duplicate is late at most

    def __post_init__(self) -> None:
        problems = [
            f"--{name} is {value:g}; expected a share from 0 to 1"
            for name, value in [*self.befalling.items(), *self._of_events().items()]
            if not 0 <= value <= 1
        ]
        if not problems and sum(self.befalling.values()) > 1:
            problems.append(f"{', '.join(f'--{name}' for name in self.befalling)} add up to more than 1")
        for name, number in (
            ("schools", self.schools),
            ("students", self.students),
            ("results", self.results),
            ("window", self.window),
        ):
            if number is not None and number < 1:
                problems.append(f"--{name} is {number}; expected at least 1")
        if problems:
            raise InvalidInput("\n".join(problems))

    @property
    def befalling(self) -> dict[str, float]:
        """Share of exams by what befalls them after (or instead of) being scored."""
        return {
            "rescores": self.rescores,
            "resets": self.resets,
            "moves": self.moves,
            "oddities": self.oddities,
            "corrections": self.corrections,
            "strays": self.strays,
        }

    @property
    def enrolled(self) -> int:
        """How many students the county has."""
        if self.students is not None:
            return self.students
        if self.results is not None:
            return max(1, int(self.results / _RESULTS_A_STUDENT))
        return self.schools * _STUDENTS_A_SCHOOL

    def _of_events(self) -> dict[str, float]:
        return {"duplicates": self.duplicates, "disorder": self.disorder}
