"""What disclosure control remembers of one school: its totals, and how many of its results were published at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from schemas.aggregates import LEVELS, MEASURES_AT_MOST
from schemas.disclosure.held import NOBODY, Held
from schemas.disclosure.rules import Rules
from schemas.identifiers import OrganizationId

if TYPE_CHECKING:
    from schemas.disclosure.block import Block

NONE_MOVED_IN: Final[tuple[int, ...]] = (0,) * MEASURES_AT_MOST


class School:
    """One school of a family.

    Totals do not say *which* results they contain, so new ones are counted from below: of a level that has more students
    now than results were ever published, the surplus must be new. ``known`` is that bound by slot. Results that left and may
    come back unchanged (``gone``), and those that may have come from another school (``moved_in``), never count as new.
    """

    __slots__ = (
        "actual",
        "block",
        "changed_ms",
        "gone",
        "is_marked",
        "is_present",
        "known",
        "moved_in",
        "organization",
        "seen_ms",
    )

    def __init__(self, organization: OrganizationId, now_ms: int) -> None:
        self.organization = organization
        self.actual = NOBODY
        self.gone: tuple[int, ...] = ()  # by slot: results that left, ever
        self.known: tuple[int, ...] = ()  # by slot: results published, at most, ever
        self.moved_in = NONE_MOVED_IN  # by measure: since it was published last, at most, from other schools
        self.changed_ms = now_ms
        self.seen_ms = now_ms  # since when it is in the family; a release counts anew
        self.is_present = False
        self.is_marked = False  # the public may know that it has results
        self.block: Block | None = None  # None: it waits, and no total contains it

    def observe(self, actual: Held, now_ms: int, arrivals_from_elsewhere: int, rules: Rules) -> None:
        """Take note of the school's totals of now. Up to so many of its new students may come from other schools."""
        before = self.actual
        arrived = min(max(0, actual.with_scores - before.with_scores), arrivals_from_elsewhere)
        if may_be_known := rules.remembered(arrived):
            self.moved_in = tuple(students + may_be_known for students in self.moved_in)
        slots = max(len(actual.levels), len(before.levels), len(self.gone))
        gone = [at(self.gone, slot) for slot in range(slots)]
        for slot in range(slots):
            gone[slot] += rules.remembered(max(0, at(before.levels, slot) - at(actual.levels, slot)))
        self.gone = _trimmed(gone)
        self.actual = actual
        self.changed_ms = now_ms

    def new_levels(self, measure: int) -> list[int]:
        """Students by level of a measure whose results were not published of this school: at least so many."""
        first = measure * LEVELS
        return [
            max(0, at(self.actual.levels, slot) - at(self.known, slot))
            for slot in range(first, first + LEVELS)
        ]

    def new_students(self, measure: int) -> int:
        """Students whose results of a measure nothing published contains: at least so many."""
        return max(0, sum(self.new_levels(measure)) - self.moved_in[measure])

    def is_known(self, measure: int) -> bool:
        """Whether any of its results of a measure may have been published."""
        return self.moved_in[measure] > 0 or any(self.known[measure * LEVELS : (measure + 1) * LEVELS])

    def tell(self, measures: Sequence[int]) -> None:
        """Its totals of these measures are published from now on."""
        known = [at(self.known, slot) for slot in range(max(len(self.actual.levels), len(self.known)))]
        for measure in measures:
            for slot in range(measure * LEVELS, min((measure + 1) * LEVELS, len(self.actual.levels))):
                known[slot] = max(known[slot], self.actual.levels[slot] + at(self.gone, slot))
        self.known = _trimmed(known)
        self.moved_in = tuple(0 if m in measures else students for m, students in enumerate(self.moved_in))


def at(counts: tuple[int, ...], slot: int) -> int:
    """One count of a tuple whose zeros at the end are left out."""
    return counts[slot] if slot < len(counts) else 0


def _trimmed(counts: list[int]) -> tuple[int, ...]:
    while counts and counts[-1] == 0:
        counts.pop()
    return tuple(counts)
