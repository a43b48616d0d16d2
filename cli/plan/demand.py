"""What a deployment is for, and what comes of it in a school year."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cli.plan.measured import (
    RESCORES,
    SEASON_RESULTS,
    SEASON_SCHOOLS,
    STATE_EXAMS_AN_HOUR,
    STATE_STUDENTS,
)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a deployment is for.

    Attributes:
        students: tested in a school year.
        viewers: open streams at the busiest moment.
        events_per_second: at the busiest moment; None: the state's own peak, by the number of students.
        years: school years that are kept.
        copies: of each record in Kafka.
    """

    students: int
    viewers: int
    events_per_second: float | None = None
    years: int = 1
    copies: int = 3

    @property
    def events(self) -> float:
        """Events a second at the busiest moment."""
        if self.events_per_second is not None:
            return self.events_per_second
        return STATE_EXAMS_AN_HOUR.value / 3_600 * self.students / STATE_STUDENTS

    @property
    def results(self) -> int:
        """Live results of a school year."""
        return ceil(self.students * SEASON_RESULTS.value / STATE_STUDENTS)

    @property
    def schools(self) -> int:
        """Schools that so many students go to."""
        return max(1, ceil(self.students * SEASON_SCHOOLS.value / STATE_STUDENTS))

    @property
    def records(self) -> int:
        """Results and rescores of a school year."""
        return ceil(self.results * (1 + RESCORES.value))
