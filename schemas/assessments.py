"""The assessment registry: every assessment that is taken, with its levels, cut scores, ranges and claims by year.

The data are TOML files beside this module, in ``assessment_data/``; this module only reads and answers from them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from schemas.aggregates import LEVELS, MEASURE_WEIGHTS, CellName
from schemas.assessment_definitions import (
    Definitions,
    Grades,
    Kind,
    Refusal,
    Subject,
    TestDefinition,
    look_up,
)
from schemas.assessment_files import read_definitions
from schemas.errors import InvalidInput, RefusedAssessment, UnknownAssessment
from schemas.events import ClaimScore
from schemas.identifiers import Grade, TestCode

_LONGEST_ID: Final = 250  # as the event's schema has it
# Ids come from outside, and any number of them has the form of a block's id. A season has some hundreds.
_REMEMBERED_AT_MOST: Final = 4096
_BLOCK: Final = re.compile(r"[A-Z0-9.]+(?:-[A-Z0-9.]+)*")
_LONGEST_BLOCK: Final = 60
_YEARS: Final = range(2000, 2200)  # as the event's schema has it

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, domain or composite: measure 1 upwards of the assessment's cells, in registry order."""

    code: str  # as measureOf has it: "SOCK_R", "1", "1-L"
    name: str
    levels: tuple[str, ...]  # names, lowest first
    aliases: tuple[str, ...] = ()  # what older reports call it in measureOf: "Reading"
    cuts: tuple[int, ...] = ()  # composites only
    score_range: tuple[int, int] | None = None  # composites only; a claim's score has no range


@dataclass(frozen=True, slots=True)
class Assessment:
    """One test of one grade (or span of grades) in one school year."""

    test: TestCode  # e.g. "ELA-SUM"
    name: str  # reporting name of the test, e.g. "Smarter Balanced Summative ELA"
    subject: Subject
    kind: Kind
    school_year: int  # the year it ends
    grades: tuple[Grade, ...]  # one, or the span that shares this test
    levels: tuple[str, ...]  # names, lowest first; three or four (five before 2019, of which cells hold four)
    cuts: tuple[int, ...]  # where level 2, 3, (4) begin; empty when not published
    score_range: tuple[int, int] | None  # lowest and highest scale score; None when not published
    claims: tuple[Claim, ...] = ()
    _named: dict[str, Claim] = field(init=False, repr=False, compare=False)
    _weights: dict[str, tuple[int, int]] = field(init=False, repr=False, compare=False)  # and the levels
    highest_level: int = field(init=False, repr=False, compare=False)  # that a cell can count

    def __post_init__(self) -> None:
        named = {alias: claim for claim in self.claims for alias in claim.aliases}
        object.__setattr__(self, "_named", named | {claim.code: claim for claim in self.claims})
        weights = {
            claim.code: (weight, len(claim.levels))
            for claim, weight in zip(self.claims, MEASURE_WEIGHTS[1:], strict=False)
        }
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "highest_level", min(len(self.levels), LEVELS))

    @property
    def measures(self) -> int:
        """Overall, then the claims."""
        return 1 + len(self.claims)

    def claim(self, measure_of: str) -> Claim | None:
        """The claim that a report means; None when the assessment has none of that name."""
        return self._named.get(measure_of)

    def cell_grade(self, enrolled: Grade | None) -> Grade:
        """The grade whose cell a result belongs to: the assessment's own, whatever the student's.

        Of a test that spans grades it is the enrolled grade.

        Raises:
            InvalidInput: the enrolled grade is not one of the span.
        """
        grades = self.grades
        if len(grades) == 1:
            return grades[0]
        if enrolled is not None and enrolled in grades:
            return enrolled
        said = "no enrolled grade is given" if enrolled is None else f"the enrolled grade is {enrolled}"
        raise InvalidInput(
            f"{self.test} spans grades {grades[0]} to {grades[-1]}, and {said}; give one of these"
        )

    def level_for(self, score: int) -> int | None:
        """The level that the cut scores give; a score at a cut has the higher level. None without cuts."""
        return bisect_right(self.cuts, score) + 1 if self.cuts else None

    def levels_code(self, level: int, claims: Iterable[ClaimScore]) -> int:
        """The levels of a scored result, the overall one and each claim's that has one, as ``schemas.aggregates`` counts them.

        Claims of other names are passed over; they may belong to a later registry.

        Raises:
            InvalidInput: a level is not one of this assessment, or a claim occurs twice.
        """
        if not 1 <= level <= self.highest_level:
            raise InvalidInput(f"level {level} is not one of {self.test}; {_level_bounds(len(self.levels))}")
        code = level
        weights = self._weights
        for claim in claims:
            claim_level = claim.level
            if claim_level is None or (found := weights.get(claim.code)) is None:
                continue
            weight, highest = found
            if not 1 <= claim_level <= highest:
                raise InvalidInput(
                    f"level {claim_level} is not one of claim {claim.code} of {self.test}; {_level_bounds(highest)}"
                )
            if code // weight % (LEVELS + 1):
                raise InvalidInput(f"a claim of {self.test} occurs twice; report each claim once")
            code += claim_level * weight
        return code


