"""The cell: running totals of one school year, test, organization and grade; exact, and open to subtraction.

Everything in a cell is an integer that can be taken back: counts, sums, and a histogram of whole scale points. Means,
standard errors, medians and quartiles are computed from them when someone asks (``schemas.figures``). There is no
running mean and no minimum or maximum: neither survives a rescore.

*Measures* are numbered: 0 is the overall result, 1 upwards are the assessment's claims in the registry's order. Each
measure has four slots, one a level; ``slot(measure, level)`` says which.

A *contribution* is what one student's result adds, as one 32-bit number: score, the level of each measure, and two flags.
Being so small, a few of them together are a cell's cheapest form (``schemas.shares``).

Packed form, little-endian, the unit that Redis stores::

    u8 format (1 or 3) | u8 width of counts | u8 number of counts | u64 version | u64 score_sum | u64 score_sum_sq | counts
    in format 3 also: u16 lowest score | u8 width of the histogram's counts | its counts (``schemas.histograms``)

A width is 1, 2 or 4 bytes. Format 1 is that of a cell without histogram.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple, NewType

from schemas.byte_order import CODES, little_endian, narrowed, native
from schemas.errors import AggregateUnderflow, InvalidInput
from schemas.histograms import Histogram
from schemas.identifiers import Grade, TestCode

LEVELS: Final = 4
RESULTS, WITH_SCORES, UNDER_APPEAL, FIRST_SLOT = 0, 1, 2, 3

MEASURES_AT_MOST: Final = 7  # the overall result and six claims
MEASURE_WEIGHTS: Final = tuple((LEVELS + 1) ** measure for measure in range(MEASURES_AT_MOST))

_TOTALS: Final = 1
_WITH_HISTOGRAM: Final = 3  # 2 is that of a short share
FORMATS: Final = (_TOTALS, _WITH_HISTOGRAM)
_HEAD: Final = struct.Struct("<BBBQQQ")
_HISTOGRAM: Final = struct.Struct("<HB")
_LANES: Final = FIRST_SLOT + LEVELS * MEASURES_AT_MOST
_LANE_BITS: Final = 32
_LANE_MASK: Final = (1 << _LANE_BITS) - 1
_COUNTS_BYTES: Final = 4 * _LANES
_COUNTS_MASK: Final = (1 << 8 * _COUNTS_BYTES) - 1
_SUM_AT: Final = 8 * _COUNTS_BYTES
_SUM_MASK: Final = (1 << 64) - 1
_SUM_SQ_AT: Final = _SUM_AT + 64
_TOP_BITS: Final = sum(1 << _LANE_BITS * (lane + 1) - 1 for lane in range(_LANES)) | 1 << _SUM_SQ_AT - 1

_SCORE_BITS: Final = 12
_SCORE_MASK: Final = (1 << _SCORE_BITS) - 1
_LEVELS_MASK: Final = (1 << 17) - 1  # 5 to the power of 7 is below 2 to the power of 17
_SCORED: Final = 1 << 29
_UNDER_APPEAL: Final = 1 << 30

CellField = NewType("CellField", str)  # "2026:ELA-SUM:03"
Contribution = NewType("Contribution", int)  # made by ``contribution``


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


def contribution(score: int | None, levels: int = 0, *, under_appeal: bool = False) -> Contribution:
    """What one student's result adds to each cell it belongs to.

    ``score`` (0 to 4095) is None for a result without overall score and level: it is counted as a result and as nothing
    else. ``levels`` comes from ``levels_code``.
    """
    flags = _UNDER_APPEAL if under_appeal else 0
    if score is None:
        return Contribution(flags)
    return Contribution(flags | _SCORED | levels << _SCORE_BITS | score)


def is_scored(part: Contribution) -> bool:
    """Whether a contribution has an overall score and level."""
    return bool(part & _SCORED)


def same_result(part: Contribution, other: Contribution) -> bool:
    """Whether two contributions are of the same score and levels; an appeal alone makes no other result."""
    return part & ~_UNDER_APPEAL == other & ~_UNDER_APPEAL


def levels_code(levels: Iterable[int]) -> int:
    """The levels of all measures, overall first, as one number of base 5; 0 for a measure without level."""
    return sum(level * weight for level, weight in zip(levels, MEASURE_WEIGHTS, strict=False))


@lru_cache(maxsize=200_000)  # more than there are: 5 to the power of 7, and two flags
def _counts_of(levels_and_flags: int) -> int:
    """The counts that a contribution adds one to, each in its lane; the argument is a contribution without its score."""
    lanes = [RESULTS]
    if levels_and_flags & _UNDER_APPEAL >> _SCORE_BITS:
        lanes.append(UNDER_APPEAL)
    if levels_and_flags & _SCORED >> _SCORE_BITS:
        lanes.append(WITH_SCORES)
        levels = levels_and_flags & _LEVELS_MASK
        for measure in range(MEASURES_AT_MOST):
            levels, level = divmod(levels, LEVELS + 1)
            if level:
                lanes.append(FIRST_SLOT + slot(measure, level))
    return sum(1 << _LANE_BITS * lane for lane in lanes)


class Cell:
    """Running totals; ``apply`` and ``retract`` undo each other exactly, ``merge`` adds up partitions' shares.

    All counts and sums are lanes of one integer, so that adding a student or a whole cell is one addition.
    """

    __slots__ = ("histogram", "totals", "version")

    def __init__(self) -> None:
        self.totals = (
            0  # lanes: the counts, 32 bits each; the sums of scores and of their squares, 64 bits each
        )
        self.version = 0  # how often this share changed; shares' versions add up
        self.histogram = Histogram()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cell):
            return NotImplemented
        return self.totals == other.totals and self.histogram == other.histogram

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Cell(results={self.results}, with_scores={self.with_scores}, score_sum={self.score_sum}, version={self.version})"

    @property
    def counts(self) -> list[int]:
        """All counts, by ``RESULTS``, ``WITH_SCORES``, ``UNDER_APPEAL`` and slots; zeros at the end left out."""
        return list(_counts(self.totals))

    @property
    def results(self) -> int:
        """Students with a live result, scored or not."""
        return self.totals & _LANE_MASK

    @property
    def with_scores(self) -> int:
        """Of those, students with an overall score and level: the base of means and percentages."""
        return self.totals >> _LANE_BITS * WITH_SCORES & _LANE_MASK

    @property
    def under_appeal(self) -> int:
        """Of those, students whose result is under appeal; their last scores still count."""
        return self.totals >> _LANE_BITS * UNDER_APPEAL & _LANE_MASK

    @property
    def score_sum(self) -> int:
        """Sum of the scale points."""
        return self.totals >> _SUM_AT & _SUM_MASK

    @property
    def score_sum_sq(self) -> int:
        """Sum of the squares of the scale points."""
        return self.totals >> _SUM_SQ_AT

    def level_counts(self, measure: int = 0) -> list[int]:
        """Students per level of one measure, level 1 first."""
        if measure >= MEASURES_AT_MOST:
            return [0] * LEVELS
        first = self.totals >> _LANE_BITS * (FIRST_SLOT + measure * LEVELS)
        return [first >> _LANE_BITS * level & _LANE_MASK for level in range(LEVELS)]

    def scores(self) -> Iterable[tuple[int, int]]:
        """(score, students) in ascending order of score."""
        return self.histogram.items()

    def apply(self, part: Contribution) -> None:
        """Add one result."""
        self.apply_all((part,))

    def apply_all(self, parts: Iterable[int]) -> None:
        """Add some results; ``parts`` are contributions."""
        totals = self.totals
        scores = []
        for part in parts:
            totals += _counts_of(part >> _SCORE_BITS)
            if part & _SCORED:
                scores.append(part & _SCORE_MASK)
        if scores:
            self.histogram.add(scores)
            squares = sum([score * score for score in scores])
            totals += (sum(scores) << _SUM_AT) + (squares << _SUM_SQ_AT)
        self.totals = totals

    def retract(self, part: Contribution) -> None:
        """Remove one result that was applied before.

        Raises:
            AggregateUnderflow: no such result is in the cell.
        """
        left = self.totals - _counts_of(part >> _SCORE_BITS)
        if part & _SCORED:
            score = part & _SCORE_MASK
            left -= (score << _SUM_AT) + (score * score << _SUM_SQ_AT)
            self.histogram.remove(score)
        # A lane below zero borrows from the next and has all its bits set.
        if left < 0 or left & _TOP_BITS:
            raise AggregateUnderflow("a count fell below zero; rebuild from the topic")
        self.totals = left

    def merge(self, other: Cell) -> None:
        """Add another partition's share to this one."""
        self.totals += other.totals
        self.version += other.version
        self.histogram.merge(other.histogram)

    def unmerge(self, other: Cell) -> None:
        """Take back a share that was merged before.

        Raises:
            AggregateUnderflow: it is not in this cell.
        """
        left = self.totals - other.totals
        if left < 0 or left & _TOP_BITS:
            raise AggregateUnderflow("a share is to be taken back that is not in the sum; read it anew")
        self.histogram.unmerge(other.histogram)
        self.totals = left
        self.version -= other.version

    def pack(self) -> bytes:
        """The packed form. Its size is 30 bytes, and one to four for each count and each point between the scores."""
        totals = self.totals
        counts = narrowed(_counts(totals))
        lowest, histogram_width, histogram = self.histogram.pack()
        head = _HEAD.pack(
            _WITH_HISTOGRAM if histogram else _TOTALS,
            counts.itemsize,
            len(counts),
            self.version,
            totals >> _SUM_AT & _SUM_MASK,
            totals >> _SUM_SQ_AT,
        )
        if not histogram:
            return head + little_endian(counts)
        return head + little_endian(counts) + _HISTOGRAM.pack(lowest, histogram_width) + histogram


