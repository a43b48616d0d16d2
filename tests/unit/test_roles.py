"""What grants come to: roles, the levels at which they are granted, groups; and what can never come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.access.permissions import (
    GROUP_LEVEL,
    Grant,
    GroupGrant,
    GroupKind,
    Permission,
    Rights,
    VisibilityClass,
)
from schemas.access.roles import (
    BUILT_IN_ROLES,
    CANARY_ROLE,
    READER_ROLE,
    ROLE_LEVELS,
    ROLE_PERMISSIONS,
    Group,
    Roles,
)
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry, level_of

COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
SIBLING = OrganizationId("19990010000102")
OTHER_DISTRICT = OrganizationId("19990020000000")
OTHER_SCHOOL = OrganizationId("19990020000201")
FAR_COUNTY = OrganizationId("37000000000000")
FAR_DISTRICT = OrganizationId("37990010000000")
FAR_SCHOOL = OrganizationId("37990010000101")
EVERYTHING = (
    STATE,
    *(COUNTY, DISTRICT, SCHOOL, SIBLING, OTHER_DISTRICT, OTHER_SCHOOL),
    *(FAR_COUNTY, FAR_DISTRICT, FAR_SCHOOL),
)
ROLES = Roles(
    groups={
        "north": Group(GroupKind.DISTRICTS, frozenset({DISTRICT, FAR_DISTRICT})),
        "arts": Group(GroupKind.SCHOOLS, frozenset({SCHOOL, OTHER_SCHOOL})),
        "nobody": Group(GroupKind.SCHOOLS, frozenset()),
        "reading": Group(GroupKind.STUDENTS, frozenset({SCHOOL})),
    }
)
SEES_MORE = (
    None,
    VisibilityClass.MASKED,
    VisibilityClass.EXACT_RELEASED,
    VisibilityClass.EXACT_REVIEWING,
    VisibilityClass.EXACT_LOADING,
)

role_names = st.sampled_from([*ROLE_PERMISSIONS, "SOMETHING_NEW", ""])
plain_grants = st.builds(Grant, role_names, st.sampled_from(EVERYTHING))
group_grants = st.builds(
    GroupGrant,
    role_names,
    st.sampled_from([*ROLES.groups, "unknown"]),
    st.sampled_from([None, *GroupKind]),
)
any_grants = st.lists(st.one_of(plain_grants, group_grants), max_size=5)


def opened(rights: Rights) -> set[tuple[Permission, OrganizationId]]:
    return {(one, where) for one in Permission for where in EVERYTHING if rights.covers(one, where)}


@given(any_grants, any_grants)
def test_another_grant_never_takes_anything_away(
    grants: list[Grant | GroupGrant], more: list[Grant | GroupGrant]
) -> None:
    before, after = ROLES.rights(grants), ROLES.rights([*grants, *more])
    assert opened(before) <= opened(after)
    for where in EVERYTHING:
        assert SEES_MORE.index(after.visibility(where)) >= SEES_MORE.index(before.visibility(where))
    for permission, groups in before.student_groups.items():
        assert groups <= after.student_groups[permission]


@given(any_grants, any_grants)
def test_grants_add_up_to_no_more_than_each_opens(
    grants: list[Grant | GroupGrant], more: list[Grant | GroupGrant]
) -> None:
    together = ROLES.rights([*grants, *more])
    assert opened(together) == opened(ROLES.rights(grants)) | opened(ROLES.rights(more))


@given(plain_grants)
def test_a_grant_opens_nothing_above_or_beside_it(grant: Grant) -> None:
    rights = ROLES.rights([grant])
    for where in EVERYTHING:
        if grant.organization not in ancestry(where):
            assert rights.visibility(where) is None
            assert not any(rights.covers(permission, where) for permission in Permission)


@given(plain_grants)
def test_what_holds_for_an_organization_holds_for_all_below_it(grant: Grant) -> None:
    rights = ROLES.rights([grant])
    for where in EVERYTHING:
        for lower, upper in pairwise(ancestry(where)):
            held_above = {permission for permission in Permission if rights.covers(permission, upper)}
            assert all(rights.covers(permission, lower) for permission in held_above)


@given(st.text(max_size=30).filter(lambda name: name not in ROLE_PERMISSIONS), st.sampled_from(EVERYTHING))
def test_a_role_that_nobody_has_defined_opens_nothing(name: str, where: OrganizationId) -> None:
    assert ROLES.rights(
        [Grant(name, where), GroupGrant(name, "north"), GroupGrant(name, "reading")]
    ) == Rights({})


@given(role_names, st.sampled_from(["north", "arts", "nobody"]))
def test_a_group_is_exactly_its_members(role: str, group: str) -> None:
    each = [Grant(role, member) for member in ROLES.groups[group].members]
    assert opened(ROLES.rights([GroupGrant(role, group)])) == opened(ROLES.rights(each))


@given(role_names)
def test_a_group_of_students_opens_no_organization(role: str) -> None:
    rights = ROLES.rights([GroupGrant(role, "reading")])
    assert opened(rights) == set()
    assert set(rights.student_groups) <= GROUP_LEVEL


def test_a_teacher_holds_the_permissions_of_groups_for_the_group() -> None:
    rights = ROLES.rights([GroupGrant("Educator, Roster", "reading", GroupKind.STUDENTS)])
    assert rights.student_groups == {
        permission: frozenset({"reading"})
        for permission in (
            Permission.GROUP_PII_READ,
            Permission.GROUP_READ,
            Permission.TEACHER_GROUP_READ,
            Permission.TEACHER_GROUP_WRITE,
        )
    }


def test_what_has_changed_is_named() -> None:
    roles = replace(
        ROLES,
        permissions={**ROLE_PERMISSIONS, "Clerk": frozenset()},
        levels={**ROLE_LEVELS, "PII": frozenset({OrganizationLevel.SCHOOL})},
        groups={name: group for name, group in ROLES.groups.items() if name != "arts"},
    )
    assert roles.changed_since(ROLES) == ("role Clerk", "role PII", "group arts")
    assert ROLES.changed_since(ROLES) == ()


def test_a_group_of_another_kind_is_another_group() -> None:
    assert not ROLES.rights([GroupGrant(READER_ROLE, "arts", GroupKind.DISTRICTS)]).visibility(SCHOOL)
    assert ROLES.rights([GroupGrant(READER_ROLE, "arts", GroupKind.SCHOOLS)]).visibility(SCHOOL)
    assert ROLES.rights([GroupGrant(READER_ROLE, "arts")]).visibility(SCHOOL)


@pytest.mark.parametrize("where", EVERYTHING)
@pytest.mark.parametrize("role", ROLE_LEVELS)
def test_a_role_opens_nothing_at_a_level_where_it_is_not_granted(role: str, where: OrganizationId) -> None:
    rights = BUILT_IN_ROLES.rights([Grant(role, where)])
    if level_of(where) not in ROLE_LEVELS[role] or role == CANARY_ROLE:
        assert rights == Rights({})
    else:
        assert {one for one in Permission if rights.covers(one, where)} == ROLE_PERMISSIONS[role]


@pytest.mark.parametrize(
    ("roles", "where", "seen"),
    [
        pytest.param(["LEA CAASPP Coordinator"], DISTRICT, {DISTRICT, SCHOOL, SIBLING}, id="LEA coordinator"),
        pytest.param(
            ["LEA ELPAC Coordinator"], DISTRICT, {DISTRICT, SCHOOL, SIBLING}, id="ELPAC coordinator"
        ),
        pytest.param(["Superintendent"], DISTRICT, {DISTRICT, SCHOOL, SIBLING}, id="superintendent"),
        pytest.param(["Educator, District"], DISTRICT, {DISTRICT, SCHOOL, SIBLING}, id="district educator"),
        pytest.param(["CAASPP Site Coordinator"], SCHOOL, {SCHOOL}, id="site coordinator"),
        pytest.param(["Educator, Test Site"], SCHOOL, {SCHOOL}, id="test site educator"),
        pytest.param(
            ["CAASPP Test Administrator", "ELPAC Test Examiner"], SCHOOL, set(), id="test administrator"
        ),
        pytest.param(["Educator, Roster"], SCHOOL, set(), id="roster educator"),
        pytest.param(
            ["Interim Administrator Only", "Data Entry"], SCHOOL, set(), id="interims and data entry"
        ),
    ],
)
def test_toms_roles_see_what_the_state_lets_them_see(
    roles: Sequence[str], where: OrganizationId, seen: set[OrganizationId]
) -> None:
    rights = BUILT_IN_ROLES.rights(Grant(role, where) for role in roles)
    assert {one for one in EVERYTHING if rights.visibility(one) is VisibilityClass.EXACT_RELEASED} == seen
    assert set(rights.visible_among(EVERYTHING)) == seen
