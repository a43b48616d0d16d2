"""The cell: running totals of one school year, test, organization and grade; exact, and open to subtraction.

Everything in a cell is an integer that can be taken back: counts, sums, and a histogram of whole scale points. Means,
standard errors, medians and quartiles are computed from them when someone asks (``schemas.figures``). There is no
running mean and no minimum or maximum: neither survives a rescore.

*Measures* are numbered: 0 is the overall result, 1 upwards are the assessment's claims in the registry's order. Each
measure has four slots, one a level; ``slot(measure, level)`` says which. A contribution carries the slots it fills.

Packed form, little-endian, the unit that Redis stores::

    u8 format (1) | u8 width code | u8 number of counts | u64 version | u64 score_sum | u64 score_sum_sq
    counts, each 1, 2 or 4 bytes as the width code says | histogram entries, u32 each: score << 20 | count
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple, NewType

from schemas.errors import AggregateUnderflow, InvalidInput
from schemas.identifiers import Grade, TestCode

LEVELS: Final = 4
RESULTS, WITH_SCORES, UNDER_APPEAL, FIRST_SLOT = 0, 1, 2, 3

_FORMAT: Final = 1
_CHANGED: Final = struct.Struct(">d")  # a double holds milliseconds exactly, and is what the script can pack
_HEAD: Final = struct.Struct("<BBBQQQ")
_CODES: Final = {1: "B", 2: "H", 4: "I"}  # bytes a count -> struct's code
_COUNT_BITS: Final = (
    20  # a million results with one and the same score; the state has 450,000 students a grade
)
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1

CellField = NewType("CellField", str)  # "2026:ELA-SUM:03"


class CellName(NamedTuple):
    """Which cell of an organization: school year, test and grade."""

    school_year: int
    test: TestCode
    grade: Grade


def cell_field(school_year: int, test: str, grade: str) -> CellField:
    """A cell's name as stored, e.g. ``2026:ELA-SUM:03``."""
    return CellField(f"{school_year}:{test}:{grade}")


def cell_name(field: str) -> CellName:
    """The parts of a stored cell name."""
    year, test, grade = field.split(":")
    return CellName(int(year), TestCode(test), Grade(grade))


def slot(measure: int, level: int) -> int:
    """The slot of one level (from 1) of one measure (0 is the overall result)."""
    return measure * LEVELS + level - 1


class Contribution(NamedTuple):
    """What one student's result adds to each cell it belongs to.

    ``score`` is None for a result without overall score and level: it is counted as a result and as nothing else.
    ``slots`` ascend: the overall level's slot first, then the claims'.
    """

    score: int | None
    slots: bytes
    under_appeal: bool


