"""What a reader of a cell is told: means, errors, quartiles, percentages, and nothing where there is nothing."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.aggregates import Cell, CellName, contribution, levels_code
from schemas.assessments import Assessment, Claim
from schemas.figures import (
    FIGURES_HEADER,
    figures,
    figures_row,
    masked_figures,
    mean,
    percent,
    quartiles,
    rfc3339,
    standard_error,
)
from schemas.identifiers import Grade, TestCode

NAME = CellName(2026, TestCode("ELA-SUM"), Grade("03"))
READING = Claim("R", "Reading", ("Below", "Near", "Above"))
ASSESSMENT = Assessment(
    test=NAME.test,
    name="Reading and writing",
    subject="ELA",
    kind="SUM",
    school_year=2026,
    grades=(NAME.grade,),
    levels=("Not Met", "Nearly Met", "Met", "Exceeded"),
    cuts=(2367, 2432, 2490),
    score_range=(2115, 2650),
    claims=(READING, Claim("W", "Writing", ("Below", "Near", "Above"))),
)


def cell_of(*scores: int) -> Cell:
    cell = Cell()
    for score in scores:
        cell.apply(contribution(score, levels_code([1 + sum(score >= cut for cut in ASSESSMENT.cuts)])))
    return cell


def quantile(scores: list[int], p: Fraction) -> Fraction:
    """The textbook definition, with every score written out (Hyndman and Fan's type 2)."""
    ordered, position = sorted(scores), len(scores) * p
    if position.denominator == 1:
        return Fraction(ordered[int(position) - 1] + ordered[int(position)], 2)
    return Fraction(ordered[math.ceil(position) - 1])


def test_a_cell_without_scores_has_no_mean_no_median_and_no_percentages() -> None:
    cell = Cell()
    cell.apply(contribution(None))
    shown = figures(cell, ASSESSMENT, NAME, 0)
    assert (shown.results, shown.with_scores) == (1, 0)
    assert shown.mean is None and shown.standard_error is None
    assert shown.first_quartile is None and shown.median is None and shown.third_quartile is None
    assert [level.count for level in shown.levels] == [0, 0, 0, 0]
    assert [level.percent for level in shown.levels] == [None] * 4


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param((2450,), 2450, id="one score is the mean"),
        pytest.param((2450, 2451), 2451, id="2450.5 goes up"),
        pytest.param((2450, 2450, 2451), 2450, id="2450.33 goes down"),
        pytest.param((2450, 2451, 2451), 2451, id="2450.67 goes up"),
    ],
)
def test_the_mean_is_a_whole_point_rounded_half_up(scores: tuple[int, ...], expected: int) -> None:
    assert mean(cell_of(*scores)) == expected


def test_the_standard_error_needs_two_scores() -> None:
    assert standard_error(cell_of(2450)) is None
    # 2440, 2460: mean 2450, variance 200, error sqrt(200 / 2) = 10
    assert standard_error(cell_of(2440, 2460)) == 10.0


def test_the_standard_error_of_equal_scores_is_zero_and_not_missing() -> None:
    assert standard_error(cell_of(2450, 2450, 2450)) == 0.0


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param((2450,), (2450, 2450, 2450), id="one score"),
        pytest.param((2440, 2461), (2440, 2450.5, 2461), id="the median of two lies halfway"),
        # n/4 = 1 is whole: between the first and the second, and so on
        pytest.param((10, 20, 30, 40), (15, 25, 35), id="four scores"),
        pytest.param((10, 20, 30, 40, 50), (20, 30, 40), id="five scores"),
        pytest.param((30, 10, 30, 30), (20, 30, 30), id="three students with one and the same score"),
    ],
)
def test_quartiles_are_scores_or_halfway_between_two(
    scores: tuple[int, ...], expected: tuple[float, float, float]
) -> None:
    assert quartiles(cell_of(*scores)) == expected


@given(st.lists(st.integers(2115, 2650), min_size=1, max_size=60))
def test_figures_equal_those_of_the_scores_written_out(scores: list[int]) -> None:
    cell = cell_of(*scores)
    assert quartiles(cell) == tuple(float(quantile(scores, Fraction(q, 4))) for q in (1, 2, 3))
    assert mean(cell) == math.floor(Fraction(sum(scores), len(scores)) + Fraction(1, 2))
    if len(scores) > 1:
        exact = statistics.stdev(scores) / math.sqrt(len(scores))
        assert standard_error(cell) == pytest.approx(exact, abs=0.051)


@given(st.lists(st.integers(2115, 2650), max_size=30), st.lists(st.integers(2115, 2650), max_size=30))
def test_figures_of_two_partitions_equal_those_of_the_whole(some: list[int], others: list[int]) -> None:
    merged = cell_of(*some)
    merged.merge(cell_of(*others))
    assert figures(merged, ASSESSMENT, NAME, 5) == figures(cell_of(*some, *others), ASSESSMENT, NAME, 5)


def test_percentages_are_of_the_students_with_scores_not_of_all_results() -> None:
    cell = cell_of(2300, 2440, 2450)
    cell.apply(contribution(None))
    shown = figures(cell, ASSESSMENT, NAME, 0)
    assert shown.results == 4
    assert [(level.count, level.percent) for level in shown.levels] == [
        (1, 33.3),
        (0, 0.0),
        (2, 66.7),
        (0, 0.0),
    ]


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [
        pytest.param(0, 0, None, id="of nothing"),
        pytest.param(0, 7, 0.0, id="none"),
        pytest.param(7, 7, 100.0, id="all"),
        pytest.param(1, 16, 6.3, id="6.25 goes up"),
        pytest.param(1, 3, 33.3, id="a third"),
    ],
)
def test_percentages_have_one_decimal_rounded_half_up(count: int, total: int, expected: float | None) -> None:
    assert percent(count, total) == expected


