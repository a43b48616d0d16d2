"""What disclosure control keeps of a cell: students by level of each measure, and the sum of scores; nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas.aggregates import FIRST_SLOT, LEVELS, RESULTS, WITH_SCORES, Cell, cell_of_counts


class Held(NamedTuple):
    """Totals of students with scores. Totals of disjoint groups add up (``total``).

    ``levels`` has four counts a measure, the overall result first, as the slots of a cell; zeros at the end are left out,
    so that equal totals are equal values.
    """

    levels: tuple[int, ...] = ()
    score_sum: int = 0  # scale points

    @property
    def with_scores(self) -> int:
        """Students with an overall score and level."""
        return sum(self.levels[:LEVELS])

    def level_counts(self, measure: int = 0) -> tuple[int, ...]:
        """Students by level of one measure, level 1 first."""
        counts = self.levels[measure * LEVELS : (measure + 1) * LEVELS]
        return counts + (0,) * (LEVELS - len(counts))


NOBODY: Final = Held()


def held_of(cell: Cell) -> Held:
    """What disclosure control keeps of an exact cell, whichever organization's it is."""
    return held_from(cell.counts[FIRST_SLOT:], cell.score_sum)


def held_from(levels: Iterable[int], score_sum: int) -> Held:
    """Totals from counts by level of each measure."""
    counts = tuple(levels)
    while counts and counts[-1] == 0:
        counts = counts[:-1]
    return Held(counts, score_sum)


def total(parts: Iterable[Held]) -> Held:
    """The totals of disjoint groups together."""
    levels: list[int] = []
    score_sum = 0
    for part in parts:
        levels += [0] * (len(part.levels) - len(levels))
        for slot, count in enumerate(part.levels):
            levels[slot] += count
        score_sum += part.score_sum
    return held_from(levels, score_sum)


def cell_of(held: Held, version: int) -> Cell:
    """A cell to compute figures from: results are students with scores; no appeals, no squares, no histogram."""
    counts = [0] * FIRST_SLOT + list(held.levels)
    counts[RESULTS] = counts[WITH_SCORES] = held.with_scores
    return cell_of_counts(counts, held.score_sum, version)
