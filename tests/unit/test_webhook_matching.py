"""Whom a change concerns, and whether it is news to them."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.webhooks.matching import (
    Followers,
    affected_by_release,
    cell_listeners,
    follows_schools_of,
    is_news,
    wants,
)
from schemas.access.permissions import Grant, Rights
from schemas.access.roles import BUILT_IN_ROLES, MASKED_READER_ROLE, READER_ROLE
from schemas.aggregates import CellField
from schemas.identifiers import STATE, OrganizationId, county_of
from schemas.webhooks.endpoints import Endpoint, EventType, Followed
from schemas.webhooks.messages import Told

DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
OTHER_DISTRICT = OrganizationId("19990020000000")
CELL = CellField("2026:ELA-SUM:03")


def endpoint(name: str, *follows: Followed, role: str = READER_ROLE, **wanted: Any) -> Endpoint:
    return Endpoint(
        id=name,
        url="https://example.org",
        subject="an owner",
        grants=(Grant(role, STATE),),
        follows=follows,
        **wanted,
    )


def rights(one: Endpoint) -> Rights:
    return BUILT_IN_ROLES.rights(one.grants)


def heard(followers: Followers, organization: OrganizationId, *, published: bool = False) -> list[str]:
    found = cell_listeners(followers.of(organization), organization, CELL, rights, published=published)
    return sorted(one.id for one in found)


def test_a_school_concerns_whoever_follows_it_or_one_above_with_everything_below() -> None:
    followers = Followers(
        [
            endpoint("school", Followed(SCHOOL)),
            endpoint("district", Followed(DISTRICT)),
            endpoint("state", Followed(STATE)),
            endpoint("district alone", Followed(DISTRICT, below=False)),
            endpoint("another district", Followed(OTHER_DISTRICT)),
        ]
    )
    assert heard(followers, SCHOOL) == ["district", "school", "state"]
    assert heard(followers, DISTRICT) == ["district", "district alone", "state"]
    assert heard(followers, OTHER_DISTRICT) == ["another district", "state"]


def test_one_that_follows_a_school_twice_hears_of_it_once() -> None:
    followers = Followers([endpoint("both", Followed(SCHOOL), Followed(DISTRICT))])
    assert heard(followers, SCHOOL) == ["both"]


def test_who_sees_published_figures_hears_of_those_and_of_nothing_else() -> None:
    followers = Followers(
        [
            endpoint("exact", Followed(DISTRICT)),
            endpoint("masked", Followed(DISTRICT), role=MASKED_READER_ROLE),
            endpoint("nobody", Followed(DISTRICT), role="a role that nobody has defined"),
        ]
    )
    assert heard(followers, SCHOOL) == ["exact"]
    assert heard(followers, SCHOOL, published=True) == ["masked"]


def test_an_endpoint_hears_only_of_the_events_that_it_wants() -> None:
    followers = Followers(
        [endpoint("releases only", Followed(DISTRICT), events=(EventType.RELEASE_CHANGED,))]
    )
    assert heard(followers, SCHOOL) == []


@pytest.mark.parametrize(
    ("tests", "grades", "wanted"),
    [
        ((), (), True),
        (("ELA-SUM",), (), True),
        (("MATH-SUM",), (), False),
        ((), ("03", "04"), True),
        (("ELA-SUM",), ("05",), False),
    ],
    ids=["everything", "its test", "another test", "its grade", "its test in another grade"],
)
def test_an_endpoint_hears_of_its_tests_and_grades(
    tests: tuple[str, ...], grades: tuple[str, ...], wanted: bool
) -> None:
    assert wants(endpoint("one", Followed(STATE), tests=tests, grades=grades), CELL) is wanted


def test_a_release_concerns_the_figures_of_the_district_and_of_those_above_it() -> None:
    everything = endpoint("everything", Followed(STATE))
    assert set(affected_by_release(everything, DISTRICT)) == {DISTRICT, county_of(DISTRICT), STATE}
    assert follows_schools_of(everything, DISTRICT)
    alone = endpoint("the state alone", Followed(STATE, below=False))
    assert affected_by_release(alone, DISTRICT) == [STATE]
    assert not follows_schools_of(alone, DISTRICT)
    one_school = endpoint("a school", Followed(SCHOOL))
    assert affected_by_release(one_school, DISTRICT) == [SCHOOL]
    assert affected_by_release(one_school, OTHER_DISTRICT) == []


KNOWN = Told(5, 1_000, 40.0)


@pytest.mark.parametrize(
    ("now", "known", "points", "news"),
    [
        (Told(1, 10, 40.0), None, 5.0, True),
        (Told(5, 1_000, 40.0), KNOWN, None, False),
        (Told(6, 1_000, 40.0), KNOWN, None, True),
        (Told(2, 2_000, 40.0), KNOWN, None, True),
        (Told(4, 900, 40.0), KNOWN, None, False),
        (Told(6, 1_100, 40.9), KNOWN, 1.0, False),
        (Told(6, 1_100, 41.0), KNOWN, 1.0, True),
        (Told(6, 1_100, 38.9), KNOWN, 1.0, True),
        (Told(6, 1_100, None), KNOWN, 1.0, True),
        (Told(4, 900, 40.0, True), Told(5, 1_000, 40.0, True), None, True),
        (Told(5, 1_000, 40.0, True), Told(5, 1_000, 40.0, True), None, False),
    ],
    ids=[
        "never told",
        "told already",
        "a later version",
        "a later time, as after a rebuild",
        "earlier, as while Redis is restored",
        "moved by less than a point",
        "moved up by a point",
        "moved down by more than a point",
        "no share any more",
        "a sum over fewer districts",
        "the same sum",
    ],
)
def test_what_is_news_to_an_endpoint(now: Told, known: Told | None, points: float | None, news: bool) -> None:
    assert is_news(now, known, points) is news
