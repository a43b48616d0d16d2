"""What is remembered is never forgotten; what is new is rarely taken for known."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from streams.newcomers import Newcomers


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=3), unique=True), max_size=30),
    st.sampled_from((4, 1 << 21)),
)
def test_whatever_was_seen_is_asked_for(batches: list[list[bytes]], words: int) -> None:
    with mock.patch("streams.newcomers._WORDS", words):
        newcomers = Newcomers()
        seen: set[bytes] = set()
        for units in batches:
            perhaps = newcomers.perhaps_stored(units)
            assert seen.intersection(units) <= set(perhaps) <= set(units)
            seen.update(units)


def test_of_a_million_units_one_in_a_hundred_at_most_is_asked_for_in_vain() -> None:
    newcomers = Newcomers()
    units = [number.to_bytes(20) for number in range(1_000_000)]
    newcomers.perhaps_stored(units[:900_000])
    assert len(newcomers.perhaps_stored(units[900_000:])) < 1_000
