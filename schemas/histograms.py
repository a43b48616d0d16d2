"""How many students have which score: one count a scale point, from the lowest score that occurs to the highest.

A test's scores span some hundreds of points, and of a cell with more than a hundred students most of these occur. So a place
for each is shorter than a list of those that occur, takes no search to count in, and hardly grows with the number of students.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from schemas.byte_order import CODES, little_endian, narrowed, native
from schemas.errors import AggregateUnderflow, InvalidInput

SCORES: Final = 4096  # scores are below this

_WIDER: Final = {"B": "H", "H": "I"}  # array's codes of counts of 1, 2 and 4 bytes
_LANE_BITS: Final = 32
_LANE_BYTES: Final = 4


class Histogram:
    """Students per score; adding and removing undo each other exactly."""

    __slots__ = ("_counts", "_lowest")

    def __init__(self) -> None:
        self._lowest = 0
        self._counts: array[int] = array(
            "B"
        )  # of ``_lowest`` and the scores after it; as narrow as they allow

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return list(self.items()) == list(other.items())

    __hash__ = None  # type: ignore[assignment]  # mutable

    def items(self) -> Iterable[tuple[int, int]]:
        """(score, students) of each score that occurs, in ascending order."""
        return ((score, count) for score, count in enumerate(self._counts, self._lowest) if count)

    def add(self, scores: Sequence[int]) -> None:
        """Count one student with each of ``scores``, at least one."""
        low, high = min(scores), max(scores)
        if low < self._lowest or high >= self._lowest + len(self._counts):
            self._reach(low, high)
        lowest, counts = self._lowest, self._counts
        for score in scores:
            try:
                counts[score - lowest] += 1
            except OverflowError:
                self._counts = counts = array(_WIDER[counts.typecode], counts)
                counts[score - lowest] += 1

    def remove(self, score: int) -> None:
        """Count one student less.

        Raises:
            AggregateUnderflow: no student with this score is left.
        """
        at = score - self._lowest
        if not (0 <= at < len(self._counts) and self._counts[at]):
            raise AggregateUnderflow(
                f"no result with score {score} is left to retract; rebuild from the topic"
            )
        self._counts[at] -= 1

    def merge(self, other: Histogram) -> None:
        """Add another one's students."""
        if not other._counts:
            return
        if not self._counts:
            self._lowest, self._counts = other._lowest, other._counts[:]
            return
        lowest, length = self._lowest_and_length_with(other)
        self._put(lowest, length, self._lanes(lowest) + other._lanes(lowest))

    def unmerge(self, other: Histogram) -> None:
        """Take back what was merged before.

        Raises:
            AggregateUnderflow: it is not in this histogram.
        """
        if not other._counts:
            return
        lowest, length = self._lowest_and_length_with(other)
        left = self._lanes(lowest) - other._lanes(lowest)
        # A lane below zero borrows from the next and has its top bit set.
        if left < 0 or left & _top_bits(length):
            raise AggregateUnderflow("a share is to be taken back that is not in the sum; read it anew")
        self._put(lowest, length, left)

    def pack(self) -> tuple[int, int, bytes]:
        """Lowest score, bytes a count, and the counts, little-endian."""
        counts = self._counts
        if counts.itemsize == _LANE_BYTES:  # as sums of shares are, whatever their counts
            counts = narrowed(counts)
        return self._lowest, counts.itemsize, little_endian(counts)

    @classmethod
    def unpack(cls, lowest: int, width: int, packed: bytes) -> Histogram:
        """The inverse of ``pack``.

        Raises:
            InvalidInput: these are not bytes of a histogram.
        """
        if width not in CODES or len(packed) % width or lowest + len(packed) // width > SCORES:
            raise InvalidInput(
                f"{len(packed)} bytes are not counts of {width} bytes each of scores from {lowest} and below {SCORES}"
            )
        histogram = cls.__new__(cls)
        counts = array(CODES[width])
        counts.frombytes(packed)
        histogram._lowest, histogram._counts = lowest, native(counts)
        return histogram

    def _reach(self, low: int, high: int) -> None:
        """Make room for these scores and all between."""
        counts = self._counts
        if not counts:
            self._lowest, self._counts = low, _zeros(counts.typecode, high - low + 1)
            return
        before = max(0, self._lowest - low)
        after = max(0, high + 1 - self._lowest - len(counts))
        self._counts = _zeros(counts.typecode, before) + counts + _zeros(counts.typecode, after)
        self._lowest -= before

    def _lowest_and_length_with(self, other: Histogram) -> tuple[int, int]:
        lowest = min(self._lowest, other._lowest)
        end = max(self._lowest + len(self._counts), other._lowest + len(other._counts))
        return lowest, end - lowest

    def _lanes(self, lowest: int) -> int:
        """All counts as one number, 32 bits each, that of ``lowest`` first: so that adding histograms is one addition."""
        wide = array("I", self._counts)
        return int.from_bytes(little_endian(wide), "little") << _LANE_BITS * (self._lowest - lowest)

    def _put(self, lowest: int, length: int, lanes: int) -> None:
        counts = array("I")
        counts.frombytes(lanes.to_bytes(_LANE_BYTES * length, "little"))
        self._lowest, self._counts = lowest, native(counts)


def _zeros(code: str, length: int) -> array[int]:
    zeros = array(code)
    zeros.frombytes(bytes(length * zeros.itemsize))
    return zeros


@lru_cache(maxsize=1_024)
def _top_bits(lanes: int) -> int:
    return sum(1 << _LANE_BITS * (lane + 1) - 1 for lane in range(lanes))