@dataclass(frozen=True, slots=True)
class RegisteredTest:
    """One line of the table of tests."""

    code: TestCode
    name: str
    subject: Subject
    kind: Kind
    first_year: int
    last_year: int | None  # None while it is given


def unnamed_assessment(name: CellName) -> Assessment:
    """Stands for one that this registry does not have: a cell's figures are right all the same, only its names are not known."""
    return Assessment(
        test=name.test,
        name=name.test,
        subject="ELA",
        kind="SUM",
        school_year=name.school_year,
        grades=(name.grade,),
        levels=tuple(f"Level {level}" for level in range(1, LEVELS + 1)),
        cuts=(),
        score_range=None,
    )


AssessmentLookup = Callable[[int, TestCode, Grade], Assessment]  # of a year, test and grade: ``Registry.at``


class Registry:
    """Answers which assessment an id means, and what its levels, cuts, ranges and claims are."""

    def __init__(self, definitions: Definitions) -> None:
        self._tests: dict[str, TestDefinition] = {test.code: test for test in definitions.tests}
        self._refused: tuple[Refusal, ...] = definitions.refused
        self._made: dict[tuple[str, int, Grades], Assessment] = {}
        self._by_id: dict[str, Assessment] = {}
        self._by_id_and_year: dict[tuple[str, int | None], Assessment] = {}
        self.tests: Mapping[TestCode, RegisteredTest] = {
            test.code: test for definition in definitions.tests for test in _registered(definition)
        }

    def resolve(self, assessment_id: str, school_year: int | None = None) -> Assessment:
        """The assessment that a natural id (``Test/@name``) means.

        The year that the id carries outranks ``school_year``, which counts only for an id without one: reports of
        2016-17 come with the academic years 2016, 2017, 0 and 4294967295.

        Raises:
            RefusedAssessment: the Initial ELPAC, or a test that was discontinued before that year.
            UnknownAssessment: no test has such ids, or it is not given in that grade or year.
        """
        # A stream worker asks for each event, so what was found before must be one look away.
        known = self._by_id.get(assessment_id)
        if known is None:
            known = self._by_id_and_year.get((assessment_id, school_year))
        return known if known is not None else self._look_up(assessment_id, school_year)

    def at(self, school_year: int, test: str, grade: Grade) -> Assessment:
        """The assessment behind a cell.

        Raises:
            UnknownAssessment: there is no such test, or not in that grade or year.
        """
        definition, block = self._definition(test)
        grades = definition.offered_with(grade)
        if grades is None:
            raise UnknownAssessment(_not_given(definition, f"grade {grade}"))
        return self._assessment(definition, block, school_year, grades)

    def natural_id(self, test: str, grade: Grade, school_year: int) -> str:
        """The canonical id of an assessment; ``resolve`` finds it again.

        Raises:
            UnknownAssessment: there is no such test, or not in that grade or year.
        """
        definition, block = self._definition(test)
        return definition.natural_id(self.at(school_year, test, grade).grades, school_year, block)

    def assessments(self, school_year: int) -> list[Assessment]:
        """All assessments in force in a year; of families of blocks, those that are listed by name."""
        return [
            self._assessment(definition, block, school_year, grades)
            for definition in self._tests.values()
            if definition.first_year <= school_year <= (definition.last_year or school_year)
            for block, grades in definition.offers()
        ]

    def _look_up(self, assessment_id: str, school_year: int | None) -> Assessment:
        shown = assessment_id[:80]
        if len(assessment_id) > _LONGEST_ID:
            raise UnknownAssessment(
                f"'{shown}...' has {len(assessment_id)} characters; no assessment id has over 250"
            )
        for refusal in self._refused:
            if refusal.pattern.fullmatch(assessment_id):
                raise RefusedAssessment(f"'{shown}' is refused: {refusal.reason}")
        for definition in self._tests.values():
            for pattern in definition.ids:
                if found := pattern.fullmatch(assessment_id):
                    break
            else:
                continue
            parts = found.groupdict()
            said = parts["year"]
            year = int(said) if said else school_year
            if year is None or year not in _YEARS:
                raise UnknownAssessment(f"'{shown}' carries no year; state the school year in which it ends")
            grades = definition.grades_named(parts["grade"])
            if grades is None:
                raise UnknownAssessment(f"'{shown}': " + _not_given(definition, f"grade {parts['grade']}"))
            block = parts["block"].upper() if "block" in parts else None
            if block is not None and not _is_block(block):
                raise UnknownAssessment(
                    f"'{shown}' names a block of {len(block)} characters; expected {_LONGEST_BLOCK} at most"
                )
            assessment = self._assessment(definition, block, year, grades)
            if said:
                _remember(self._by_id, assessment_id, assessment)
            else:
                _remember(self._by_id_and_year, (assessment_id, school_year), assessment)
            return assessment
        raise UnknownAssessment(
            f"'{shown}' is not the id of any assessment in the registry; "
            "correct it, or add its form to schemas/assessment_data"
        )

    def _assessment(
        self, definition: TestDefinition, block: str | None, year: int, grades: Grades
    ) -> Assessment:
        test = TestCode(f"{definition.code}-{block}") if block else definition.code
        made = self._made.get((test, year, grades))
        if made is None:
            definition.check_year(year)
            made = _make(definition, test, block, year, grades)
            _remember(self._made, (test, year, grades), made)
        return made

    def _definition(self, test: str) -> tuple[TestDefinition, str | None]:
        definition = self._tests.get(test)
        if definition is not None and definition.blocks is None:
            return definition, None
        for code, family in self._tests.items():
            block = test.removeprefix(f"{code}-")
            if family.blocks is not None and block != test and _is_block(block):
                return family, block
        raise UnknownAssessment(
            f"'{test[:80]}' is not a test of the registry; expected e.g. ELA-SUM or ELPAC-SUM"
        )


