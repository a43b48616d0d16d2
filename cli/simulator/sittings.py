"""Which tests the students of each grade take, prepared for drawing: one ``Sitting`` per assessment."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from cli.simulator.outcomes import Outcome, outcomes
from cli.simulator.population import Profile
from schemas.assessments import Assessment, Registry
from schemas.errors import InvalidInput
from schemas.identifiers import GRADES, Grade

_SCIENCE_IN_HIGH_SCHOOL: Final = Grade("11")  # taken once in grades 10 to 12, by most in 11


class Sitting:
    """One assessment as the season needs it: its natural id, and a table of results (made at first use)."""

    __slots__ = ("_rng", "_table", "assessment", "assessment_id", "grade")

    def __init__(self, assessment: Assessment, assessment_id: str, rng: Random) -> None:
        self.assessment = assessment
        self.assessment_id = assessment_id
        self.grade = assessment.grades[0] if len(assessment.grades) == 1 else None  # None: a span
        self._rng = rng
        self._table: list[Outcome] | None = None

    @property
    def table(self) -> list[Outcome]:
        """Results to draw from, the lowest score first."""
        if self._table is None:
            self._table = outcomes(self.assessment, self._rng)
        return self._table


Plans = list[list[tuple[Sitting, ...]]]  # by number of the grade and by profile


def plans(registry: Registry, school_year: int, seed: int) -> Plans:
    """The tests of every grade and profile in one school year.

    Raises:
        InvalidInput: the registry has no summative assessments of that year.
    """
    known = [a for a in registry.assessments(school_year) if a.kind != "IAB"]
    blocks = [a for a in registry.assessments(school_year) if a.kind == "IAB"]
    if not any(a.kind == "SUM" for a in known):
        raise InvalidInput(
            f"--school-year is {school_year}; the assessment registry has no summative tests of that year"
        )
    sittings: dict[Assessment, Sitting] = {}

    def sitting(assessment: Assessment) -> Sitting:
        if assessment not in sittings:
            name = registry.natural_id(assessment.test, assessment.grades[0], school_year)
            # A generator of its own: which tests come up first must not change the others' results.
            sittings[assessment] = Sitting(assessment, name, Random(f"outcomes {seed} {name}"))
        return sittings[assessment]

    def taken(grade: Grade, wanted: Iterable[Assessment]) -> list[Sitting]:
        return [sitting(a) for a in wanted if grade in a.grades]

    table: Plans = []
    for number, grade in enumerate(GRADES):
        regular = taken(grade, (a for a in known if _is_regular(a, grade)))
        english = taken(grade, (a for a in known if _is_english_proficiency(a)))
        alternate = taken(grade, (a for a in known if _is_alternate(a)))
        interims = taken(grade, (a for a in known if a.kind == "ICA"))[:1]
        # One block of each subject, another one in every grade.
        block: list[Sitting] = []
        for subject in ("ELA", "Math"):
            found = taken(grade, (a for a in blocks if a.subject == subject))
            block += found[number % len(found) :][:1] if found else []
        by_profile: dict[int, list[Sitting]] = {
            Profile.PLAIN: regular,
            Profile.LEARNER: regular + english,
            Profile.INTERIMS: interims + regular,
            Profile.LEARNER_BLOCK: block[:1] + regular + english,
            Profile.BLOCK: block + regular,
            Profile.ALTERNATE: alternate,
        }
        table.append([tuple(by_profile[profile]) for profile in range(len(by_profile))])
    return table


def _is_regular(assessment: Assessment, grade: Grade) -> bool:
    if assessment.kind != "SUM" or assessment.subject == "ELPAC" or _is_alternate(assessment):
        return False
    if assessment.subject == "CSA":  # taken by few; it would only add rare cells
        return False
    spans_high_school = assessment.subject == "Science" and grade in GRADES[9:]
    return grade == _SCIENCE_IN_HIGH_SCHOOL if spans_high_school else True


def _is_alternate(assessment: Assessment) -> bool:
    return assessment.test.startswith("CAA")


def _is_english_proficiency(assessment: Assessment) -> bool:
    return assessment.kind == "SUM" and assessment.subject == "ELPAC" and "ALT" not in assessment.test
