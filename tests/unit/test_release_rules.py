"""Who may move a district's release state, and from where to where: the whole table."""

from __future__ import annotations

import pytest

from gateway.release_rules import is_loader_and_district_reviewer, may_change, may_know
from schemas.access.permissions import Grant, Permission, Rights
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, RELEASE_ROLE
from schemas.identifiers import STATE, OrganizationId
from schemas.releases import ReleaseState

COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
OTHER_DISTRICT = OrganizationId("19990020000000")
OTHER_COUNTY = OrganizationId("37000000000000")

LOADS, REVIEWS = Permission.TEST_DATA_LOADING_WRITE, Permission.TEST_DATA_REVIEWING_WRITE
LOADING, REVIEWING, RELEASED = ReleaseState
ALL_MOVES = {(before, after) for before in ReleaseState for after in ReleaseState}
NOTHING = {(state, state) for state in ReleaseState}
LOADERS = NOTHING | {(LOADING, REVIEWING), (REVIEWING, LOADING)}
REVIEWERS = NOTHING | {(REVIEWING, RELEASED), (RELEASED, REVIEWING)}


def rights(loads: set[OrganizationId], reviews: set[OrganizationId]) -> Rights:
    held = {LOADS: frozenset(loads), REVIEWS: frozenset(reviews)}
    return Rights({permission: where for permission, where in held.items() if where})


@pytest.mark.parametrize(
    ("loads", "reviews", "moves"),
    [
        pytest.param(set(), set(), NOTHING, id="nobody moves anything"),
        pytest.param({STATE}, set(), LOADERS, id="the state's loader"),
        pytest.param({DISTRICT}, set(), LOADERS, id="the district's loader"),
        pytest.param({COUNTY}, set(), LOADERS, id="a loader of the whole county"),
        pytest.param({OTHER_DISTRICT}, set(), NOTHING, id="another district's loader"),
        pytest.param({OTHER_COUNTY}, set(), NOTHING, id="another county's loader"),
        pytest.param({SCHOOL}, set(), NOTHING, id="a loader of one of its schools"),
        pytest.param(set(), {STATE}, REVIEWERS, id="the state's reviewer"),
        pytest.param(set(), {DISTRICT}, REVIEWERS, id="the district's reviewer"),
        pytest.param(set(), {COUNTY}, REVIEWERS, id="a reviewer of the whole county"),
        pytest.param(set(), {OTHER_DISTRICT}, NOTHING, id="another district's reviewer"),
        pytest.param(set(), {SCHOOL}, NOTHING, id="a reviewer of one of its schools"),
        pytest.param({STATE}, {STATE}, ALL_MOVES, id="the state's loader and reviewer"),
        pytest.param({DISTRICT}, {STATE}, ALL_MOVES, id="the district's loader who reviews for the state"),
        pytest.param({OTHER_DISTRICT}, {STATE}, REVIEWERS, id="a loader elsewhere who reviews for the state"),
        pytest.param(
            {STATE}, {STATE, DISTRICT}, ALL_MOVES, id="the state's both, and the district's reviewer"
        ),
        pytest.param({DISTRICT}, {DISTRICT}, NOTHING, id="the district's loader who is its reviewer"),
        pytest.param({STATE}, {DISTRICT}, NOTHING, id="the state's loader who is the district's reviewer"),
        pytest.param({STATE}, {OTHER_DISTRICT}, NOTHING, id="the state's loader who reviews elsewhere"),
        pytest.param({OTHER_DISTRICT}, {DISTRICT}, NOTHING, id="the reviewer who loads elsewhere"),
        pytest.param({STATE}, {COUNTY}, NOTHING, id="the state's loader who reviews for a county"),
        pytest.param({STATE}, {SCHOOL}, LOADERS, id="the state's loader; a school has no states to review"),
    ],
)
def test_each_office_makes_its_own_step_and_no_other(
    loads: set[OrganizationId],
    reviews: set[OrganizationId],
    moves: set[tuple[ReleaseState, ReleaseState]],
) -> None:
    holder = rights(loads, reviews)
    allowed = {move for move in ALL_MOVES if may_change(holder, DISTRICT, *move).allowed}
    assert allowed == moves


@pytest.mark.parametrize(
    ("before", "after", "needed"),
    [
        (LOADING, LOADING, ()),
        (LOADING, REVIEWING, (LOADS,)),
        (LOADING, RELEASED, (LOADS, REVIEWS)),
        (REVIEWING, LOADING, (LOADS,)),
        (REVIEWING, REVIEWING, ()),
        (REVIEWING, RELEASED, (REVIEWS,)),
        (RELEASED, LOADING, (LOADS, REVIEWS)),
        (RELEASED, REVIEWING, (REVIEWS,)),
        (RELEASED, RELEASED, ()),
    ],
)
def test_a_refusal_names_every_permission_that_is_missing(
    before: ReleaseState, after: ReleaseState, needed: tuple[Permission, ...]
) -> None:
    nobodys = may_change(Rights({}), DISTRICT, before, after)
    assert nobodys.needed == nobodys.missing == needed
    loaders = may_change(rights({STATE}, set()), DISTRICT, before, after)
    assert loaders.missing == tuple(permission for permission in needed if permission is REVIEWS)


def test_a_loader_who_reviews_a_district_is_refused_for_that_and_not_for_a_missing_permission() -> None:
    both = rights({DISTRICT}, {DISTRICT})
    assert is_loader_and_district_reviewer(both)
    verdict = may_change(both, DISTRICT, LOADING, REVIEWING)
    assert verdict.divided
    assert not verdict.missing


@pytest.mark.parametrize(
    ("role", "organization", "knows"),
    [
        (RELEASE_ROLE, STATE, {DISTRICT, OTHER_DISTRICT}),
        ("EMBARGO_ADMIN", DISTRICT, {DISTRICT}),
        (READER_ROLE, DISTRICT, {DISTRICT}),
        (READER_ROLE, COUNTY, {DISTRICT, OTHER_DISTRICT}),
        (READER_ROLE, SCHOOL, set()),
        ("GROUP_ADMIN", DISTRICT, set()),
    ],
)
def test_how_far_a_districts_results_are_is_known_to_those_who_see_or_move_them(
    role: str, organization: OrganizationId, knows: set[OrganizationId]
) -> None:
    holder = BUILT_IN_ROLES.rights([Grant(role, organization)])
    assert {one for one in (DISTRICT, OTHER_DISTRICT) if may_know(holder, one)} == knows
