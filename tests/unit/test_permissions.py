"""Who may see what: grants hold downwards, add up, and open nothing beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permissions import (
    IMPORT_ROLE,
    READER_ROLE,
    ROLE_PERMISSIONS,
    Forbidden,
    Grant,
    Permission,
    VisibilityClass,
    may_import,
    may_view,
    visibility,
    visible_among,
)
from schemas.identifiers import STATE, OrganizationId, county_of, district_of

COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
SIBLING = OrganizationId("19990010000102")
OTHER_DISTRICT = OrganizationId("19990020000000")
OTHER_SCHOOL = OrganizationId("19990020000201")
OTHER_COUNTY = OrganizationId("37000000000000")
EVERYTHING = (STATE, COUNTY, DISTRICT, SCHOOL, SIBLING, OTHER_DISTRICT, OTHER_SCHOOL, OTHER_COUNTY)

schools = st.from_regex(r"[0-5][1-9][0-9]{4}[1-9][0-9]{6}[1-9]", fullmatch=True).map(OrganizationId)


def reader(*organizations: OrganizationId) -> list[Grant]:
    return [Grant(READER_ROLE, organization) for organization in organizations]


@pytest.mark.parametrize(
    ("granted", "opened"),
    [
        pytest.param(SCHOOL, {SCHOOL}, id="a school opens itself"),
        pytest.param(DISTRICT, {DISTRICT, SCHOOL, SIBLING}, id="a district opens its schools"),
        pytest.param(
            COUNTY,
            {COUNTY, DISTRICT, SCHOOL, SIBLING, OTHER_DISTRICT, OTHER_SCHOOL},
            id="a county opens its districts and their schools",
        ),
        pytest.param(STATE, set(EVERYTHING), id="the state opens all"),
    ],
)
def test_a_grant_opens_an_organization_and_what_is_below_it(
    granted: OrganizationId, opened: set[OrganizationId]
) -> None:
    assert set(visible_among(reader(granted), EVERYTHING)) == opened
    assert {organization for organization in EVERYTHING if may_view(reader(granted), organization)} == opened


@given(schools, schools)
def test_a_district_grant_opens_nothing_of_another_district(
    one: OrganizationId, another: OrganizationId
) -> None:
    grants = reader(district_of(one))
    assert may_view(grants, another) == (district_of(one) == district_of(another))
    assert not may_view(grants, county_of(one))
    assert not may_view(grants, STATE)


def test_grants_add_up() -> None:
    grants = reader(SCHOOL, OTHER_DISTRICT)
    assert set(visible_among(grants, EVERYTHING)) == {SCHOOL, OTHER_DISTRICT, OTHER_SCHOOL}


def test_no_grant_opens_nothing() -> None:
    assert visible_among([], EVERYTHING) == []


def test_a_role_that_is_not_listed_opens_nothing() -> None:
    grants = [Grant("SOMETHING_NEW", STATE)]
    assert not may_view(grants, SCHOOL)
    assert not may_import(grants)


def test_loading_results_takes_the_loading_role_at_state_level() -> None:
    assert may_import([Grant(IMPORT_ROLE, STATE)])
    assert not may_import([Grant(IMPORT_ROLE, DISTRICT)])
    assert not may_import(reader(STATE))


def test_whoever_loads_results_does_not_read_them_by_that() -> None:
    assert not may_view([Grant(IMPORT_ROLE, STATE)], SCHOOL)


def test_a_viewer_sees_exact_figures_or_none() -> None:
    assert visibility(reader(DISTRICT), SCHOOL) is VisibilityClass.EXACT
    assert visibility(reader(DISTRICT), OTHER_SCHOOL) is None


def test_every_role_grants_something() -> None:
    assert all(ROLE_PERMISSIONS.values())
    assert {Permission.AGGREGATE_READ, Permission.DATA_WRITE} == set().union(*ROLE_PERMISSIONS.values())


def test_the_refusal_names_no_organization() -> None:
    assert not any(character.isdigit() for character in str(Forbidden()))
