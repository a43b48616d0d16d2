"""Cells are exact: adding undoes retracting, shares add up, packing loses nothing."""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.aggregates import (
    Cell,
    Contribution,
    cell_field,
    cell_name,
    contribution,
    levels_code,
    unpack_cell,
)
from schemas.errors import AggregateUnderflow, InvalidInput
from schemas.shares import RECENT_AT_MOST, Share, add_stored, unpack_share


class Result(NamedTuple):
    """One student's result, as told."""

    score: int | None
    levels: list[int]
    under_appeal: bool

    def part(self) -> Contribution:
        return contribution(self.score, levels_code(self.levels), under_appeal=self.under_appeal)


results = st.builds(
    lambda score, level, claims, appeal: Result(score, [level, *claims], appeal),
    st.none() | st.integers(0, 4095),
    st.integers(1, 4),
    st.lists(st.integers(0, 4), max_size=6),
    st.booleans(),
)
contributions = results.map(Result.part)


def cell_of(parts: list[Contribution]) -> Cell:
    cell = Cell()
    for part in parts:
        cell.apply(part)
    return cell


def share_of(parts: list[Contribution]) -> Share:
    share = Share()
    for part in parts:
        share.apply(part)
    return share


@given(st.lists(results, max_size=150))
def test_cell_and_share_equal_a_count_by_hand(told: list[Result]) -> None:
    parts = [result.part() for result in told]
    scored = [result for result in told if result.score is not None]
    scores = [result.score for result in scored if result.score is not None]
    for cell in (cell_of(parts), share_of(parts).totals()):
        assert cell.results == len(told)
        assert cell.with_scores == len(scores)
        assert cell.under_appeal == sum(result.under_appeal for result in told)
        assert (cell.score_sum, cell.score_sum_sq) == (sum(scores), sum(score * score for score in scores))
        assert dict(cell.scores()) == Counter(scores)
        for measure in range(7):
            levels = Counter(result.levels[measure] for result in scored if measure < len(result.levels))
            assert cell.level_counts(measure) == [levels[level] for level in (1, 2, 3, 4)]


@given(
    st.lists(contributions, max_size=100), st.lists(contributions, max_size=100), st.integers(0, 2**32 - 1)
)
def test_share_that_was_long_and_is_short_again_loses_nothing(
    kept: list[Contribution], passing: list[Contribution], version: int
) -> None:
    share = unpack_share(*share_of(kept + passing).pack())
    for part in passing:
        share.retract(part)
    share.version = version
    restored = unpack_share(*share.pack(whole=True))
    assert share.totals() == restored.totals() == cell_of(kept)
    assert restored.version == restored.totals().version == version


@given(st.lists(contributions, max_size=100), st.lists(contributions, max_size=100))
def test_stored_shares_of_partitions_add_up_to_the_whole(
    left: list[Contribution], right: list[Contribution]
) -> None:
    merged = Cell()
    for number, parts in enumerate((left, right), start=5):
        share = share_of(parts)
        share.version = number
        for packed in share.pack():
            assert packed is None or add_stored(merged, struct.pack(">d", number) + packed) == number
    assert merged == cell_of(left + right)
    assert merged.version == 5 + 6


def test_settled_results_are_written_when_they_change_and_only_then() -> None:
    parts = [contribution(2400 + number % 100, levels_code([2])) for number in range(1_000)]
    share, settled = Share(), 0
    for number, part in enumerate(parts, start=1):
        share.apply(part)
        recent, totals = share.pack()
        assert len(recent) <= 5 + 4 * RECENT_AT_MOST
        settled += totals is not None
        if totals is not None:
            assert unpack_cell(totals) == cell_of(parts[:number])
    assert settled == len(parts) // (RECENT_AT_MOST + 1)
    share.retract(parts[-1])
    assert share.pack()[1] is None
    share.retract(parts[0])
    totals = share.pack()[1]
    assert totals is not None and share.pack()[1] is None
    assert share.pack(whole=True)[1] == totals
    assert unpack_share(*share.pack(whole=True)).totals() == share.totals() == cell_of(parts[1:-1])


@pytest.mark.parametrize("damaged", [b"", b"\x02", b"\x02" + bytes(5), b"\x03" + bytes(40), b"\x01\x09"])
def test_bytes_that_are_no_share_are_refused(damaged: bytes) -> None:
    with pytest.raises(InvalidInput, match="rebuild"):
        unpack_share(damaged)
    with pytest.raises(InvalidInput, match="rebuild"):
        unpack_share(Share().pack()[0], damaged)
    with pytest.raises(InvalidInput, match="rebuild"):
        add_stored(Cell(), bytes(8) + damaged)


def test_share_refuses_to_retract_what_was_never_added() -> None:
    share = share_of([contribution(2431, levels_code([2]))])
    with pytest.raises(AggregateUnderflow, match="rebuild"):
        share.retract(contribution(2431, levels_code([3])))
    settled = share_of([contribution(2431, levels_code([2]))] * (RECENT_AT_MOST + 1))
    settled.pack()
    for never_added in (contribution(2431, levels_code([3])), contribution(2432, levels_code([2]))):
        with pytest.raises(AggregateUnderflow, match="rebuild"):
            settled.retract(never_added)


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
            cell.apply(contribution(2431, levels_code([2])))
        cell.totals += count - cell.results
        assert unpack_cell(cell.pack()).results == count


def test_rescore_across_a_cut_moves_one_student_between_levels() -> None:
    # Grade 3 ELA: level 3 begins at 2432.
    cell = cell_of([contribution(2431, levels_code([2]))])
    cell.apply(contribution(2432, levels_code([3])))
    cell.retract(contribution(2431, levels_code([2])))
    assert (cell.results, cell.with_scores, cell.score_sum) == (1, 1, 2432)
    assert cell.level_counts() == [0, 0, 1, 0]


def test_retracting_what_was_never_added_is_refused() -> None:
    with pytest.raises(AggregateUnderflow, match="2431"):
        Cell().retract(contribution(2431, levels_code([2])))
    with pytest.raises(AggregateUnderflow):
        Cell().retract(contribution(None))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x02" + bytes(40),
        Cell().pack()[:-1],
        b"\x01\x09" + bytes(40),
        b"\x03\x01\x00" + bytes(24),  # no histogram
        b"\x01\x01\x00" + bytes(24) + bytes.fromhex("0100c08f"),  # a histogram of layout 2
    ],
)
def test_bytes_that_are_no_cell_are_refused(damaged: bytes) -> None:
    with pytest.raises(InvalidInput, match="rebuild"):
        unpack_cell(damaged)


def test_cell_names_survive_storage() -> None:
    assert cell_name(cell_field(2026, "ELA-SUM", "03")) == (2026, "ELA-SUM", "03")