class Cell:
    """Running totals; ``apply`` and ``retract`` undo each other exactly, ``merge`` adds up partitions' shares."""

    __slots__ = ("counts", "histogram", "score_sum", "score_sum_sq", "version")

    def __init__(self, measures: int = 1) -> None:
        self.counts: list[int] = [0] * (FIRST_SLOT + LEVELS * measures)
        self.score_sum = 0  # scale points
        self.score_sum_sq = 0  # scale points squared
        self.version = 0  # how often this share changed; shares' versions add up
        self.histogram: array[int] = array("I")  # sorted; score << 20 | count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cell):
            return NotImplemented
        return (
            self.score_sum == other.score_sum
            and self.score_sum_sq == other.score_sum_sq
            and self.histogram == other.histogram
            and _without_trailing_zeros(self.counts) == _without_trailing_zeros(other.counts)
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Cell(results={self.results}, with_scores={self.with_scores}, score_sum={self.score_sum}, version={self.version})"

    @property
    def results(self) -> int:
        """Students with a live result, scored or not."""
        return self.counts[RESULTS]

    @property
    def with_scores(self) -> int:
        """Of those, students with an overall score and level: the base of means and percentages."""
        return self.counts[WITH_SCORES]

    @property
    def under_appeal(self) -> int:
        """Of those, students whose result is under appeal; their last scores still count."""
        return self.counts[UNDER_APPEAL]

    def level_counts(self, measure: int = 0) -> list[int]:
        """Students per level of one measure, level 1 first."""
        first = FIRST_SLOT + measure * LEVELS
        return [*self.counts[first : first + LEVELS], 0, 0, 0, 0][:LEVELS]

    def scores(self) -> Iterable[tuple[int, int]]:
        """(score, students) in ascending order of score."""
        return ((entry >> _COUNT_BITS, entry & _COUNT_MASK) for entry in self.histogram)

    def apply(self, part: Contribution) -> None:
        """Add one result."""
        counts = self.counts
        counts[RESULTS] += 1
        score, slots, under_appeal = part
        if under_appeal:
            counts[UNDER_APPEAL] += 1
        if score is None:
            return
        counts[WITH_SCORES] += 1
        self.score_sum += score
        self.score_sum_sq += score * score
        if slots and slots[-1] + FIRST_SLOT >= len(counts):
            measures = slots[-1] // LEVELS + 1
            counts.extend([0] * (FIRST_SLOT + LEVELS * measures - len(counts)))
        for position in slots:
            counts[FIRST_SLOT + position] += 1
        histogram = self.histogram
        entry = score << _COUNT_BITS
        at = bisect_left(histogram, entry)
        if at < len(histogram) and histogram[at] >> _COUNT_BITS == score:
            histogram[at] += 1
        else:
            histogram.insert(at, entry + 1)

    def retract(self, part: Contribution) -> None:
        """Remove one result that was applied before.

        Raises:
            AggregateUnderflow: no such result is in the cell.
        """
        counts = self.counts
        score, slots, under_appeal = part
        counts[RESULTS] -= 1
        if under_appeal:
            counts[UNDER_APPEAL] -= 1
        if score is not None:
            counts[WITH_SCORES] -= 1
            self.score_sum -= score
            self.score_sum_sq -= score * score
            histogram = self.histogram
            at = bisect_left(histogram, score << _COUNT_BITS)
            if at == len(histogram) or histogram[at] >> _COUNT_BITS != score:
                raise AggregateUnderflow(
                    f"no result with score {score} is left to retract; rebuild from the topic"
                )
            if histogram[at] & _COUNT_MASK == 1:
                del histogram[at]
            else:
                histogram[at] -= 1
            for position in slots:
                counts[FIRST_SLOT + position] -= 1
        if min(counts) < 0:
            raise AggregateUnderflow("a count fell below zero; rebuild from the topic")

    def merge(self, other: Cell) -> None:
        """Add another partition's share to this one."""
        if len(other.counts) > len(self.counts):
            self.counts.extend([0] * (len(other.counts) - len(self.counts)))
        for position, count in enumerate(other.counts):
            self.counts[position] += count
        self.score_sum += other.score_sum
        self.score_sum_sq += other.score_sum_sq
        self.version += other.version
        if not self.histogram:
            self.histogram = array("I", other.histogram)
        elif other.histogram:
            merged = dict(self.scores())
            for score, count in other.scores():
                merged[score] = merged.get(score, 0) + count
            self.histogram = array("I", (score << _COUNT_BITS | merged[score] for score in sorted(merged)))

    def pack(self) -> bytes:
        """The packed form. Its size is 27 bytes, one to four a count, and four a distinct score."""
        counts = self.counts
        try:
            width, body = 1, bytes(counts)  # nearly every share of a school's cell
        except ValueError:
            width, body = _pack_wide(counts)
        return b"".join(
            (
                _HEAD.pack(_FORMAT, width, len(counts), self.version, self.score_sum, self.score_sum_sq),
                body,
                _little_endian(self.histogram),
            )
        )


def unpack_cell(packed: bytes) -> Cell:
    """The cell of a packed form.

    Raises:
        InvalidInput: the bytes are not a cell of this format; a rebuild is due after a change of format.
    """
    try:
        layout, width, length, version, score_sum, score_sum_sq = _HEAD.unpack_from(packed)
        code = _CODES[width]
        if layout != _FORMAT:
            raise KeyError(layout)
        counts = struct.unpack_from(f"<{length}{code}", packed, _HEAD.size)
        histogram = array("I")
        histogram.frombytes(packed[_HEAD.size + length * width :])
    except (struct.error, KeyError, ValueError) as error:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are not a cell of format {_FORMAT}; rebuild the tables"
        ) from error
    cell = Cell.__new__(Cell)
    cell.counts = list(counts)
    cell.version, cell.score_sum, cell.score_sum_sq = version, score_sum, score_sum_sq
    if sys.byteorder == "big":
        histogram.byteswap()
    cell.histogram = histogram
    return cell


def stored_cell(value: bytes) -> tuple[int, Cell]:
    """A cell as it stands in Redis: when it last changed (milliseconds since 1970, Redis time), and its share."""
    return int(_CHANGED.unpack_from(value)[0]), unpack_cell(value[_CHANGED.size :])


def _pack_wide(counts: list[int]) -> tuple[int, bytes]:
    width = 2 if max(counts) < 1 << 16 else 4
    try:
        return width, struct.pack(f"<{len(counts)}{_CODES[width]}", *counts)
    except struct.error as error:
        raise InvalidInput(f"a count of {max(counts)} does not fit a cell") from error


def _little_endian(histogram: array[int]) -> bytes:
    if sys.byteorder == "big":
        swapped = array("I", histogram)
        swapped.byteswap()
        return swapped.tobytes()
    return histogram.tobytes()


def _without_trailing_zeros(counts: list[int]) -> list[int]:
    end = len(counts)
    while end and counts[end - 1] == 0:
        end -= 1
    return counts[:end]
