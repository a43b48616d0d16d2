"""A season of test results: who takes which test when, and what befalls the results afterwards.

A ``Season`` is an iterable of records in order of delivery. It is a function of its options, county, registry and
secret: iterating twice gives the same bytes. It streams: beside the students' arrays it remembers only what is still to
be delivered, that is, follow-ups, duplicates and late events of the last few thousand results.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import accumulate, count
from math import gcd
from random import Random
from typing import Final

from cli.simulator.county import County
from cli.simulator.histories import Histories, Version
from cli.simulator.options import Kind, SeasonOptions, SimulatedRecord
from cli.simulator.outcomes import QUANTILES
from cli.simulator.population import Population, group_patterns
from cli.simulator.sittings import Plans, plans
from schemas.assessments import Registry
from schemas.events import ExamResult
from schemas.identifiers import GRADES, StudentId
from schemas.pseudonyms import Pseudonymizer

_SEASON_SECONDS: Final = (
    110 * 86_400
)  # from mid-January to early May; longer with more than nine million results
_LONGEST_SCORING_SECONDS: Final = 5 * 86_400  # from the end of the test to its scores
_ABILITY_NOISE: Final = 80  # quantiles of 512 by which a student's results differ

# Fictional identifiers: ten digits like the state's, from a range of its own for every seed.
_FIRST_STUDENT: Final = 9_000_000_000
_SEED_RANGES: Final = 100


class Season:
    """The records of one season, to be iterated over."""

    def __init__(
        self,
        county: County,
        registry: Registry,
        pseudonymizer: Pseudonymizer,
        options: SeasonOptions,
    ) -> None:
        self._county = county
        self._student_key = pseudonymizer.student_key
        self._options = options
        self._plans: Plans = plans(registry, options.school_year, options.seed)

    def __iter__(self) -> Iterator[SimulatedRecord]:
        """All records, in order of delivery."""
        options = self._options
        rng = Random(f"season {options.seed}")
        population = Population(self._county.schools, options.enrolled, Random(f"students {options.seed}"))
        befalling = Histories(self._county.schools, population, options, rng, self._student_key)
        thresholds = list(accumulate(options.befalling.values()))
        befallen = thresholds[-1]
        waiting: list[tuple[int, int, SimulatedRecord]] = []
        ticket = count()
        random, late, again, window = rng.random, options.disorder, options.duplicates, options.window

        def deliver(record: SimulatedRecord, at: int) -> None:
            if random() < late:
                at += 1 + int(random() * window)
            heappush(waiting, (at, next(ticket), record))
            if random() < again:
                echo = SimulatedRecord(record.key, record.event, Kind.DUPLICATE)
                heappush(waiting, (at + 1 + int(random() * window), next(ticket), echo))

        position = 0
        for position, version in enumerate(self._first_versions(population, rng, befalling), start=1):
            chance = random()
            if chance < befallen:
                what = bisect_right(thresholds, chance)
                for record, after in befalling.history(what, version):
                    deliver(record, position + after)
            else:
                record = SimulatedRecord(version.key, version.event, Kind.SCORED)
                if random() < late + again:  # which of the two, in proportion
                    if random() * (late + again) < late:
                        heappush(waiting, (position + 1 + int(random() * window), next(ticket), record))
                    else:
                        yield record
                        echo = SimulatedRecord(version.key, version.event, Kind.DUPLICATE)
                        heappush(waiting, (position + 1 + int(random() * window), next(ticket), echo))
                else:
                    yield record
            while waiting and waiting[0][0] <= position:
                yield heappop(waiting)[2]
        while waiting:
            yield heappop(waiting)[2]

    def _first_versions(self, population: Population, rng: Random, histories: Histories) -> Iterator[Version]:
        """One exam after another, students and schools mixed, in the state the exam has once it is scored."""
        options, random = self._options, rng.random
        plans_of, schools = self._plans, [school.cds for school in self._county.schools]
        patterns = group_patterns(Random(f"groups {options.seed}"))
        students, grades, profiles = population.students, population.grade, population.profile
        ability, school_of, groups = population.ability, population.school, population.groups
        first_student = _FIRST_STUDENT + options.seed % _SEED_RANGES * 10_000_000
        start = datetime(options.school_year, 1, 15, 16, tzinfo=UTC)
        left = options.results if options.results is not None else -1
        taken = 0
        # The clock runs so that the results asked for, or all there can be, fill the season.
        pace = histories.pace = timedelta(
            seconds=max(1, _SEASON_SECONDS // left if left > 0 else students * 2)
        )
        moment = partial(timedelta, 0)  # seconds
        for index in _mixed(students * max(len(p) for by_profile in plans_of for p in by_profile), rng):
            if taken == left:
                return
            turn, student = divmod(index, students)
            plan = plans_of[grades[student]][profiles[student]]
            if turn >= len(plan):
                continue
            taken += 1
            sitting = plan[turn]
            drawn = ability[student] + int((random() - random()) * _ABILITY_NOISE)
            if not 0 <= drawn < QUANTILES:
                drawn = -drawn - 1 if drawn < 0 else 2 * QUANTILES - 1 - drawn
            outcome = sitting.table[drawn]
            status_date = start + pace * taken
            completed = status_date - moment(int(random() * _LONGEST_SCORING_SECONDS))
            identifier = str(first_student + student)
            event = ExamResult(
                assessment_id=sitting.assessment_id,
                # A student's first exams share one opportunity id, as real ones may: it identifies an exam only
                # together with the assessment.
                opportunity_id=str(100_000 + student * 4),
                school_year=options.school_year,
                status="scored" if turn else "completed",
                status_date=status_date,
                sequence=taken * 16,  # leaves room for the versions to come
                student_id=identifier,
                school=schools[school_of[student]],
                grade=sitting.grade,
                enrolled_grade=GRADES[grades[student]],
                completed=completed,
                scale_score=outcome.score,
                scale_score_error=outcome.error,
                level=outcome.level,
                claims=outcome.claims,
                subgroups=patterns[groups[student]][population.learner(student)],
            )
            yield Version(self._student_key(StudentId(identifier)), event, student, sitting, drawn)


def _mixed(length: int, rng: Random) -> Iterator[int]:
    """Every number below ``length`` once, far from its neighbours, without remembering any."""
    stride = max(1, int(length * 0.618034) + rng.randrange(max(1, length // 50)))
    while gcd(stride, length) != 1:
        stride += 1
    number = rng.randrange(length)
    for _ in range(length):
        yield number
        number = (number + stride) % length
