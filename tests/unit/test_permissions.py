"""Who may see what: grants hold downwards, add up, and open nothing beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.access.permissions import Forbidden, Grant, Permission, Rights, VisibilityClass
from schemas.access.roles import (
    BUILT_IN_ROLES,
    IMPORT_ROLE,
    MASKED_READER_ROLE,
    READER_ROLE,
    ROLE_PERMISSIONS,
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


def reader(*organizations: OrganizationId) -> Rights:
    return BUILT_IN_ROLES.rights(Grant(READER_ROLE, organization) for organization in organizations)


def loader(organization: OrganizationId) -> Rights:
    return BUILT_IN_ROLES.rights([Grant(IMPORT_ROLE, organization)])


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
    assert set(reader(granted).visible_among(EVERYTHING)) == opened
    assert {organization for organization in EVERYTHING if reader(granted).visibility(organization)} == opened


@given(schools, schools)
def test_a_district_grant_opens_nothing_of_another_district(
    one: OrganizationId, another: OrganizationId
) -> None:
    rights = reader(district_of(one))
    assert bool(rights.visibility(another)) == (district_of(one) == district_of(another))
    assert not rights.visibility(county_of(one))
    assert not rights.visibility(STATE)


def test_grants_add_up() -> None:
    assert set(reader(SCHOOL, OTHER_DISTRICT).visible_among(EVERYTHING)) == {
        SCHOOL,
        OTHER_DISTRICT,
        OTHER_SCHOOL,
    }


def test_no_grant_opens_nothing() -> None:
    assert reader().visible_among(EVERYTHING) == []


def test_a_role_that_is_not_listed_opens_nothing() -> None:
    rights = BUILT_IN_ROLES.rights([Grant("SOMETHING_NEW", STATE)])
    assert not rights.visibility(SCHOOL)
    assert not rights.covers(Permission.DATA_WRITE, STATE)


def test_loading_results_takes_the_loading_role_at_state_level() -> None:
    assert loader(STATE).covers(Permission.DATA_WRITE, STATE)
    assert not loader(DISTRICT).anywhere(Permission.DATA_WRITE)
    assert not reader(STATE).covers(Permission.DATA_WRITE, STATE)


def test_whoever_loads_results_does_not_read_them_by_that() -> None:
    assert not loader(STATE).visibility(SCHOOL)


@pytest.mark.parametrize(
    ("roles", "seen"),
    [
        pytest.param(
            [READER_ROLE], VisibilityClass.EXACT_RELEASED, id="individual results: exact, once released"
        ),
        pytest.param([MASKED_READER_ROLE], VisibilityClass.MASKED, id="aggregates only: masked"),
        pytest.param(
            [READER_ROLE, "EMBARGO_ADMIN"], VisibilityClass.EXACT_REVIEWING, id="who reviews sees it before"
        ),
        pytest.param([READER_ROLE, "DevOps"], VisibilityClass.EXACT_LOADING, id="who loads sees it all"),
        pytest.param([MASKED_READER_ROLE, "DevOps"], VisibilityClass.MASKED, id="masked whatever else"),
        pytest.param(["DevOps"], None, id="the state of a release is no right to its figures"),
        pytest.param([IMPORT_ROLE], None, id="loading is not reading"),
    ],
)
def test_what_is_shown_follows_from_the_roles(roles: list[str], seen: VisibilityClass | None) -> None:
    rights = BUILT_IN_ROLES.rights(Grant(role, DISTRICT) for role in roles)
    assert rights.visibility(SCHOOL) is seen
    assert rights.visibility(OTHER_SCHOOL) is None


def test_a_district_reviewer_sees_the_county_without_what_is_unreleased() -> None:
    rights = BUILT_IN_ROLES.rights([Grant(READER_ROLE, COUNTY), Grant("EMBARGO_ADMIN", DISTRICT)])
    assert rights.visibility(DISTRICT) is VisibilityClass.EXACT_REVIEWING
    assert rights.visibility(COUNTY) is VisibilityClass.EXACT_RELEASED


def test_the_roles_that_open_nothing_are_those_that_shall_not() -> None:
    assert {role for role, held in ROLE_PERMISSIONS.items() if not held} == {
        "Interim Administrator Only",
        "Data Entry",
        "Correspondence",
    }


def test_effective_permissions_name_the_fewest_organizations_that_say_it() -> None:
    rights = reader(SCHOOL, DISTRICT, OTHER_SCHOOL)
    assert rights.holdings()[Permission.CUSTOM_AGGREGATE_READ] == [DISTRICT, OTHER_SCHOOL]
    assert Permission.DATA_WRITE not in rights.holdings()


def test_the_refusal_names_no_organization() -> None:
    assert not any(character.isdigit() for character in str(Forbidden()))
