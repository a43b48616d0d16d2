"""What befalls an exam: rescores, resets, moves, appeals and the rest, as versions after its first state.

A history is planned at once, when the exam is taken: each version with its status date, its sequence and how many
results later it is sent. Sending out of order is the season's business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from cli.simulator.county import School
from cli.simulator.options import Kind, SeasonOptions, SimulatedRecord
from cli.simulator.outcomes import QUANTILES
from cli.simulator.population import Population
from cli.simulator.sittings import Sitting
from schemas.events import ExamResult, Status
from schemas.identifiers import GRADES, STATE, Grade, OrganizationId, StudentId, StudentKey, district_of

_SAME_DATE: Final = 0.2  # of rescores: equal status date, only the sequence is higher
_RESCORED_TWICE: Final = 0.1
_RESCORE_SPREAD: Final = 40  # quantiles of 512; a rescore seldom changes much
_WITHIN_DISTRICT: Final = 0.5  # of moves
_UNKNOWN_SCHOOL: Final = OrganizationId("60000010000001")  # in no directory
_NO_SCORES: Final[dict[str, Any]] = {
    "scale_score": None,
    "scale_score_error": None,
    "level": None,
    "claims": (),
}

Planned = Iterator[tuple[SimulatedRecord, int]]  # a record, and how many results later it is sent


class Version(NamedTuple):
    """An exam's first state, and what further versions of it are made from."""

    key: StudentKey
    event: ExamResult
    student: int
    sitting: Sitting
    drawn: int  # index of the result in the sitting's table


