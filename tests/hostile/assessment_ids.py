"""Assessment ids that nearly mean something: grades, spans and years that a test has, had once or never had."""

from __future__ import annotations

import re
from functools import cache
from random import Random
from typing import Final

from hostile.sound import registry

_YEARS: Final = (2000, 2014, 2015, 2017, 2018, 2019, 2020, 2021, 2025, 2026, 2027, 2099)
_GRADES: Final = (
    *(
        "K",
        "KG",
        "HS",
        "HIGHSCHOOL",
        "High-School",
        "0",
        "00",
        "1",
        "01",
        "3",
        "03",
        "5",
        "8",
        "09",
        "10",
        "11",
    ),
    *("12", "13", "99", "9-10", "0910", "09-10", "11-12", "1112", "3-5", "12-03", "1010", "0012", "3-", ""),
)
_BLOCKS: Final = ("X", "READLIT", "G-MATH", "A" * 60, "A" * 61, "A.-B", "A-", "ELA-3", "2026", ".", "SOCK_R")
_GRADE: Final = re.compile(r"(?<=GRADE-)\w+|(?<=ELA-|CAA-)\d\d?|(?<=MATH-)\d\d?|(?<=-G)\d\d?")
_YEAR: Final = re.compile(r"-20\d\d")


def assessment_id(rng: Random) -> str:
    """An id like those of the registry, with other grades, years and blocks."""
    text = rng.choice(_known())
    if rng.random() < 0.5:
        text = _GRADE.sub(rng.choice(_GRADES), text, count=rng.choice((0, 1)))
    year = rng.choice(("", *(f"-{year}" for year in _YEARS)))
    if rng.random() < 0.6:
        text = _YEAR.sub(year, text, count=rng.choice((0, 1, 2)))
    if rng.random() < 0.1 and "FIXED" in text:
        text = text[: text.index("FIXED") + 9] + rng.choice(_BLOCKS) + year
    return text


@cache
def _known() -> tuple[str, ...]:
    """Ids of all that was ever given; of discontinued tests, too."""
    known: set[str] = set()
    for year in (2014, 2017, 2019, 2026):
        for assessment in registry().assessments(year):
            known |= {
                registry().natural_id(assessment.test, grade, year)
                for grade in (assessment.grades[0], assessment.grades[-1])
            }
    return tuple(sorted(known))
