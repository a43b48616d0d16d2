"""A state's season without a simulator: ten million results, each a function of its number, made of ready templates.

A student takes two tests. Exam ``number`` belongs to student ``number // 2``; the student's number decides on school,
grade and ability, by a hash. So any process can make any part of the season, and what must come of it is counted on the
way: how many results each school, grade and test has of each of 512 ready outcomes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

from cli.simulator.outcomes import QUANTILES, outcomes
from cli.simulator.population import group_patterns
from schemas.assessments import Assessment, load_registry
from schemas.events import ExamResult, OrganizationEntry, encode_event
from schemas.identifiers import STATE, Grade, OrganizationId, TestCode

TESTS: Final = (TestCode("ELA-SUM"), TestCode("MATH-SUM"))
SCHOOL_YEAR: Final = 2025
COUNTIES: Final = 58
SCHOOLS_A_DISTRICT: Final = 9
RESCORED_ONE_IN: Final = 10

# Of five schools three teach grades 3 to 5, one 6 to 8, one 11; grades without these tests are left out.
_GRADES: Final = (
    *[tuple(map(Grade, ("03", "04", "05")))] * 3,
    tuple(map(Grade, ("06", "07", "08"))),
    (Grade("11"),),
)
CELLS_A_SCHOOL: Final = 3 * len(TESTS)  # at most; the number of a school's cell is below it

_FIRST_COUNTY: Final = 41  # 41 to 98: two digits are all that a county has
_RESCORE_STEP: Final = 16  # of 512 outcomes
MIXER: Final = 0x9E3779B97F4A7C15
_64_BITS: Final = 2**64 - 1


class Drawn(NamedTuple):
    """What is decided about an exam."""

    school: int
    grade: int  # index into the school's grades
    outcome: int  # index into the outcomes of test and grade
    rescored: bool


def grades_of(school: int) -> tuple[Grade, ...]:
    """The tested grades that a school teaches."""
    return _GRADES[school % len(_GRADES)]


def draw(number: int, schools: int) -> Drawn:
    """Decide about exam ``number``."""
    student, test = number >> 1, number & 1
    mixed = (student + 1) * MIXER & _64_BITS
    mixed = (mixed ^ mixed >> 31) * MIXER & _64_BITS
    # Half of the students are spread over all schools, the others over one half: schools differ in size.
    school = (mixed >> 34) % (schools if mixed & 1 else (schools + 1) // 2)
    grade = (mixed >> 10) % len(grades_of(school))
    outcome = (mixed >> 20 & 511) + (mixed >> (1 + 5 * test) & 31) - 16
    outcome = min(max(outcome, 0), QUANTILES - 1)
    return Drawn(school, grade, outcome, ((mixed >> 50) + test) % RESCORED_ONE_IN == 0)


def rescored(outcome: int) -> int:
    """The outcome after rescoring."""
    return min(outcome + _RESCORE_STEP, QUANTILES - 1)


def cell_number(school: int, grade: int, test: int) -> int:
    """The number of a school's cell, by which results are counted."""
    return school * CELLS_A_SCHOOL + grade * len(TESTS) + test


def directory(schools: int) -> list[OrganizationEntry]:
    """A state with so many schools in ``COUNTIES`` counties, fictional as the names tell; the schools last."""
    districts = -(-schools // SCHOOLS_A_DISTRICT)
    codes = [school_code(number, schools) for number in range(schools)]
    counties = sorted({code[:2] for code in codes})
    entries = [OrganizationEntry(cds=STATE, name="State of Replay", kind="state")]
    entries += [
        OrganizationEntry(cds=code + "0" * 12, name=f"Replay County {code}", kind="county")
        for code in counties
    ]
    entries += [
        OrganizationEntry(
            cds=_district_code(number) + "0" * 7, name=f"Replay Unified {number}", kind="district"
        )
        for number in range(districts)
    ]
    entries += [
        OrganizationEntry(cds=code, name=f"Replay School {number}", kind="school")
        for number, code in enumerate(codes)
    ]
    return entries


def school_code(number: int, schools: int) -> OrganizationId:
    """The code of school ``number``."""
    districts = -(-schools // SCHOOLS_A_DISTRICT)
    return OrganizationId(f"{_district_code(number % districts)}{6_000_001 + number:07d}")


def _district_code(district: int) -> str:
    return f"{_FIRST_COUNTY + district % COUNTIES}{70_001 + district:05d}"


class Templates:
    """Ready outcomes, and the JSON of a result of each with holes for what differs."""

    def __init__(self, seed: int) -> None:
        registry = load_registry()
        patterns = group_patterns(Random(f"groups {seed}"))
        self.outcomes = {}
        self._texts: dict[tuple[Grade, int], list[bytes]] = {}
        for grade in sorted({grade for grades in _GRADES for grade in grades}):
            for test, code in enumerate(TESTS):
                assessment = registry.at(SCHOOL_YEAR, code, grade)
                name = registry.natural_id(code, grade, SCHOOL_YEAR)
                ready = outcomes(assessment, Random(f"outcomes {seed} {name}"))
                self.outcomes[grade, test] = ready
                self._texts[grade, test] = [
                    _with_holes(
                        ExamResult(
                            assessment_id=name,
                            opportunity_id=_HOLES[0],
                            school_year=SCHOOL_YEAR,
                            status="scored",
                            status_date=_DATE_HOLE,
                            sequence=_NUMBER_HOLE,
                            student_id=_HOLES[1],
                            school=_SCHOOL_HOLE,
                            grade=grade,
                            enrolled_grade=grade,
                            completed=_DATE_HOLE,
                            scale_score=outcome.score,
                            scale_score_error=outcome.error,
                            level=outcome.level,
                            claims=outcome.claims,
                            subgroups=patterns[index % len(patterns)][index % 5 == 0],
                        )
                    )
                    for index, outcome in enumerate(ready)
                ]

    def of(self, school: int, grade: int, test: int) -> list[bytes]:
        """By outcome; filled with opportunity, date, sequence, student, school code and date."""
        return self._texts[grades_of(school)[grade], test]

    def assessments(self) -> dict[tuple[Grade, int], Assessment]:
        """By grade and test."""
        registry = load_registry()
        return {(grade, test): registry.at(SCHOOL_YEAR, TESTS[test], grade) for grade, test in self._texts}


_HOLES: Final = ("OPPORTUNITY", "STUDENT")
_SCHOOL_HOLE: Final = "99999999999999"
_NUMBER_HOLE: Final = 987_654_321_987
_DATE_HOLE: Final = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


def _with_holes(event: ExamResult) -> bytes:
    text = encode_event(event).replace(b"%", b"%%")
    for hole in (*_HOLES, _SCHOOL_HOLE, "2001-02-03T04:05:06Z"):
        text = text.replace(hole.encode(), b"%b")
    return text.replace(str(_NUMBER_HOLE).encode(), b"%d")