class Histories:
    """Plans histories; ``pace`` is how far apart the season's clock sets two results."""

    def __init__(
        self,
        schools: Sequence[School],
        population: Population,
        options: SeasonOptions,
        rng: Random,
        student_key: Callable[[StudentId], StudentKey],
    ) -> None:
        self.pace = timedelta(seconds=1)
        self._schools = schools
        self._population = population
        self._rng = rng
        self._student_key = student_key
        # By district (and for the whole county) and grade: the schools that teach it.
        self._teaching: dict[tuple[OrganizationId, Grade], list[int]] = defaultdict(list)
        for index, school in enumerate(schools):
            for grade in school.grades:
                self._teaching[district_of(school.cds), grade].append(index)
                self._teaching[STATE, grade].append(index)
        # Late events are late by half a window on average: about every second one then misses its turn.
        self._lag_results = max(1.0, options.window / 4)
        plans = {
            "rescores": self._rescored,
            "resets": self._reset,
            "moves": self._moved,
            "oddities": self._odd,
            "corrections": self._corrected,
            "strays": self._stray,
        }
        self._plans = [plans[name] for name in options.befalling]
        self._oddities = (
            self._appealed,
            self._invalidated,
            self._second_opportunity,
            self._withdrawn,
            self._scored_late,
            self._not_counted,
        )

    def history(self, what: int, version: Version) -> Planned:
        """All versions of an exam to which the ``what``-th entry of ``SeasonOptions.befalling`` happens."""
        return self._plans[what](version)

    def _rescored(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        event, after = v.event, 0
        for _ in range(2 if self._rng.random() < _RESCORED_TWICE else 1):
            after += self._lag()
            date = event.status_date if self._rng.random() < _SAME_DATE else self._date(v, after)
            event = self._later(event, date, **self._other_scores(v))
            yield SimulatedRecord(v.key, event, Kind.RESCORED), after

    def _reset(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        after = self._lag()
        reset = self._reset_of(v.event, self._date(v, after))
        yield SimulatedRecord(v.key, reset, Kind.RESET), after
        if self._rng.random() < 0.5:
            after += self._lag()
            event = replace(
                v.event,
                status_date=self._date(v, after),
                sequence=reset.sequence + 1,
                **self._other_scores(v),
            )
            yield SimulatedRecord(v.key, event, Kind.RETURNED), after

    def _moved(self, v: Version) -> Planned:
        elsewhere = self._other_school(v)
        if elsewhere is None:
            yield from self._rescored(v)
            return
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        # From here on, the student's other tests are taken at the new school, too.
        self._population.school[v.student] = elsewhere
        after = self._lag()
        event = self._later(
            v.event,
            self._date(v, after),
            school=self._schools[elsewhere].cds,
            tested_school=v.event.school,
        )
        yield SimulatedRecord(v.key, event, Kind.MOVED), after

    def _odd(self, v: Version) -> Planned:
        return self._rng.choice(self._oddities)(v)

    def _appealed(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        after = self._lag()
        appeal = self._later(v.event, self._date(v, after), status="appeal")
        yield SimulatedRecord(v.key, appeal, Kind.APPEALED), after
        decision = self._rng.random()
        if decision < 0.5:
            after += self._lag()
            changes = self._other_scores(v) if decision < 0.25 else {"status": "scored"}
            decided = self._later(appeal, self._date(v, after), **changes)
            yield SimulatedRecord(v.key, decided, Kind.RESCORED), after

    def _invalidated(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        after = self._lag()
        how = self._rng.choice([{"status": "invalidated"}, {"validity": "invalid"}, {"condition": "IN"}])
        event = self._later(v.event, self._date(v, after), **how)
        yield SimulatedRecord(v.key, event, Kind.INVALIDATED), after

    def _second_opportunity(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        after = self._lag()
        completed = v.event.completed or v.event.status_date
        if self._rng.random() < 0.9:  # the rest were completed at the same moment: the version decides
            completed += timedelta(days=self._rng.randint(1, 20))
        second = self._later(
            v.event,
            self._date(v, after),
            opportunity_id=str(int(v.event.opportunity_id) + 1),
            completed=completed,
            **self._other_scores(v),
        )
        yield SimulatedRecord(v.key, second, Kind.SECOND), after
        if self._rng.random() < 0.5:
            after += self._lag()
            yield SimulatedRecord(v.key, self._reset_of(second, self._date(v, after)), Kind.RESET), after

    def _withdrawn(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, v.event, Kind.SCORED), 0
        after = self._lag()
        event = self._later(v.event, self._date(v, after), **_NO_SCORES)
        yield SimulatedRecord(v.key, event, Kind.WITHDRAWN), after

    def _scored_late(self, v: Version) -> Planned:
        status = self._rng.choice(_IN_PROGRESS)
        started = replace(v.event, status=status, completed=None, **_NO_SCORES)
        yield SimulatedRecord(v.key, started, Kind.UNSCORED), 0
        after = self._lag()
        scored = self._later(v.event, self._date(v, after), status="scored")
        yield SimulatedRecord(v.key, scored, Kind.SCORED), after

    def _not_counted(self, v: Version) -> Planned:
        why: dict[str, Any] = self._rng.choice(
            [{"include_indicator": "T"}, {"include_indicator": "N"}, {"attempted": "N"}]
        )
        yield SimulatedRecord(v.key, replace(v.event, **why), Kind.NOT_COUNTED), 0
        if self._rng.random() < 0.5:
            after = self._lag()
            counted = self._later(v.event, self._date(v, after), include_indicator="Y", attempted="Y")
            yield SimulatedRecord(v.key, counted, Kind.RESCORED), after

    def _corrected(self, v: Version) -> Planned:
        right = v.event.student_id or ""
        wrong = StudentId("8" + right[1:])
        wrong_key = self._student_key(wrong)
        first = replace(v.event, student_id=wrong)
        yield SimulatedRecord(wrong_key, first, Kind.SCORED), 0
        # As the import does it: a tombstone under the old student, then the state under the new one.
        after = self._lag()
        tombstone = replace(self._reset_of(first, self._date(v, after)), student_id=None)
        yield SimulatedRecord(wrong_key, tombstone, Kind.CORRECTED), after
        event = replace(v.event, status_date=tombstone.status_date, sequence=tombstone.sequence + 1)
        yield SimulatedRecord(v.key, event, Kind.CORRECTED), after

    def _stray(self, v: Version) -> Planned:
        yield SimulatedRecord(v.key, replace(v.event, school=_UNKNOWN_SCHOOL), Kind.STRAY), 0
        if self._rng.random() < 0.5:
            after = self._lag()
            yield SimulatedRecord(v.key, self._later(v.event, self._date(v, after)), Kind.SCORED), after

    def _lag(self) -> int:
        return 1 + int(self._rng.expovariate(1 / self._lag_results))

    def _date(self, v: Version, after: int) -> datetime:
        return v.event.status_date + self.pace * after

    def _later(self, event: ExamResult, date: datetime, **changes: Any) -> ExamResult:
        return replace(event, status_date=date, sequence=event.sequence + 1, **changes)

    def _other_scores(self, v: Version) -> dict[str, Any]:
        shift = round(self._rng.gauss(0, _RESCORE_SPREAD)) or 1
        outcome = v.sitting.table[min(max(v.drawn + shift, 0), QUANTILES - 1)]
        return {
            "status": "scored",
            "scale_score": outcome.score,
            "scale_score_error": outcome.error,
            "level": outcome.level,
            "claims": outcome.claims,
        }

    def _reset_of(self, event: ExamResult, date: datetime) -> ExamResult:
        if self._rng.random() < 0.5:
            return self._later(event, date, status="reset", **_NO_SCORES)
        # The least that a reset may say: whose exam it is says the record key.
        return ExamResult(
            assessment_id=event.assessment_id,
            opportunity_id=event.opportunity_id,
            school_year=event.school_year,
            status="reset",
            status_date=date,
            sequence=event.sequence + 1,
        )

    def _other_school(self, v: Version) -> int | None:
        home = self._population.school[v.student]
        grade = GRADES[self._population.grade[v.student]]
        nearby = self._teaching[district_of(self._schools[home].cds), grade]
        anywhere = self._teaching[STATE, grade]
        if len(anywhere) == 1:
            return None
        stays = len(nearby) > 1 and (len(nearby) == len(anywhere) or self._rng.random() < _WITHIN_DISTRICT)
        candidates = nearby if stays else anywhere
        while (school := self._rng.choice(candidates)) == home:
            pass
        return school


_IN_PROGRESS: Final[tuple[Status, ...]] = ("paused", "pending", "submitted", "handscoring", "expired")
