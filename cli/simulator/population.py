"""The students of a county: where they go to school, what they are tested in, how able they are.

Kept in plain arrays, ten bytes a student, so that a state's three million fit. A student is a number here.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from random import Random
from typing import Final

from cli.simulator.county import School
from cli.simulator.outcomes import QUANTILES
from schemas.events import Subgroups
from schemas.identifiers import GRADE_NUMBER, GRADES, Grade

GROUP_PATTERNS: Final = 64  # distinct combinations of student groups


class Profile:
    """What kinds of tests a student takes, besides those of the grade."""

    PLAIN, LEARNER, INTERIMS, LEARNER_BLOCK, BLOCK, ALTERNATE = range(6)
    WEIGHTS: Final = (0.60, 0.14, 0.12, 0.05, 0.075, 0.015)
    LEARNERS: Final = frozenset({LEARNER, LEARNER_BLOCK})


# Most tests are taken in grades 3 to 8 and 11; enrolling as many elsewhere would only make idle students.
_GRADE_WEIGHTS: Final = tuple(
    0.25 if grade in {"KG", "01", "02", "09", "10", "12"} else 1.0 for grade in GRADES
)
_SCHOOL_SPREAD: Final = 0.12  # how far schools' averages lie apart, in quantiles


class Population:
    """Students 0 to ``students`` - 1; ``school`` and the other arrays are indexed by student."""

    __slots__ = ("ability", "grade", "groups", "profile", "school", "students")

    def __init__(self, schools: Sequence[School], students: int, rng: Random) -> None:
        self.students = students
        sizes = [sum(_GRADE_WEIGHTS[GRADE_NUMBER[g]] for g in school.grades) for school in schools]
        strengths = [rng.gauss(0.5, _SCHOOL_SPREAD) for _ in schools]
        taught = [_cumulative(school.grades) for school in schools]
        self.school = array("I", rng.choices(range(len(schools)), sizes, k=students))
        self.profile = array("B", rng.choices(range(6), Profile.WEIGHTS, k=students))
        self.groups = array("B", (int(rng.random() * GROUP_PATTERNS) for _ in range(students)))
        self.grade = array("B", (rng.choices(*taught[s], k=1)[0] for s in self.school))
        self.ability = array("H", (_quantile(rng.gauss(strengths[s], 0.25)) for s in self.school))

    def learner(self, student: int) -> bool:
        """Whether the student is learning English."""
        return self.profile[student] in Profile.LEARNERS


def group_patterns(rng: Random) -> list[tuple[Subgroups, Subgroups]]:
    """Student groups to draw from: of a student who is not, and who is, learning English."""
    patterns = []
    for _ in range(GROUP_PATTERNS):
        sex = rng.choice(["Female", "Male"])
        ethnicities = tuple(rng.sample(_ETHNICITIES, k=1 if rng.random() < 0.85 else 2))
        disability, poverty = rng.random() < 0.13, rng.random() < 0.6
        plain, learner = (
            Subgroups(
                sex=sex,
                ethnicities=ethnicities,
                english_acquisition=acquisition,
                english_learner=acquisition == "EL" or None,
                disability=disability or None,
                economic_disadvantage=poverty or None,  # many reports leave it out
            )
            for acquisition in (rng.choice(["EO", "EO", "EO", "IFEP", "RFEP"]), "EL")
        )
        patterns.append((plain, learner))
    return patterns


_ETHNICITIES: Final = (
    "HispanicOrLatinoEthnicity",
    "White",
    "Asian",
    "BlackOrAfricanAmerican",
    "Filipino",
    "AmericanIndianOrAlaskaNative",
    "NativeHawaiianOrOtherPacificIslander",
)


def _cumulative(grades: Sequence[Grade]) -> tuple[list[int], list[float]]:
    numbers = [GRADE_NUMBER[grade] for grade in grades]
    return numbers, [_GRADE_WEIGHTS[number] for number in numbers]


def _quantile(ability: float) -> int:
    # Reflected at both ends: cutting off would heap students on the lowest and the highest score.
    if ability < 0:
        ability = -ability
    if ability > 1:
        ability = 2 - ability
    return min(max(int(ability * QUANTILES), 0), QUANTILES - 1)
