"""What the assessment data say of a test, good for many years and grades, before a year and a grade are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import InvalidInput, RefusedAssessment, UnknownAssessment
from schemas.identifiers import GRADE_NUMBER, GRADES, Grade, TestCode, grade_from

Subject = Literal["ELA", "Math", "Science", "ELPAC", "CSA"]
Kind = Literal["SUM", "ICA", "IAB"]
Grades = tuple[Grade, ...]

_SPAN: Final = re.compile(r"(KG|K|\d{1,2})-(\d{1,2})")


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Cuts and ranges by grade or span, for some years."""

    first_year: int
    last_year: int
    cuts: Mapping[Grades, tuple[int, ...]]
    ranges: Mapping[Grades, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ClaimDefinition:
    """A claim of all years and grades."""

    code: str
    name: str
    levels: tuple[str, ...]
    aliases: tuple[str, ...]
    scores: tuple[ScoreTable, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A block with a reporting name."""

    name: str
    grades: tuple[Grades, ...]


@dataclass(frozen=True, slots=True)
class TestDefinition:
    """A test of all years and grades, or a family of blocks."""

    __test__ = False  # pytest would take it for a test case

    code: TestCode
    name: str
    subject: Subject
    kind: Kind
    first_year: int
    last_year: int | None
    offered: tuple[Grades, ...]
    spans: frozenset[Grades]
    spellings: Mapping[str, Grades]
    levels: tuple[str, ...]
    claims: tuple[ClaimDefinition, ...]
    scores: tuple[ScoreTable, ...]
    ids: tuple[re.Pattern[str], ...]
    id_template: str
    blocks: Mapping[str, Block] | None  # by code; None for a test that is no family

    def grades_named(self, text: str) -> Grades | None:
        """The grade or span that an id names; None when the test is not given there."""
        upper = text.upper()
        if found := self.spellings.get(upper):
            return found
        if upper.isdigit() and len(upper) == 4:
            upper = f"{upper[:2]}-{upper[2:]}"
        try:
            grades = parse_grades(upper)
        except InvalidInput:
            return None
        if len(grades) > 1:
            return grades if grades in self.spans else None
        return grades if any(grades[0] in offered for offered in self.offered) else None

    def offered_with(self, grade: Grade) -> Grades | None:
        """The grade or span in which a student of this grade is offered the test."""
        return next((grades for grades in self.offered if grade in grades), None)

    def natural_id(self, grades: Grades, school_year: int, block: str | None) -> str:
        """The canonical id of one assessment of this test."""
        spelling = next((word for word, meant in self.spellings.items() if meant == grades), None)
        text = spelling or "-".join(dict.fromkeys((grades[0], grades[-1])))
        return self.id_template.format(
            grade=text, number=text.lstrip("0"), before=school_year - 1, year=school_year, block=block or ""
        )

    def grades_in_words(self) -> str:
        """The grades it is offered in, for people."""
        return ", ".join("-".join(dict.fromkeys((grades[0], grades[-1]))) for grades in self.offered)

    def block_name(self, block: str) -> str:
        """The reporting name of a block of this family; the block's code when it is not listed."""
        known = (self.blocks or {}).get(block)
        return f"{self.name}: {known.name if known else block}"

    def offers(self) -> Iterator[tuple[str | None, Grades]]:
        """Every (block, grades) it is offered in; of a family, the listed blocks."""
        if self.blocks is None:
            yield from ((None, grades) for grades in self.offered)
        else:
            yield from ((code, grades) for code, block in self.blocks.items() for grades in block.grades)

    def check_year(self, year: int) -> None:
        """Raise unless the test was given in this school year.

        Raises:
            RefusedAssessment: it was discontinued before.
            UnknownAssessment: it began later.
        """
        if self.last_year is not None and year > self.last_year:
            raise RefusedAssessment(
                f"{self.code} was last given in {_season(self.last_year)} and is refused for {_season(year)}; "
                "only final results of past years are taken"
            )
        if year < self.first_year:
            raise UnknownAssessment(
                f"{self.code} was first given in {_season(self.first_year)}, not in {_season(year)}; "
                "correct the school year"
            )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An assessment that is never taken, whatever its year."""

    name: str
    pattern: re.Pattern[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Definitions:
    """Everything the files say."""

    tests: tuple[TestDefinition, ...]
    refused: tuple[Refusal, ...]


def parse_grades(text: str) -> Grades:
    """Grades from ``"3"`` or ``"9-10"``.

    Raises:
        InvalidIdentifier: a grade is none, or the span does not ascend.
    """
    span = _SPAN.fullmatch(text.strip().upper())
    if not span:
        return (grade_from(text),)
    first, last = (GRADE_NUMBER[grade_from(end)] for end in span.groups())
    return GRADES[first : last + 1] or (grade_from(text),)


def look_up(tables: Iterable[ScoreTable], year: int, grades: Grades, *, ranges: bool) -> tuple[int, ...]:
    """The cuts, or the range, of a grade or span in a year; empty when not known."""
    for table in tables:
        if table.first_year <= year <= table.last_year:
            for covered, values in (table.ranges if ranges else table.cuts).items():
                if set(grades) <= set(covered):
                    return values
    return ()


def _season(year: int) -> str:
    return f"{year - 1}–{year % 100:02d}"
