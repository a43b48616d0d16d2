"""From topics to organizations: what is granted on the root covers what is below, and nothing is listed that is too much."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gateway.cell_filter import CellFilter
from gateway.images import View
from gateway.subscriptions import Subscription, SubscriptionLimits, SubscriptionRequest
from gateway.tokens import Principal
from gateway.topics import parse_topics
from schemas.access.permissions import Forbidden, Grant, VisibilityClass
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE
from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry
from schemas.organization_list import OrganizationList

COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOLS = tuple(OrganizationId(f"19990010000{number}") for number in (101, 102, 103))
EMPTY_DISTRICT = OrganizationId("19990020000000")
COUNTY_SCHOOL = OrganizationId("19000000000777")  # run by the county itself
OTHER_DISTRICT = OrganizationId("37990030000000")
OTHER_SCHOOL = OrganizationId("37990030000301")
UNKNOWN_DISTRICT = OrganizationId("19990090000000")

ENTRIES = [
    *(
        OrganizationEntry(cds=code, name=f"Number {code}", kind="district")
        for code in (DISTRICT, EMPTY_DISTRICT)
    ),
    *(
        OrganizationEntry(cds=code, name=f"Number {code}", kind="school")
        for code in (*SCHOOLS, COUNTY_SCHOOL, OTHER_SCHOOL)
    ),
]
DIRECTORY = OrganizationList(ENTRIES, 1)


def holder(*organizations: OrganizationId, subject: str = "reader@example.test") -> Principal:
    grants = tuple(Grant(READER_ROLE, organization) for organization in organizations)
    expires = datetime.now(UTC) + timedelta(hours=1)
    return Principal(subject, grants, expires, "a-token", BUILT_IN_ROLES.rights(grants))


def asking(*topics: str, most: int = 100) -> Subscription:
    return Subscription(parse_topics(topics, 1_000), most_organizations=most)


def watched(subscription: Subscription, principal: Principal) -> list[OrganizationId]:
    return [view.organization for view in subscription.views(principal, DIRECTORY)]


def test_schools_of_a_district_are_its_schools_without_itself() -> None:
    assert watched(asking(f"district/{DISTRICT}/schools"), holder(DISTRICT)) == list(SCHOOLS)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (f"county/{COUNTY}/districts", [DISTRICT, EMPTY_DISTRICT]),
        (f"county/{COUNTY}/schools", [COUNTY_SCHOOL, *SCHOOLS]),
        (f"state/{STATE}/counties", [COUNTY, OrganizationId("37000000000000")]),
        (f"state/{STATE}/districts", [DISTRICT, EMPTY_DISTRICT, OTHER_DISTRICT]),
        (f"state/{STATE}/schools", [COUNTY_SCHOOL, *SCHOOLS, OTHER_SCHOOL]),
        (f"district/{EMPTY_DISTRICT}/schools", []),
    ],
)
def test_a_subtree_is_one_level_below_its_root(topic: str, expected: list[OrganizationId]) -> None:
    assert watched(asking(topic), holder(STATE)) == expected


def test_an_organization_that_several_topics_name_is_watched_once() -> None:
    subscription = asking(f"school/{SCHOOLS[1]}", f"district/{DISTRICT}/schools", f"county/{COUNTY}/schools")
    assert watched(subscription, holder(COUNTY)) == [SCHOOLS[1], SCHOOLS[0], SCHOOLS[2], COUNTY_SCHOOL]


def test_views_carry_the_filter() -> None:
    third_grade = CellFilter(grades=frozenset({"03"}))
    subscription = Subscription(parse_topics([f"school/{OTHER_SCHOOL}"], 1), third_grade)
    [view] = subscription.views(holder(OTHER_DISTRICT), DIRECTORY)
    assert view == View(OTHER_SCHOOL, VisibilityClass.EXACT_RELEASED, third_grade)


@pytest.mark.parametrize(
    "topic",
    [
        pytest.param(f"district/{OTHER_DISTRICT}/schools", id="another district's schools"),
        pytest.param(f"county/{COUNTY}/schools", id="the county's schools with a district's grant"),
        pytest.param(f"district/{UNKNOWN_DISTRICT}/schools", id="a district that there is not"),
        pytest.param(f"state/{STATE}/schools", id="a state's schools, too many as well"),
        pytest.param(f"school/{OTHER_SCHOOL}", id="another district's school"),
    ],
)
def test_whatever_is_not_open_is_refused_in_the_same_words(topic: str) -> None:
    with pytest.raises(Forbidden) as refused:
        asking(f"school/{SCHOOLS[0]}", topic, most=1).views(holder(DISTRICT), DIRECTORY)
    assert str(refused.value) == str(Forbidden())


def test_grants_on_all_schools_are_none_on_their_district() -> None:
    with pytest.raises(Forbidden):
        asking(f"district/{DISTRICT}/schools").views(holder(*SCHOOLS), DIRECTORY)


def state_of(schools: int) -> OrganizationList:
    codes = [f"{10 + number % 58:02d}{number % 5 + 1:05d}{number + 1:07d}" for number in range(schools)]
    return OrganizationList((OrganizationEntry(cds=code, name=code, kind="school") for code in codes), 1)


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        (f"state/{STATE}/schools", r"is 10,000 organizations; .* up to 2,000: .*county/<CDS>/schools"),
        ("county/10000000000000/schools", r"is 173 organizations; .* up to 100: .*district/<CDS>/schools"),
    ],
)
def test_too_large_a_subtree_is_refused_with_the_limit_and_smaller_ones(topic: str, told: str) -> None:
    most = 2_000 if "state" in topic else 100
    with pytest.raises(InvalidInput, match=told):
        asking(topic, most=most).views(holder(STATE), state_of(10_000))


def test_too_many_organizations_together_are_refused_with_the_limit() -> None:
    with pytest.raises(InvalidInput, match="these 2 topics are more than 3 organizations together"):
        asking(f"district/{DISTRICT}/schools", f"school/{COUNTY_SCHOOL}", most=3).views(
            holder(COUNTY), DIRECTORY
        )


def test_a_large_subtree_is_watched_when_the_limit_allows() -> None:
    assert len(asking(f"state/{STATE}/schools", most=10_000).views(holder(STATE), state_of(10_000))) == 10_000


def test_refusing_a_state_of_schools_lists_none_of_them() -> None:
    """Counted by bisection: refusing ten thousand takes no longer than refusing a hundred."""

    class Counting(OrganizationList):
        listed = 0

        def below(self, organization: OrganizationId, level: OrganizationLevel) -> list[OrganizationId]:
            self.listed += 1
            return list(super().below(organization, level))

    directory = Counting(ENTRIES, 1)
    with pytest.raises(InvalidInput):
        asking(f"state/{STATE}/schools", most=4).views(holder(STATE), directory)
    assert directory.listed == 0


def test_a_school_that_joins_its_district_joins_the_subtree() -> None:
    subscription = asking(f"district/{EMPTY_DISTRICT}/schools", f"school/{SCHOOLS[0]}", most=2)
    new = [OrganizationId(f"19990020000{number}") for number in (201, 202, 203)]
    grown = OrganizationList(
        [*ENTRIES, *(OrganizationEntry(cds=school, name=school, kind="school") for school in new)], 2
    )
    assert subscription.follows_directory
    # Beyond the limit of two: that holds at the door.
    views = subscription.views_now(holder(COUNTY), grown)
    assert [view.organization for view in views] == [*new, SCHOOLS[0]]


def test_what_left_the_directory_is_left_out_of_an_open_stream() -> None:
    subscription = asking(f"school/{SCHOOLS[0]}", f"school/{OTHER_SCHOOL}")
    left = OrganizationList(ENTRIES[-1:], 2)
    views = subscription.views_now(holder(STATE), left)
    assert [view.organization for view in views] == [OTHER_SCHOOL]
    assert not subscription.follows_directory


def test_a_fresh_token_must_open_all_that_is_watched() -> None:
    subscription = asking(f"district/{DISTRICT}/schools", f"school/{OTHER_SCHOOL}")
    assert subscription.open_to(holder(DISTRICT, OTHER_SCHOOL))
    assert not subscription.open_to(holder(DISTRICT))
    assert not subscription.open_to(holder(*SCHOOLS, OTHER_SCHOOL))


def test_what_is_watched_is_described_in_the_words_of_the_request() -> None:
    asked = SubscriptionRequest(
        topics=(f"district/{DISTRICT}/schools", f"school/{OTHER_SCHOOL}", f"school/{OTHER_SCHOOL}"),
        tests=("MATH-SUM", "ELA-SUM"),
        grades=("11", "kg", "3"),
        years=("2026", 2025),
    )
    assert asked.subscription(SubscriptionLimits()).described() == {
        "topics": [f"district/{DISTRICT}/schools", f"school/{OTHER_SCHOOL}"],
        "tests": ["ELA-SUM", "MATH-SUM"],
        "grades": ["KG", "03", "11"],
        "years": [2025, 2026],
    }
    assert asking(f"school/{OTHER_SCHOOL}").described() == {"topics": [f"school/{OTHER_SCHOOL}"]}


def test_a_request_with_words_that_mean_nothing_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="test"):
        msgspec.json.decode(
            b'{"topics":["state/00000000000000"],"test":["ELA-SUM"]}', type=SubscriptionRequest
        )


def test_all_below_an_organization_are_found_as_by_their_ancestors() -> None:
    directory = state_of(500)
    everything = directory.under(STATE)
    for root in (STATE, *everything[:40]):
        assert directory.under(root) == [one for one in everything if root in ancestry(one)]
        for level in OrganizationLevel:
            assert len(directory.below(root, level)) == directory.count_below(root, level)


def test_five_hundred_topics_are_judged_in_a_moment() -> None:
    directory = state_of(10_000)
    schools = directory.below(STATE, OrganizationLevel.SCHOOL)[:500]
    grants = [OrganizationId(f"{10 + number:02d}000000000000") for number in range(58)]
    subscription = asking(*(f"school/{school}" for school in schools), most=2_000)
    started = time.process_time()
    assert len(subscription.views(holder(*grants), directory)) == 500
    assert (
        time.process_time() - started < 0.25
    )  # about 2 ms; what would grow with the grants takes 50 times as long
