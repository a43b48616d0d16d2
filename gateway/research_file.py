"""Published figures in the layout that researchers know from the state's research files; pure.

The columns and their names are those of the state's files of 2024 and 2025: sixteen that all tests share, the levels from
the highest to the lowest, then the areas, which are our claims. What this service does not know, how many were enrolled or
tested without a score, is empty; what is suppressed is ``*``. Unlike the state's, the file has commas between its fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from schemas.assessments import Assessment, Claim
from schemas.errors import InvalidInput
from schemas.figures import ClaimFigures, Figures, LevelFigure
from schemas.identifiers import OrganizationId, OrganizationLevel, TestCode, level_of

SUPPRESSED: Final = "*"
ALL_STUDENTS: Final = "1"  # the only student group that is published
ALL_GRADES: Final = "13"

# The tests that the state's files number; others keep their code.
_TEST_IDS: Final = {
    TestCode("ELA-SUM"): "1",
    TestCode("MATH-SUM"): "2",
    TestCode("CAA-ELA"): "3",
    TestCode("CAA-MATH"): "4",
    TestCode("CAST"): "17",
    TestCode("CAA-SCIENCE"): "18",
    TestCode("CSA"): "39",
}
_CODES: Final = {number: code for code, number in _TEST_IDS.items()}
_LONGEST_TEST: Final = 100

_COMMON: Final = (
    "County Code",
    "District Code",
    "District Name",
    "School Code",
    "School Name",
    "Type ID",
    "Filler",
    "Test Year",
    "Test Type",
    "Test ID",
    "Student Group ID",
    "Grade",
    "Total Students Enrolled",
    "Total Students Tested",
    "Total Students Tested with Scores",
    "Mean Scale Score",
)
_STANDARD: Final = "Standard "
_AREA_LEVELS: Final = ("Below Standard", "Near Standard", "Above Standard")
_TYPE_IDS: Final = {
    OrganizationLevel.STATE: "4",
    OrganizationLevel.COUNTY: "5",
    OrganizationLevel.DISTRICT: "6",
    OrganizationLevel.SCHOOL: "7",
}
_CHARTER_TYPE_IDS: Final = {"direct": "9", "local": "10"}

Row = list[str | int]


class ListedOrganization(NamedTuple):
    """What the file says of an organization."""

    id: OrganizationId
    district_name: str
    school_name: str
    charter: Literal["direct", "local"] | None = None


def test_of(text: str) -> TestCode:
    """The test that a request means: by our code, or by the state's number.

    Raises:
        InvalidInput: it is neither.
    """
    if text in _CODES:
        return _CODES[text]
    if not text or len(text) > _LONGEST_TEST or ":" in text:
        raise InvalidInput(
            f"test is '{text[:40]}'; expected a test code such as ELA-SUM, or the state's number of a test, such as 1"
        )
    return TestCode(text)


class ResearchLayout:
    """The layout of one test."""

    def __init__(self, assessment: Assessment) -> None:
        self._assessment = assessment
        levels = assessment.levels
        self._by_standard = len(levels) == 4 and all(name.startswith(_STANDARD) for name in levels)

    def header(self) -> list[str]:
        """The names of the columns."""
        columns = list(_COMMON)
        if self._by_standard:
            _, _, met, exceeded = names = self._assessment.levels
            for name in (exceeded, met, f"{met} and Above", *reversed(names[:2])):
                columns += (f"Percentage {name}", f"Count {name}")
        else:
            for level in range(len(self._assessment.levels), 0, -1):
                columns += (f"Percentage Level {level}", f"Count Level {level}")
        columns.append("Overall Total")
        for number, claim in enumerate(self._assessment.claims, start=1):
            for name in reversed(_area_levels(claim)):
                columns += (f"Area {number} Percentage {name}", f"Area {number} Count {name}")
            columns.append(f"Area {number} Total")
        return columns

    def rows(self, organization: ListedOrganization, figures: Sequence[Figures]) -> Iterator[Row]:
        """An organization's rows: each grade's, in the order given, and of all grades together.

        The last is there only where all that it adds up is shown, so it tells nothing that the other rows do not.
        """
        for one in figures:
            yield self._row(organization, one.grade, one)
        if figures and not any(one.suppressed for one in figures):
            yield self._row(organization, ALL_GRADES, all_grades(figures))

    def _row(self, organization: ListedOrganization, grade: str, figures: Figures) -> Row:
        code = organization.id
        row: Row = [
            code[:2],
            code[2:7],
            organization.district_name,
            code[7:],
            organization.school_name,
            _CHARTER_TYPE_IDS.get(organization.charter or "") or _TYPE_IDS[level_of(code)],
            "",
            figures.school_year,
            "",
            _TEST_IDS.get(self._assessment.test, self._assessment.test),
            ALL_STUDENTS,
            grade,
            "",
            "",
        ]
        if figures.suppressed:
            return row + [SUPPRESSED] * (len(self.header()) - len(row))
        total = figures.with_scores or 0
        row += (total, _mean(figures))
        row += self._levels(figures.levels, total)
        claims = {claim.code: claim for claim in figures.claims}
        for claim in self._assessment.claims:
            row += _area(claim, claims.get(claim.code))
        return row

    def _levels(self, levels: Sequence[LevelFigure], total: int) -> Row:
        if not levels:
            return [SUPPRESSED] * (len(self._assessment.levels) * 2 + 2 * self._by_standard) + [total]
        pairs = [(percentage(level.count, total), level.count) for level in reversed(levels)]
        if self._by_standard:
            above = pairs[0][1] + pairs[1][1]
            pairs.insert(2, (percentage(above, total), above))
        return [*(value for pair in pairs for value in pair), total]


def all_grades(figures: Sequence[Figures]) -> Figures:
    """The sum of an organization's grades, all shown; without a mean, for every grade has a scale of its own."""
    first = figures[0]
    claims = [
        ClaimFigures(parts[0].code, parts[0].name, _added([part.levels for part in parts]))
        for code in (claim.code for claim in first.claims)
        if len(parts := [claim for one in figures for claim in one.claims if claim.code == code])
        == len(figures)
    ]
    total = sum(one.with_scores or 0 for one in figures)
    return Figures(
        test=first.test,
        test_name=first.test_name,
        subject=first.subject,
        school_year=first.school_year,
        grade=ALL_GRADES,
        results=total,
        with_scores=total,
        under_appeal=None,
        mean=None,
        standard_error=None,
        first_quartile=None,
        median=None,
        third_quartile=None,
        levels=_added([one.levels for one in figures]) if all(one.levels for one in figures) else [],
        claims=claims,
        version=0,
        changed=max(one.changed for one in figures),
    )


def percentage(count: int, total: int) -> str:
    """With two decimals, as the state's files have it, rounded half up; empty of nothing."""
    if not total:
        return ""
    hundredths = (20_000 * count + total) // (2 * total)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _mean(figures: Figures) -> str | int:
    if figures.mean is not None:
        return figures.mean
    return "" if figures.levels else SUPPRESSED


def _added(parts: Sequence[Sequence[LevelFigure]]) -> list[LevelFigure]:
    return [
        LevelFigure(same[0].level, same[0].name, sum(level.count for level in same), None)
        for same in zip(*parts, strict=True)
    ]


def _area_levels(claim: Claim) -> Sequence[str]:
    if claim.levels == _AREA_LEVELS:
        return claim.levels
    return [f"Level {level}" for level in range(1, len(claim.levels) + 1)]


def _area(claim: Claim, figures: ClaimFigures | None) -> Row:
    if figures is None:
        return [SUPPRESSED] * (2 * len(claim.levels) + 1)
    total = sum(level.count for level in figures.levels)
    pairs = [(percentage(level.count, total), level.count) for level in reversed(figures.levels)]
    return [*(value for pair in pairs for value in pair), total]