def unpack_cell(packed: bytes) -> Cell:
    """The cell of a packed form.

    Raises:
        InvalidInput: the bytes are not a cell of this format; a rebuild is due after a change of format.
    """
    try:
        layout, width, length, version, score_sum, score_sum_sq = _HEAD.unpack_from(packed)
        counts = array(CODES[width])
        end = _HEAD.size + length * width
        counts.frombytes(packed[_HEAD.size : end])
        if len(counts) != length or layout not in FORMATS or (layout == _TOTALS and len(packed) > end):
            raise KeyError(layout)
        histogram = _unpack_histogram(packed, end) if layout == _WITH_HISTOGRAM else Histogram()
    except (struct.error, KeyError, ValueError, InvalidInput) as error:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are not a cell of format {_TOTALS} or {_WITH_HISTOGRAM}; rebuild the tables"
        ) from error
    cell = Cell.__new__(Cell)
    cell.totals = _totals(native(counts), score_sum, score_sum_sq)
    cell.version = version
    cell.histogram = histogram
    return cell


def cell_of_counts(counts: Iterable[int], score_sum: int, version: int) -> Cell:
    """A cell of which only these are known: no squares, no histogram. ``counts`` are in the order of ``Cell.counts``."""
    cell = Cell()
    cell.totals = _totals(counts, score_sum, 0)
    cell.version = version
    return cell


def _unpack_histogram(packed: bytes, at: int) -> Histogram:
    lowest, width = _HISTOGRAM.unpack_from(packed, at)
    return Histogram.unpack(lowest, width, packed[at + _HISTOGRAM.size :])


def _totals(counts: Iterable[int], score_sum: int, score_sum_sq: int) -> int:
    lanes = int.from_bytes(little_endian(array("I", counts)), "little")
    return lanes | score_sum << _SUM_AT | score_sum_sq << _SUM_SQ_AT


def _counts(totals: int) -> array[int]:
    """The counts of a cell, without those at the end that are zero."""
    lanes = (totals & _COUNTS_MASK).to_bytes(_COUNTS_BYTES, "little").rstrip(b"\0")
    counts = array("I")
    counts.frombytes(lanes + bytes(-len(lanes) % 4))
    return native(counts)