def test_a_claim_counts_only_students_who_have_a_level_in_it() -> None:
    cell = Cell()
    cell.apply(contribution(2450, levels_code([3, 2])))
    cell.apply(contribution(2460, levels_code([3])))
    reading, writing = figures(cell, ASSESSMENT, NAME, 0).claims
    assert (reading.code, reading.name) == ("R", "Reading")
    assert [(level.name, level.count, level.percent) for level in reading.levels] == [
        ("Below", 0, 0.0),
        ("Near", 1, 100.0),
        ("Above", 0, 0.0),
    ]
    assert [level.percent for level in writing.levels] == [None, None, None]


def test_results_under_appeal_are_counted_and_keep_their_scores() -> None:
    cell = Cell()
    cell.apply(contribution(2450, levels_code([3]), under_appeal=True))
    shown = figures(cell, ASSESSMENT, NAME, 0)
    assert (shown.under_appeal, shown.with_scores, shown.mean) == (1, 1, 2450)


def test_the_time_of_change_has_milliseconds_and_a_zone() -> None:
    # 2026-05-04T12:00:03.007Z
    assert rfc3339(1_777_896_003_007) == "2026-05-04T12:00:03.007Z"
    assert rfc3339(1_777_896_003_000) == "2026-05-04T12:00:03.000Z"


def test_a_csv_row_fits_its_header_and_says_preliminary() -> None:
    row = figures_row("19990010000101", "Cedar Elementary", figures(cell_of(2450, 2300), ASSESSMENT, NAME, 0))
    assert len(row) == len(FIGURES_HEADER)
    named = dict(zip(FIGURES_HEADER, row, strict=True))
    assert named["preliminary"] == "true"
    assert (named["mean"], named["median"], named["with_scores"]) == (2375, 2375, 2)
    assert "2375.0" not in map(str, row)
    assert (named["level_3_name"], named["level_3_count"], named["level_3_percent"]) == ("Met", 1, 50.0)


def test_a_csv_row_is_blank_where_there_is_nothing() -> None:
    row = figures_row("19990010000101", "Cedar Elementary", figures(Cell(), ASSESSMENT, NAME, 0))
    named = dict(zip(FIGURES_HEADER, row, strict=True))
    assert named["mean"] == "" and named["level_1_percent"] == "" and named["level_1_count"] == 0


def test_a_test_of_three_levels_leaves_the_fourth_blank() -> None:
    three = Assessment(
        test=TestCode("CAA-ELA"),
        name="Alternate",
        subject="ELA",
        kind="SUM",
        school_year=2026,
        grades=(NAME.grade,),
        levels=("Limited", "Foundational", "Understanding"),
        cuts=(),
        score_range=None,
    )
    row = figures_row("19990010000101", "Cedar Elementary", figures(Cell(), three, NAME, 0))
    named = dict(zip(FIGURES_HEADER, row, strict=True))
    assert named["level_3_name"] == "Understanding"
    assert named["level_4_name"] == "" and named["level_4_count"] == ""


def published(*students: tuple[int, int, int]) -> Cell:
    """So many students each, on a level and on a level of the first claim."""
    cell = Cell()
    for many, level, reading in students:
        cell.apply_all([contribution(2400 + level, levels_code([level, reading]))] * many)
    return cell


def test_masked_figures_have_counts_and_a_whole_mean_and_nothing_that_tells_of_single_students() -> None:
    shown = masked_figures(published((8, 2, 1), (6, 3, 2)), ASSESSMENT, NAME, 5, 0)
    assert (shown.results, shown.with_scores, shown.mean, shown.version) == (14, 14, 2402, 5)
    assert [level.count for level in shown.levels] == [0, 8, 6, 0]
    assert shown.under_appeal is shown.standard_error is None
    assert shown.first_quartile is shown.median is shown.third_quartile is None
    assert [claim.code for claim in shown.claims] == ["R"], "nobody has a level in writing"
    assert shown.shown and not shown.suppressed


def test_where_all_students_are_on_one_level_neither_it_nor_the_mean_is_told() -> None:
    shown = masked_figures(published((8, 2, 1), (6, 2, 3)), ASSESSMENT, NAME, 1, 0)
    assert shown.with_scores == 14 and shown.mean is None and shown.levels == []
    assert [claim.code for claim in shown.claims] == ["R"]
    alike = masked_figures(published((8, 2, 1), (6, 3, 1)), ASSESSMENT, NAME, 1, 0)
    assert alike.mean == 2402 and alike.claims == []


def test_a_suppressed_cell_is_something_to_show_and_one_without_results_is_not() -> None:
    hidden = masked_figures(None, ASSESSMENT, NAME, 3, 0)
    assert hidden.suppressed and hidden.shown
    row = figures_row("19990010000101", "Cedar Elementary", hidden)
    named = dict(zip(FIGURES_HEADER, row, strict=True))
    assert named["suppressed"] == "true" and named["version"] == 3
    told = {
        "preliminary",
        "organization",
        "organization_name",
        "school_year",
        "test",
        "test_name",
        "subject",
        "grade",
    }
    assert {
        value for name, value in named.items() if name not in {*told, "suppressed", "version", "changed"}
    } == {""}
    assert not figures(Cell(), ASSESSMENT, NAME, 0).shown
