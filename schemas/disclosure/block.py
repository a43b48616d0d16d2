"""A block: schools that are published as one sum. All published totals are sums of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.aggregates import LEVELS, MEASURES_AT_MOST
from schemas.disclosure.held import Held, held_from, total
from schemas.disclosure.rules import Rules
from schemas.disclosure.school import School
from schemas.identifiers import STATE, OrganizationId, county_of, district_of


class Statement(NamedTuple):
    """Totals of some schools that may be published now."""

    held: Held
    measures: tuple[int, ...]  # those that are as they are now; the others stand as they stood


class Block:
    """Schools that are published as one sum, ``held``, which stands still until it may move."""

    __slots__ = ("held", "is_live", "organization", "schools")

    def __init__(self, schools: Sequence[School], held: Held) -> None:
        self.schools = tuple(schools)
        self.organization = smallest_around([school.organization for school in schools])
        self.held = held
        self.is_live = False  # whether totals contain it

    @property
    def is_whole(self) -> bool:
        """Whether all its schools are released; of a part of them nothing may be said."""
        return all(school.is_present for school in self.schools)

    @property
    def students(self) -> int:
        """Students with scores that it stands for by now."""
        return sum(school.actual.with_scores for school in self.schools)


def statement(
    schools: Sequence[School], rules: Rules, held: Held | None = None, *, is_pool: bool = False
) -> Statement | None:
    """What may be published now about some schools as one sum; None: nothing.

    ``held`` is what is published of this very block; a claim that may not move yet keeps its counts of then. A pool is
    what is left over beside schools that are shown.
    """
    actual = total(school.actual for school in schools)
    measures = tuple(
        measure
        for measure in range(MEASURES_AT_MOST)
        if _may_be_told(schools, measure, actual.level_counts(measure), rules, is_pool)
    )
    if 0 not in measures:
        return None
    levels: list[int] = []
    for measure in range(MEASURES_AT_MOST):
        if measure in measures:
            levels += actual.level_counts(measure)
        else:
            levels += held.level_counts(measure) if held else (0,) * LEVELS
    return Statement(held_from(levels, actual.score_sum), measures)


def new_students(schools: Sequence[School], measure: int = 0) -> int:
    """Students whose results of a measure nothing published contains, at least so many."""
    return sum(school.new_students(measure) for school in schools)


def smallest_around(schools: Sequence[OrganizationId]) -> OrganizationId:
    """The smallest organization that contains all these schools."""
    first = schools[0]
    if len(schools) == 1:
        return first
    for around in (district_of, county_of):
        if len({around(school) for school in schools}) == 1:
            return around(first)
    return STATE


def _may_be_told(
    schools: Sequence[School], measure: int, counts: tuple[int, ...], rules: Rules, is_pool: bool
) -> bool:
    students = sum(counts)
    if not students or not (rules.is_enough_hidden(students) if is_pool else rules.is_enough(students)):
        return False
    if not rules.is_spread(counts):
        return False
    if not any(school.is_known(measure) for school in schools):
        return True  # all of them are new
    new = [sum(counts) for counts in zip(*(school.new_levels(measure) for school in schools), strict=True)]
    return rules.is_new_enough(new_students(schools, measure)) and rules.is_spread(new)
