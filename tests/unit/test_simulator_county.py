"""The fictional county: sizes, codes and names."""

from __future__ import annotations

from collections import Counter

import pytest

from cli.simulator.county import fictional_county, plan_county
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, ancestry, level_of
from schemas.organizations import Directory


def test_forty_schools_are_a_county_of_five_districts() -> None:
    kinds = Counter(entry.kind for entry in fictional_county(40, seed=1))
    assert kinds == {"state": 1, "county": 1, "district": 5, "school": 40}


@pytest.mark.parametrize("schools", [1, 7, 40, 2000])
def test_every_organization_is_listed_once_with_all_above_it(schools: int) -> None:
    entries = fictional_county(schools, seed=3)
    directory = Directory(entries)
    assert len(directory) == len(entries)
    for entry in entries:
        assert entry.kind == level_of(OrganizationId(entry.cds)).value
        assert all(above in directory for above in ancestry(OrganizationId(entry.cds)))


def test_two_thousand_schools_spread_over_several_counties() -> None:
    kinds = Counter(entry.kind for entry in fictional_county(2000, seed=1))
    assert (kinds["county"], kinds["district"], kinds["school"]) == (4, 250, 2000)


@pytest.mark.parametrize("seed", range(25))
def test_the_county_number_is_one_that_california_does_not_use(seed: int) -> None:
    codes = {entry.cds[:2] for entry in fictional_county(2000, seed) if entry.kind == "county"}
    assert all(59 <= int(code) <= 98 for code in codes)


def test_every_grade_is_taught_in_every_district_of_eight_schools() -> None:
    county = plan_county(40, seed=1)
    grades: dict[str, set[str]] = {}
    for school in county.schools:
        grades.setdefault(school.cds[:7], set()).update(school.grades)
    assert {len(taught) for taught in grades.values()} == {13}


def test_names_of_a_small_county_are_all_different() -> None:
    names = [entry.name for entry in fictional_county(200, seed=1)]
    assert len(set(names)) == len(names)


def test_same_seed_same_county_other_seed_other_names() -> None:
    assert fictional_county(40, seed=7) == fictional_county(40, seed=7)
    assert fictional_county(40, seed=7) != fictional_county(40, seed=8)


@pytest.mark.parametrize("schools", [0, -1, 10_001])
def test_an_impossible_number_of_schools_is_refused(schools: int) -> None:
    with pytest.raises(InvalidInput, match=f"--schools is {schools}"):
        fictional_county(schools, seed=1)
