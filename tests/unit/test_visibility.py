"""Which rows each visibility class sees: at and below the district by its state, above it by its districts'."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pytest

from schemas.access.permissions import VisibilityClass
from schemas.access.visibility import Rows, Visibility, affected
from schemas.aggregates import CellField, cell_field
from schemas.assessments import load_registry
from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId
from schemas.organization_list import OrganizationList
from schemas.releases import ReleaseKey, Releases, ReleaseState, Report

REGISTRY = load_registry()
COUNTY = OrganizationId("19000000000000")
FIRST = OrganizationId("19990010000000")
SECOND = OrganizationId("19990020000000")
SCHOOL = OrganizationId("19990010000101")
ELSEWHERE = OrganizationId("20990010000000")
ELA = cell_field(2026, "ELA-SUM", "03")
MATH = cell_field(2026, "MATH-SUM", "03")
INTERIM = cell_field(2026, "ELA-ICA", "03")
UNHEARD_OF = cell_field(2026, "CHESS-SUM", "03")

LOADING, REVIEWING, RELEASED = ReleaseState
CLASSES = tuple(VisibilityClass)


def key(district: OrganizationId, subject: str = "ELA", report: Report = Report.AGGREGATE) -> ReleaseKey:
    return ReleaseKey(2026, district, subject, report)


def visibility(
    states: dict[ReleaseKey, ReleaseState],
    *,
    unlisted: ReleaseState = LOADING,
    districts: tuple[OrganizationId, ...] = (FIRST, SECOND, ELSEWHERE),
) -> Visibility:
    entries = [OrganizationEntry(cds=code, name=f"District {code}", kind="district") for code in districts]
    return Visibility(Releases(states, unlisted=unlisted), OrganizationList(entries, 1), REGISTRY.at)


@pytest.mark.parametrize("organization", [FIRST, SCHOOL])
@pytest.mark.parametrize(
    ("state", "seeing"),
    [
        (LOADING, {"exact-loading"}),
        (REVIEWING, {"exact-loading", "exact-reviewing"}),
        (RELEASED, {"exact-loading", "exact-reviewing", "exact-released", "masked"}),
    ],
)
def test_a_district_and_its_schools_are_seen_by_those_whom_the_state_of_the_results_lets(
    organization: OrganizationId, state: ReleaseState, seeing: set[str]
) -> None:
    seen = visibility({key(FIRST): state})
    assert {one for one in CLASSES if seen.sees(one, organization, ELA)} == seeing
    # What is set for one subject, year, district or report says nothing of another.
    assert {one for one in CLASSES if seen.sees(one, organization, MATH)} == {"exact-loading"}
    assert not seen.sees(VisibilityClass.EXACT_RELEASED, organization, cell_field(2025, "ELA-SUM", "03"))
    assert not seen.sees(VisibilityClass.EXACT_RELEASED, SECOND, ELA)


def test_the_state_of_individual_results_decides_nothing_about_aggregates() -> None:
    seen = visibility({key(FIRST, report=Report.INDIVIDUAL): RELEASED})
    assert not seen.sees(VisibilityClass.EXACT_RELEASED, FIRST, ELA)


@pytest.mark.parametrize("one", CLASSES)
def test_interims_are_never_withheld(one: VisibilityClass) -> None:
    seen = visibility({key(FIRST): LOADING})
    assert seen.sees(one, SCHOOL, INTERIM)
    assert seen.rows(one, STATE, INTERIM) is Rows.ALL


@pytest.mark.parametrize("unlisted", ReleaseState)
def test_a_test_that_the_registry_does_not_have_is_seen_only_by_those_who_see_everything(
    unlisted: ReleaseState,
) -> None:
    seen = visibility({}, unlisted=unlisted)
    assert {one for one in CLASSES if seen.sees(one, SCHOOL, UNHEARD_OF)} == {"exact-loading"}
    assert {one for one in CLASSES if seen.rows(one, COUNTY, UNHEARD_OF) is not Rows.NONE} == {
        "exact-loading"
    }


RELEASED_VIEW, REVIEWING_VIEW = VisibilityClass.EXACT_RELEASED, VisibilityClass.EXACT_REVIEWING


@pytest.mark.parametrize(
    ("first", "second", "released", "reviewing"),
    [
        (LOADING, LOADING, (Rows.NONE, set()), (Rows.NONE, set())),
        (REVIEWING, LOADING, (Rows.NONE, set()), (Rows.SOME, {FIRST})),
        (RELEASED, REVIEWING, (Rows.SOME, {FIRST}), (Rows.ALL, set())),
        (LOADING, RELEASED, (Rows.SOME, {SECOND}), (Rows.SOME, {SECOND})),
        (RELEASED, RELEASED, (Rows.ALL, set()), (Rows.ALL, set())),
    ],
)
def test_a_county_comes_to_the_districts_of_which_the_row_is_seen(
    first: ReleaseState,
    second: ReleaseState,
    released: tuple[Rows, AbstractSet[OrganizationId]],
    reviewing: tuple[Rows, AbstractSet[OrganizationId]],
) -> None:
    seen = visibility({key(FIRST): first, key(SECOND): second})
    for one, expected in ((RELEASED_VIEW, released), (REVIEWING_VIEW, reviewing)):
        assert (seen.rows(one, COUNTY, ELA), seen.districts(one, COUNTY, ELA)) == expected
        assert seen.rows(one, STATE, ELA) is not Rows.ALL  # a district elsewhere is still loading
    assert seen.rows(VisibilityClass.EXACT_LOADING, STATE, ELA) is Rows.ALL


def test_a_district_that_has_left_the_directory_still_counts_by_its_state() -> None:
    states = {key(FIRST): RELEASED, key(SECOND): REVIEWING}
    seen = visibility(states, districts=(FIRST,))
    assert seen.districts(RELEASED_VIEW, COUNTY, ELA) == {FIRST}


def test_a_county_without_any_district_shows_what_is_not_listed() -> None:
    empty = OrganizationId("58000000000000")
    assert visibility({}).rows(RELEASED_VIEW, empty, ELA) is Rows.NONE
    assert visibility({}, unlisted=RELEASED).rows(RELEASED_VIEW, empty, ELA) is Rows.ALL


def test_a_change_in_a_district_concerns_it_its_schools_its_county_and_the_state_and_no_others() -> None:
    concerned = affected([FIRST])
    assert [concerned(one) for one in (FIRST, SCHOOL, COUNTY, STATE)] == [True] * 4
    assert not concerned(SECOND) and not concerned(ELSEWHERE)
    assert not concerned(OrganizationId("20000000000000"))
    assert not affected([])(STATE)


def test_a_field_is_looked_up_once() -> None:
    asked: list[str] = []

    def looked_up(year: int, test: str, grade: str) -> object:
        asked.append(test)
        return REGISTRY.at(year, test, grade)  # type: ignore[arg-type]  # a grade of the registry's

    entries = [OrganizationEntry(cds=FIRST, name="One", kind="district")]
    seen = Visibility(Releases({}), OrganizationList(entries, 1), looked_up)  # type: ignore[arg-type]  # as above
    for _ in range(3):
        seen.sees(RELEASED_VIEW, SCHOOL, CellField(ELA))
    assert asked == ["ELA-SUM"]
