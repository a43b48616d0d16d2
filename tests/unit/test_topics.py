"""What subscribers may write: topics, subtrees, filters, times; and what they are told when it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cell_filter import ALL_CELLS, CellFilter
from gateway.topics import Topic, parse_filter, parse_since, parse_topics
from schemas.aggregates import CellField
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel

STATE = OrganizationId("00000000000000")
COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")


def test_topics_name_organizations_each_once_and_in_order() -> None:
    asked = [
        f"district/{DISTRICT}",
        f"school/{SCHOOL}",
        "district/19-99001-0000000",
        f"state/{STATE}",
        f"district/{DISTRICT}/schools",
    ]
    assert parse_topics(asked, 10) == (
        Topic(DISTRICT),
        Topic(SCHOOL),
        Topic(STATE),
        Topic(DISTRICT, OrganizationLevel.SCHOOL),
    )


SUBTREES = [
    f"district/{DISTRICT}/schools",
    f"county/{COUNTY}/districts",
    f"county/{COUNTY}/schools",
    f"state/{STATE}/counties",
    f"state/{STATE}/districts",
    f"state/{STATE}/schools",
]


@pytest.mark.parametrize("text", [f"school/{SCHOOL}", f"county/{COUNTY}", *SUBTREES])
def test_a_topic_is_told_as_it_is_written(text: str) -> None:
    [topic] = parse_topics([text], 1)
    assert str(topic) == text


@pytest.mark.parametrize(
    ("topics", "named"),
    [
        pytest.param([], "no topic", id="none"),
        pytest.param(["school/1"] * 3, "3 topics are too many; one stream takes up to 2", id="too many"),
        pytest.param([SCHOOL], "is no topic", id="without a level"),
        pytest.param([f"classroom/{SCHOOL}"], "is no topic", id="of a level that there is not"),
        pytest.param(["school/1999"], "'1999' is not a CDS code", id="with a short code"),
        pytest.param(["school/*"], r"'\*' is not a CDS code", id="with a pattern"),
        pytest.param(
            [f"school/{DISTRICT}"], f"write district/{DISTRICT}", id="of another level than its code"
        ),
        pytest.param([f"district/{SCHOOL}"], f"write school/{SCHOOL}", id="a school called a district"),
        pytest.param(
            [f"district/{COUNTY}/schools"], f"write county/{COUNTY}", id="a county called a district"
        ),
        pytest.param(
            [f"school/{SCHOOL}/schools"], f"nothing is below a school; write school/{SCHOOL}", id="below"
        ),
        pytest.param(
            [f"district/{DISTRICT}/districts"],
            f"write district/{DISTRICT} or district/{DISTRICT}/schools",
            id="a level that is not below",
        ),
        pytest.param([f"district/{DISTRICT}/"], "is no topic", id="with a slash at its end"),
        pytest.param([f"district/{DISTRICT}/schools/"], "is no topic", id="with more than a level"),
        pytest.param([f"district/{DISTRICT}/Schools"], "is no topic", id="in capitals"),
        pytest.param([f"school/{SCHOOL}\nevent: put"], "is not a CDS code", id="with a line of its own"),
        pytest.param(["school/١٩٩٩٠٠١٠٠٠٠١٠١"], "is not a CDS code", id="with other digits than ours"),
    ],
)
def test_a_wrong_topic_is_named_with_the_remedy(topics: list[str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse_topics(topics, 2)


@given(st.text(max_size=400))
def test_whatever_is_written_is_a_topic_or_refused_in_a_few_words(text: str) -> None:
    try:
        [topic] = parse_topics([text], 1)
    except InvalidInput as refused:
        assert len(str(refused)) < 400
    else:
        assert parse_topics([str(topic)], 1) == (topic,)


@pytest.mark.parametrize(
    ("topic", "narrower"),
    [
        (f"state/{STATE}/schools", "county/<CDS>/schools"),
        (f"state/{STATE}/districts", "county/<CDS>/districts"),
        (f"state/{STATE}/counties", None),
        (f"county/{COUNTY}/schools", "district/<CDS>/schools"),
        (f"county/{COUNTY}/districts", None),
        (f"district/{DISTRICT}/schools", None),
        (f"district/{DISTRICT}", None),
    ],
)
def test_a_subtree_knows_by_which_smaller_ones_it_could_be_asked_for(
    topic: str, narrower: str | None
) -> None:
    assert parse_topics([topic], 1)[0].narrower() == narrower


CELLS = [
    CellField(name) for name in ("2026:ELA-SUM:03", "2026:ELA-SUM:KG", "2026:CAST:05", "2025:ELA-SUM:03")
]


def chosen(wanted: CellFilter) -> list[int]:
    return [index for index, name in enumerate(CELLS) if wanted(name)]


def test_filters_narrow_by_what_is_said() -> None:
    assert chosen(ALL_CELLS) == chosen(parse_filter()) == [0, 1, 2, 3]
    assert chosen(parse_filter(years=["2026"])) == [0, 1, 2]
    assert chosen(parse_filter(tests=["ELA-SUM"], grades=["3"])) == [0, 3]
    assert chosen(parse_filter(grades=["kg"])) == [1]
    assert chosen(parse_filter(years=["2025"], tests=["CAST"])) == []


def test_several_values_of_a_filter_mean_any_of_them() -> None:
    assert chosen(parse_filter(grades=["KG", "5"])) == [1, 2]
    assert chosen(parse_filter(tests=["CAST", "ELA-SUM"], years=[2025, "2026"])) == [0, 1, 2, 3]


def test_filters_that_say_the_same_are_one_key() -> None:
    one = parse_filter(grades=["3", "KG"], years=["2026"])
    other = parse_filter(grades=["kg", "03", "03"], years=[2026])
    assert one == other and hash(one) == hash(other)
    assert parse_filter() == ALL_CELLS


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"years": ["26"]}, "year is '26'", id="a year of two digits"),
        pytest.param({"years": [True]}, "year is 'True'", id="a year that is no number"),
        pytest.param({"tests": ["ela sum"]}, "test is 'ela sum'", id="no test code"),
        pytest.param({"grades": ["13"]}, "'13' is not a grade", id="a grade that there is not"),
        pytest.param({"grades": []}, "leave the list out", id="an empty list"),
        pytest.param({"tests": ["ELA-SUM"] * 65}, "65 values of test are too many", id="too many"),
    ],
)
def test_a_filter_that_names_nothing_is_refused(values: dict[str, list[str]], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse_filter(**values)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1777896000123", 1777896000123),
        ("2026-05-04T12:00:00Z", 1777896000000),
        ("2026-05-04t12:00:00.123999z", 1777896000123),
        ("2026-05-04T14:00:00+02:00", 1777896000000),
        ("1960-01-01T00:00:00Z", 0),
    ],
)
def test_since_is_milliseconds_or_a_time_with_its_zone(text: str, milliseconds: int) -> None:
    assert parse_since(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-05-04",
        "2026-05-04T12:00:00",
        "2026-05-04T14:00:00 02:00",
        "2026-02-30T12:00:00Z",
        "-1",
    ],
)
def test_a_time_that_may_mean_several_moments_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected a time with its zone"):
        parse_since(text)
