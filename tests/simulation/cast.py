"""Who and what the schedules are about: some students, schools and tests, all invented, prepared once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from schemas.assessments import Registry, load_registry
from schemas.identifiers import Grade, StudentId
from schemas.pseudonyms import Pseudonymizer

YEAR: Final = 2026
# Two schools of one district, one of another district, one of another county.
SCHOOLS: Final = ("61700016000001", "61700016000002", "61700026000003", "62700036000004")
LATE_SCHOOL: Final = "62700046000005"  # its directory entry arrives some time, in another district
NO_SCHOOL: Final = "63700056000006"  # in no directory, ever


@dataclass(frozen=True, slots=True)
class Student:
    """A student and the pseudonym of the student's records."""

    identifier: str
    key: str


@dataclass(frozen=True, slots=True)
class Test:
    """What the histories need to know of a test."""

    __test__ = False  # pytest: no test case

    assessment_id: str
    code: str
    grades: tuple[str, ...]
    lowest: int
    cuts: tuple[int, ...]
    highest: int
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Everything that all schedules share."""

    registry: Registry
    pseudonyms: Pseudonymizer
    students: tuple[Student, ...]
    tests: tuple[Test, ...]


@cache
def cast() -> Cast:
    """Two tests: one with claims, one that spans grades, so that its cell follows the enrolled grade."""
    registry = load_registry()
    pseudonyms = Pseudonymizer(b"a secret of the simulator, of no value")
    students = []
    for number in range(64):
        identifier = StudentId(f"70000000{number:02d}")
        students.append(Student(identifier, pseudonyms.student_key(identifier)))
    tests = []
    for code, grade in (("ELA-SUM", Grade("03")), ("ELPAC-ALT", Grade("03"))):
        assessment = registry.at(YEAR, code, grade)
        assert assessment.score_range is not None
        lowest, highest = assessment.score_range
        tests.append(
            Test(
                registry.natural_id(code, grade, YEAR),
                code,
                assessment.grades,
                lowest,
                assessment.cuts,
                highest,
                tuple(claim.code for claim in assessment.claims),
            )
        )
    return Cast(registry, pseudonyms, tuple(students), tuple(tests))
