"""The public research file: the state's columns, a star for what is suppressed, and nothing that other rows do not say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway import research_file
from gateway.research_file import ListedOrganization, ResearchLayout, percentage
from schemas.aggregates import cell_name
from schemas.assessments import Assessment, load_registry
from schemas.disclosure.held import Held, cell_of
from schemas.errors import InvalidInput
from schemas.figures import Figures, masked_figures
from schemas.identifiers import Grade, OrganizationId

SCHOOL = ListedOrganization(OrganizationId("19990010000101"), "Birch Valley Unified", "Cedar Elementary")
DISTRICT = ListedOrganization(OrganizationId("19990010000000"), "Birch Valley Unified", "")

ALL_CLAIMS = (0, 5, 5, 10) + (4, 8, 8, 0) * 4


def assessment(test: str, grade: str) -> Assessment:
    return load_registry().at(2026, test, Grade(grade))


def shown(test: str, grade: str, levels: Sequence[int], score_sum: int = 0) -> Figures:
    """Published figures; ``levels`` has four counts of the overall result and of each claim."""
    held = Held(tuple(levels), score_sum)
    return masked_figures(
        cell_of(held, 1), assessment(test, grade), cell_name(f"2026:{test}:{grade}"), 1, 1_780_000_000_000
    )


def suppressed(test: str, grade: str) -> Figures:
    return masked_figures(
        None, assessment(test, grade), cell_name(f"2026:{test}:{grade}"), 1, 1_780_000_000_000
    )


def rows(
    test: str, figures: Sequence[Figures], organization: ListedOrganization = SCHOOL
) -> list[dict[str, object]]:
    layout = ResearchLayout(assessment(test, figures[0].grade))
    header = layout.header()
    assert len(set(header)) == len(header)
    return [dict(zip(header, row, strict=True)) for row in layout.rows(organization, figures)]


def test_school_has_its_codes_names_and_type_in_the_columns_of_the_state() -> None:
    row, _ = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS, 48_000)])
    assert [row[name] for name in ("County Code", "District Code", "School Code")] == [
        "19",
        "99001",
        "0000101",
    ]
    assert [row["District Name"], row["School Name"]] == ["Birch Valley Unified", "Cedar Elementary"]
    assert [row["Type ID"], row["Test ID"], row["Student Group ID"], row["Grade"]] == ["7", "1", "1", "03"]


@pytest.mark.parametrize(
    ("code", "charter", "type_id"),
    [
        ("00000000000000", None, "4"),
        ("19000000000000", None, "5"),
        ("19990010000000", None, "6"),
        ("19990010000101", None, "7"),
        ("19990010000101", "direct", "9"),
        ("19990010000101", "local", "10"),
    ],
)
def test_type_of_an_organization_is_the_one_that_the_state_gives_it(
    code: str, charter: object, type_id: str
) -> None:
    organization = ListedOrganization(OrganizationId(code), "", "", charter)  # type: ignore[arg-type]  # of a table
    row, _ = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS)], organization)
    assert row["Type ID"] == type_id


def test_percentages_and_counts_are_of_the_students_with_scores() -> None:
    row, _ = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS, 48_910)])
    assert row["Total Students Tested with Scores"] == row["Overall Total"] == 20
    assert row["Mean Scale Score"] == 2446  # 48,910 / 20 is 2445.5
    assert [row["Percentage Standard Exceeded"], row["Count Standard Exceeded"]] == ["50.00", 10]
    assert [row["Percentage Standard Met and Above"], row["Count Standard Met and Above"]] == ["75.00", 15]
    assert [row["Percentage Standard Not Met"], row["Count Standard Not Met"]] == ["0.00", 0]
    assert [
        row["Area 1 Percentage Above Standard"],
        row["Area 1 Count Below Standard"],
        row["Area 1 Total"],
    ] == [
        "40.00",
        4,
        20,
    ]


def test_what_this_service_does_not_know_is_empty_and_not_nought() -> None:
    row, _ = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS)])
    assert [row["Total Students Enrolled"], row["Total Students Tested"], row["Filler"]] == ["", "", ""]


def test_suppressed_school_has_stars_for_every_figure_and_no_row_of_all_grades() -> None:
    [row] = rows("ELA-SUM", [suppressed("ELA-SUM", "03")])
    figures = list(row)[list(row).index("Total Students Tested with Scores") :]
    assert {row[name] for name in figures} == {"*"}


def test_one_suppressed_grade_leaves_no_row_from_which_it_could_be_subtracted() -> None:
    found = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS), suppressed("ELA-SUM", "04")])
    assert [row["Grade"] for row in found] == ["03", "04"]


def test_all_grades_together_are_their_sum_without_a_mean() -> None:
    found = rows(
        "ELA-SUM",
        [shown("ELA-SUM", "03", ALL_CLAIMS, 48_000), shown("ELA-SUM", "04", ALL_CLAIMS, 49_000)],
        DISTRICT,
    )
    assert [row["Grade"] for row in found] == ["03", "04", "13"]
    assert found[2]["Total Students Tested with Scores"] == 40
    assert found[2]["Mean Scale Score"] == ""
    assert found[2]["Percentage Standard Exceeded"] == "50.00"
    assert found[2]["Area 4 Total"] == 40


def test_area_that_one_grade_does_not_show_is_not_shown_for_all_grades() -> None:
    one_level = (0, 5, 5, 10) + (20, 0, 0, 0) + (4, 8, 8, 0) * 3
    found = rows("ELA-SUM", [shown("ELA-SUM", "03", ALL_CLAIMS), shown("ELA-SUM", "04", one_level)])
    assert found[1]["Area 1 Total"] == "*"
    assert found[2]["Area 1 Total"] == "*"
    assert found[2]["Area 2 Total"] == 40


def test_students_all_in_one_level_hide_distribution_and_mean_but_not_their_number() -> None:
    row, _ = rows("ELA-SUM", [shown("ELA-SUM", "03", (0, 0, 20, 0), 48_000)])
    assert row["Total Students Tested with Scores"] == 20
    assert {
        row["Mean Scale Score"],
        row["Percentage Standard Met"],
        row["Count Standard Met and Above"],
        row["Count Standard Not Met"],
    } == {"*"}


def test_test_of_three_levels_has_the_columns_of_three_levels() -> None:
    row, _ = rows("CAA-ELA", [shown("CAA-ELA", "03", (5, 5, 10, 0), 6_000)])
    assert row["Test ID"] == "3"
    assert [row["Percentage Level 3"], row["Count Level 3"], row["Count Level 1"]] == ["50.00", 10, 5]
    assert "Percentage Standard Met" not in row


def test_test_without_a_number_of_the_state_keeps_its_code() -> None:
    row, _ = rows("ELPAC-SUM", [shown("ELPAC-SUM", "03", (5, 5, 10, 0))])
    assert row["Test ID"] == "ELPAC-SUM"


@pytest.mark.parametrize(("text", "test"), [("1", "ELA-SUM"), ("39", "CSA"), ("ELA-SUM", "ELA-SUM")])
def test_test_is_named_by_the_states_number_or_by_its_code(text: str, test: str) -> None:
    assert research_file.test_of(text) == test


@pytest.mark.parametrize("text", ["", "2026:ELA-SUM", "x" * 101])
def test_what_cannot_be_a_test_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="ELA-SUM"):
        research_file.test_of(text)


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [(1, 3, "33.33"), (2, 3, "66.67"), (1, 800, "0.13"), (20, 20, "100.00"), (0, 0, "")],
)
def test_percentages_have_two_decimals_rounded_half_up(count: int, total: int, text: str) -> None:
    assert percentage(count, total) == text  # 1 / 800 is 0.125 %
