"""What a subscriber reads of a cell: counts, mean, standard error, median, quartiles, levels and claims.

All of it is computed from a cell's integers when someone asks; nothing computed here is ever stored. Null is not 0:
without scores there is no mean and no percentage, and the fields say ``null``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import sqrt
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.aggregates import LEVELS, Cell, CellName
from schemas.assessments import Assessment

Percent = Annotated[float, Meta(ge=0, le=100, description="of those counted in this list, one decimal")]


class LevelFigure(Struct, frozen=True, gc=False):
    """How many students reached one level, exactly that one."""

    level: int
    name: str
    count: int
    percent: Percent | None


class ClaimFigures(Struct, frozen=True, gc=False):
    """The levels of one claim, domain or composite; percentages are of the students who have a level in it."""

    code: str
    name: str
    levels: list[LevelFigure]


class Figures(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One cell as it leaves the process; whatever carries it also says ``preliminary``.

    ``mean`` is a whole scale point, ``standard_error`` (of the mean, from the sample variance) has one decimal and needs
    two scores, median and quartiles are whole or half points. Percentages and means are of students *with scores*.

    A *suppressed* cell has results of which nothing may be said, not even how many; that is not the same as none.
    """

    test: str
    test_name: str
    subject: str
    school_year: int
    grade: str
    results: int | None
    with_scores: int | None
    under_appeal: int | None
    mean: int | None
    standard_error: float | None
    first_quartile: float | None
    median: float | None
    third_quartile: float | None
    levels: list[LevelFigure]
    claims: list[ClaimFigures]
    version: int
    changed: str
    suppressed: bool = False  # left out unless true

    @property
    def shown(self) -> bool:
        """Whether there is anything to show: results, or the mark that they are held back."""
        return self.suppressed or bool(self.results)


def figures(cell: Cell, assessment: Assessment, name: CellName, changed_ms: int) -> Figures:
    """The figures of one cell, merged over all partitions."""
    first, median, third = quartiles(cell)
    return Figures(
        test=name.test,
        test_name=assessment.name,
        subject=assessment.subject,
        school_year=name.school_year,
        grade=name.grade,
        results=cell.results,
        with_scores=cell.with_scores,
        under_appeal=cell.under_appeal,
        mean=mean(cell),
        standard_error=standard_error(cell),
        first_quartile=first,
        median=median,
        third_quartile=third,
        levels=_levels(assessment.levels, cell.level_counts()),
        claims=[
            ClaimFigures(claim.code, claim.name, _levels(claim.levels, cell.level_counts(measure)))
            for measure, claim in enumerate(assessment.claims, start=1)
        ],
        version=cell.version,
        changed=rfc3339(changed_ms),
    )


def masked_figures(
    cell: Cell | None, assessment: Assessment, name: CellName, version: int, changed_ms: int
) -> Figures:
    """The figures of one cell after disclosure control; ``cell`` is None when it is suppressed.

    What would tell a student from a group is not there: appeals, standard error, quartiles; and where all students are on
    one level, neither that level nor the mean.
    """
    told = cell is not None and _is_spread(cell.level_counts())
    count = None if cell is None else cell.with_scores
    return Figures(
        test=name.test,
        test_name=assessment.name,
        subject=assessment.subject,
        school_year=name.school_year,
        grade=name.grade,
        results=count,
        with_scores=count,
        under_appeal=None,
        mean=mean(cell) if cell is not None and told else None,
        standard_error=None,
        first_quartile=None,
        median=None,
        third_quartile=None,
        levels=_levels(assessment.levels, cell.level_counts()) if cell is not None and told else [],
        claims=[
            ClaimFigures(claim.code, claim.name, _levels(claim.levels, counts))
            for measure, claim in enumerate(assessment.claims, start=1)
            if cell is not None and _is_spread(counts := cell.level_counts(measure))
        ],
        version=version,
        changed=rfc3339(changed_ms),
        suppressed=cell is None,
    )


def mean(cell: Cell) -> int | None:
    """The mean scale score, rounded half up to a whole point; None without scores."""
    n = cell.with_scores
    return (2 * cell.score_sum + n) // (2 * n) if n else None


