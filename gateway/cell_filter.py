"""Which cells of its organizations a stream, or a plain request, is about: by school year, test and grade; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.aggregates import CellField, cell_name


@dataclass(frozen=True, slots=True)
class CellFilter:
    """Any of the named years and of the named tests and of the named grades; None does not narrow.

    Part of the key of every encoded frame: two filters that name the same are equal, in whatever order they were written.
    """

    years: frozenset[int] | None = None
    tests: frozenset[str] | None = None
    grades: frozenset[str] | None = None

    def __call__(self, field: CellField) -> bool:
        """Whether a cell is wanted."""
        name = cell_name(field)
        return (
            (self.years is None or name.school_year in self.years)
            and (self.tests is None or name.test in self.tests)
            and (self.grades is None or name.grade in self.grades)
        )


ALL_CELLS: Final = CellFilter()