def load_registry() -> Registry:
    """The registry of the package's data. Takes some milliseconds: load it once and pass it on."""
    return Registry(read_definitions())


def _make(
    definition: TestDefinition, test: TestCode, block: str | None, year: int, grades: Grades
) -> Assessment:
    return Assessment(
        test=test,
        name=definition.block_name(block) if block else definition.name,
        subject=definition.subject,
        kind=definition.kind,
        school_year=year,
        grades=grades,
        levels=definition.levels,
        cuts=look_up(definition.scores, year, grades, ranges=False),
        score_range=_bounds(look_up(definition.scores, year, grades, ranges=True)),
        claims=tuple(
            Claim(
                claim.code,
                claim.name,
                claim.levels,
                claim.aliases,
                look_up(claim.scores, year, grades, ranges=False),
                _bounds(look_up(claim.scores, year, grades, ranges=True)),
            )
            for claim in definition.claims
        ),
    )


def _registered(definition: TestDefinition) -> Iterator[RegisteredTest]:
    codes = [None] if definition.blocks is None else list(definition.blocks)
    for block in codes:
        yield RegisteredTest(
            TestCode(f"{definition.code}-{block}") if block else definition.code,
            definition.block_name(block) if block else definition.name,
            definition.subject,
            definition.kind,
            definition.first_year,
            definition.last_year,
        )


def _is_block(text: str) -> bool:
    return len(text) <= _LONGEST_BLOCK and _BLOCK.fullmatch(text) is not None


def _not_given(definition: TestDefinition, wanted: str) -> str:
    return f"{definition.code} is not given in {wanted}; it is given in {definition.grades_in_words()}"


def _level_bounds(highest: int) -> str:
    if highest > LEVELS:
        return f"it has {highest}, of which 1 to {LEVELS} can be counted"
    return f"expected 1 to {highest}"


def _bounds(values: tuple[int, ...]) -> tuple[int, int] | None:
    return (values[0], values[1]) if values else None


def _remember(memory: dict[_Key, Assessment], key: _Key, assessment: Assessment) -> None:
    if len(memory) >= _REMEMBERED_AT_MOST:
        memory.clear()
    memory[key] = assessment
