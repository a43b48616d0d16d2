"""The attacker of ``disclosure_attack`` finds nothing against the rules, and something against them less any one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from disclosure_attack import Result, WatchedFamily, attack, small_groups

from schemas.disclosure.block import Block
from schemas.disclosure.rules import Rules

SEEDS = range(25)


class _AnyNumber(Rules):
    def is_enough(self, students: int) -> bool:
        return students > 0


class _NoComplement(Rules):
    def is_enough_hidden(self, students: int) -> bool:
        return students > 0


class _OneLevel(Rules):
    def is_spread(self, levels: object) -> bool:
        return True


class _EachChange(Rules):
    def is_new_enough(self, students: int) -> bool:
        return students > 0


class _NoMemory(Rules):
    def remembered(self, students: int) -> int:
        return 0


class _KeepsShowing(Rules):
    def hides(self, students: int) -> bool:
        return False


class _Forgetful(WatchedFamily):
    """Shows a school that was hidden as if it never had been shown."""

    def _dissolve(self, block: Block) -> None:
        super()._dissolve(block)
        for school in block.schools:
            school.known = ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_season_of_published_states_isolates_no_group_below_the_minimum(seed: int) -> None:
    assert attack(seed) == []


@pytest.mark.parametrize(
    ("without", "how"),
    [
        pytest.param(_AnyNumber, "a cell", id="the minimum"),
        pytest.param(_NoComplement, "parent minus children", id="complementary suppression"),
        pytest.param(_OneLevel, "a cell in one level", id="all students in one level"),
        pytest.param(_EachChange, "two moments of a cell", id="holding changes back"),
        pytest.param(_NoMemory, "two moments of a cell", id="remembering what left and what moved"),
        pytest.param(_KeepsShowing, "shown although fewer are left", id="hiding at once"),
    ],
)
def test_each_rule_is_needed_without_it_the_attacker_finds_groups(
    without: Callable[[], Rules], how: str
) -> None:
    assert any(finding.how == how for seed in SEEDS for finding in attack(seed, without()))


def test_what_was_hidden_binds_what_is_shown_next_without_it_the_attacker_finds_groups() -> None:
    found = [finding.how for seed in SEEDS for finding in attack(seed, made=_Forgetful)]

    assert "two moments of a cell" in found


def test_the_attacker_combines_states_that_no_pair_of_them_gives_away() -> None:
    """A base, A and B, A and C, B and C, with 20, 1, 11 and 11 students: all pairs differ by 11 students and more."""

    def group(first: int, count: int) -> frozenset[tuple[Result, int]]:
        return frozenset((Result(number, 1, 1, 2400), 1) for number in range(first, first + count))

    base, a, b, c = group(0, 20), group(100, 1), group(200, 11), group(300, 11)
    states = [base, base | a | b, base | a | c, base | b | c]

    found = [{result.student for result in results} for results in small_groups([states])]

    assert found == [{100}]


def test_the_attacker_finds_nothing_where_each_state_brings_enough_new_students() -> None:
    states = [
        frozenset((Result(number, 1, 1, 2400), 1) for number in range(drop, 20 + 11 * step))
        for step, drop in enumerate((0, 1, 5, 5, 6))
    ]

    assert list(small_groups([states])) == []
