"""Histograms are exact whatever the counts' width, and of fixed length; cells' tests go through them, too."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AggregateUnderflow, InvalidInput
from schemas.histograms import Histogram

scores = st.lists(st.integers(0, 4095) | st.integers(2400, 2410), max_size=60)


def histogram_of(told: list[int]) -> Histogram:
    histogram = Histogram()
    if told:
        histogram.add(told)
    return histogram


@given(scores, st.sampled_from((1, 255, 256, 300)))
def test_counts_equal_a_count_by_hand(told: list[int], times: int) -> None:
    histogram = histogram_of(told)
    for _ in range(times - 1):
        if told:
            histogram.add(told)
    assert dict(histogram.items()) == {score: count * times for score, count in Counter(told).items()}
    assert Histogram.unpack(*histogram.pack()) == histogram


@given(scores, scores)
def test_removing_undoes_adding_and_unmerging_undoes_merging(kept: list[int], passing: list[int]) -> None:
    histogram = histogram_of(kept + passing)
    for score in passing:
        histogram.remove(score)
    assert histogram == histogram_of(kept)
    merged = histogram_of(kept)
    merged.merge(histogram_of(passing))
    assert merged == histogram_of(kept + passing)
    assert Histogram.unpack(*merged.pack()) == merged
    merged.unmerge(histogram_of(passing))
    assert merged == histogram_of(kept)


def test_counts_take_as_many_bytes_as_the_largest_needs() -> None:
    for count, width in ((255, 1), (256, 2), (65_535, 2), (65_536, 4)):
        histogram = histogram_of([2431] * count)
        lowest, found, packed = histogram.pack()
        assert (lowest, found, len(packed)) == (2431, width, width)
        merged = histogram_of([2431])
        merged.merge(histogram_of([2431] * (count - 1)))
        assert merged.pack() == histogram.pack()


def test_a_thousand_students_more_take_no_byte_more() -> None:
    few, more = histogram_of([2300, 2700]), histogram_of([2300, 2700, *range(2300, 2700), *range(2300, 2700)])
    assert len(few.pack()[2]) == len(more.pack()[2]) == 401


@pytest.mark.parametrize("score", [2299, 2350, 2701])
def test_a_score_that_nobody_has_cannot_be_removed(score: int) -> None:
    with pytest.raises(AggregateUnderflow, match=str(score)):
        histogram_of([2300, 2700]).remove(score)


@pytest.mark.parametrize("other", [[2431], [2300, 2300], [1], [4095]])
def test_what_is_not_in_the_sum_cannot_be_taken_back(other: list[int]) -> None:
    histogram = histogram_of([2300, 2700])
    with pytest.raises(AggregateUnderflow, match="read it anew"):
        histogram.unmerge(histogram_of(other))
    assert histogram == histogram_of([2300, 2700])


@pytest.mark.parametrize(("lowest", "width", "length"), [(0, 3, 3), (0, 2, 3), (4096, 1, 1), (4090, 1, 7)])
def test_bytes_that_are_no_histogram_are_refused(lowest: int, width: int, length: int) -> None:
    with pytest.raises(InvalidInput, match=r"not counts of"):
        Histogram.unpack(lowest, width, bytes(length))
