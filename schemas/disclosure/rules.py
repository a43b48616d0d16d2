"""The rules of disclosure control, one method each, so that what each of them is good for can be tried by leaving it out.

They decide about *statements*: the totals of a group of schools that are published, or may be computed from what is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MINIMUM: Final = 11  # students; the state's own files show nothing about ten or fewer
# A small school whose totals stand still this long has tested its students; before that it is given time to reach the
# minimum by itself. A judgement, not a measurement: schools test a grade within days.
SETTLED_MS: Final = 24 * 3_600_000


class Rules:
    """The rules as they are enforced; tests leave out one at a time."""

    def is_enough(self, students: int) -> bool:
        """Rule 1: totals of fewer than 11 students with scores are never shown."""
        return students >= MINIMUM

    def is_enough_hidden(self, students: int) -> bool:
        """Rule 3: nor may a total contain fewer than 11 students besides what is shown of its parts."""
        return students >= MINIMUM

    def is_spread(self, levels: Sequence[int]) -> bool:
        """Rule 2: a group, or what is new in it, is not all in one level."""
        return sum(count > 0 for count in levels) > 1

    def is_new_enough(self, students: int) -> bool:
        """Rule 4: a statement contains at least 11 students' results that no earlier one contains."""
        return students >= MINIMUM

    def hides(self, students: int) -> bool:
        """Rule 6: what stands for fewer than 11 students by now is taken back at once."""
        return students < MINIMUM

    def remembered(self, students: int) -> int:
        """Of results that left a school, how many may come back and are then not new (all of them)."""
        return students


RULES: Final = Rules()
