"""Cells are exact: adding undoes retracting, shares add up, packing loses nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.aggregates import Cell, Contribution, cell_field, cell_name, slot, unpack_cell
from schemas.errors import AggregateUnderflow, InvalidInput

contributions = st.builds(
    lambda score, level, claims, appeal: (
        Contribution(None, b"", appeal)
        if score is None
        else Contribution(
            score, bytes([slot(0, level), *(slot(n + 1, c) for n, c in enumerate(claims))]), appeal
        )
    ),
    st.none() | st.integers(0, 4095),
    st.integers(1, 4),
    st.lists(st.integers(1, 3), max_size=6),
    st.booleans(),
)


def cell_of(parts: list[Contribution]) -> Cell:
    cell = Cell()
    for part in parts:
        cell.apply(part)
    return cell


@given(st.lists(contributions, max_size=40))
def test_a_cell_equals_a_count_by_hand(parts: list[Contribution]) -> None:
    cell = cell_of(parts)
    scores = [part.score for part in parts if part.score is not None]
    assert cell.results == len(parts)
    assert cell.with_scores == len(scores)
    assert cell.under_appeal == sum(part.under_appeal for part in parts)
    assert (cell.score_sum, cell.score_sum_sq) == (sum(scores), sum(score * score for score in scores))
    assert dict(cell.scores()) == Counter(scores)
    for measure in range(7):
        expected = [sum(slot(measure, level) in part.slots for part in parts) for level in (1, 2, 3, 4)]
        assert cell.level_counts(measure) == expected


@given(st.lists(contributions, max_size=20), st.lists(contributions, max_size=20))
def test_retracting_what_was_added_leaves_no_trace(
    kept: list[Contribution], passing: list[Contribution]
) -> None:
    cell = cell_of(kept + passing)
    for part in passing:
        cell.retract(part)
    assert cell == cell_of(kept)


@given(st.lists(contributions, max_size=20), st.lists(contributions, max_size=20))
def test_shares_of_partitions_add_up_to_the_whole(
    left: list[Contribution], right: list[Contribution]
) -> None:
    merged = cell_of(left)
    merged.merge(cell_of(right))
    assert merged == cell_of(left + right)


@given(st.lists(contributions, max_size=40), st.integers(0, 2**40))
def test_packing_loses_nothing(parts: list[Contribution], version: int) -> None:
    cell = cell_of(parts)
    cell.version = version
    restored = unpack_cell(cell.pack())
    assert restored == cell
    assert restored.version == version


def test_counts_beyond_a_byte_and_beyond_two_are_packed() -> None:
    for count in (255, 256, 65_535, 65_536):
        cell = Cell()
        for _ in range(count % 1000 + 1):
            cell.apply(Contribution(2431, bytes([slot(0, 2)]), False))
        cell.counts[0] = count
        assert unpack_cell(cell.pack()).results == count


def test_rescore_across_a_cut_moves_one_student_between_levels() -> None:
    # Grade 3 ELA: level 3 begins at 2432.
    cell = cell_of([Contribution(2431, bytes([slot(0, 2)]), False)])
    cell.apply(Contribution(2432, bytes([slot(0, 3)]), False))
    cell.retract(Contribution(2431, bytes([slot(0, 2)]), False))
    assert (cell.results, cell.with_scores, cell.score_sum) == (1, 1, 2432)
    assert cell.level_counts() == [0, 0, 1, 0]


def test_retracting_what_was_never_added_is_refused() -> None:
    with pytest.raises(AggregateUnderflow, match="2431"):
        Cell().retract(Contribution(2431, bytes([slot(0, 2)]), False))
    with pytest.raises(AggregateUnderflow):
        Cell().retract(Contribution(None, b"", False))


@pytest.mark.parametrize("damaged", [b"", b"\x02" + bytes(40), Cell().pack()[:-1], b"\x01\x09" + bytes(40)])
def test_bytes_that_are_no_cell_are_refused(damaged: bytes) -> None:
    with pytest.raises(InvalidInput, match="rebuild"):
        unpack_cell(damaged)


def test_cell_names_survive_storage() -> None:
    assert cell_name(cell_field(2026, "ELA-SUM", "03")) == (2026, "ELA-SUM", "03")