def standard_error(cell: Cell) -> float | None:
    """The standard error of the mean, one decimal; None below two scores, where there is no variance to estimate.

    sqrt(s^2 / n) with s^2 = (sum of squares - sum^2 / n) / (n - 1); both sums are exact, only the root is not.
    """
    n = cell.with_scores
    if n < 2:
        return None
    return round(sqrt((n * cell.score_sum_sq - cell.score_sum**2) / (n * n * (n - 1))), 1)


def quartiles(cell: Cell) -> tuple[float | None, float | None, float | None]:
    """First quartile, median and third quartile, exact, from the histogram; None without scores.

    The method is the inverse of the empirical distribution with averaging where it is flat (Hyndman and Fan's type 2,
    SAS's default): with n scores in order, let k = n * p. If k is not whole, the quantile is the next score above
    position k; if it is, the mean of the k-th and the next. So half of the scores are at or below the median, and it is
    always a score that occurred or halfway between two that did.
    """
    n = cell.with_scores
    if n == 0:
        return None, None, None
    positions: list[int] = []  # two for each quartile, from 1
    for quarter in (1, 2, 3):
        whole, rest = divmod(n * quarter, 4)
        positions += (whole + 1, whole + 1) if rest else (whole, whole + 1)
    found: list[int] = []
    seen = 0
    for score, count in cell.scores():
        seen += count
        while len(found) < len(positions) and positions[len(found)] <= seen:
            found.append(score)
    first, median, third = (_half(found[i] + found[i + 1]) for i in (0, 2, 4))
    return first, median, third


def percent(count: int, total: int) -> float | None:
    """A percentage with one decimal, rounded half up; None of nothing. The parts need not add up to 100.0."""
    return (2000 * count + total) // (2 * total) / 10 if total else None


def rfc3339(milliseconds: int) -> str:
    """Milliseconds since 1970 as an RFC 3339 time in UTC, e.g. ``2026-05-04T12:00:03.120Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)  # what is told together mostly happened in the same few seconds
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


FIGURES_HEADER: Final[tuple[str, ...]] = (
    "preliminary",
    "organization",
    "organization_name",
    "school_year",
    "test",
    "test_name",
    "subject",
    "grade",
    "results",
    "with_scores",
    "under_appeal",
    "mean",
    "standard_error",
    "first_quartile",
    "median",
    "third_quartile",
    *(f"level_{level}_{what}" for level in range(1, LEVELS + 1) for what in ("name", "count", "percent")),
    "version",
    "changed",
    "suppressed",
)


def figures_row(organization: str, organization_name: str, figure: Figures) -> list[str | int | float]:
    """One CSV row under ``FIGURES_HEADER``; what is null, or suppressed, is empty. Claims are in the JSON form only."""
    levels: list[str | int | float] = []
    for level in figure.levels:
        levels += (level.name, level.count, _blank(level.percent))
    levels += [""] * (3 * (LEVELS - len(figure.levels)))
    return [
        "true",
        organization,
        organization_name,
        figure.school_year,
        figure.test,
        figure.test_name,
        figure.subject,
        figure.grade,
        _blank(figure.results),
        _blank(figure.with_scores),
        _blank(figure.under_appeal),
        _blank(figure.mean),
        _blank(figure.standard_error),
        _points(figure.first_quartile),
        _points(figure.median),
        _points(figure.third_quartile),
        *levels,
        figure.version,
        figure.changed,
        "true" if figure.suppressed else "false",
    ]


def _levels(names: Sequence[str], counts: Sequence[int]) -> list[LevelFigure]:
    total = sum(counts)
    return [
        LevelFigure(level, name, count, percent(count, total))
        for level, (name, count) in enumerate(zip(names, counts, strict=False), start=1)
    ]


def _is_spread(counts: Sequence[int]) -> bool:
    """Whether students are on two levels at least."""
    return sum(count > 0 for count in counts) > 1


def _half(twice: int) -> float:
    return twice // 2 if twice % 2 == 0 else twice / 2


def _points(value: float | None) -> str | int | float:
    return int(value) if value is not None and value == int(value) else _blank(value)


def _blank(value: float | None) -> str | int | float:
    return "" if value is None else value
