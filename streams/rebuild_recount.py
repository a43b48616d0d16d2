"""The recount of a partition's exam rows: what its cells must be, whatever they were added up from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.aggregates import Cell, CellField, cell_field, cell_name
from schemas.assessments import Registry
from schemas.errors import UnknownAssessment
from schemas.identifiers import GRADES
from schemas.shares import Share
from streams.engine import CellKey, organizations_above
from streams.reading import SchoolCell
from streams.rows import SUFFIX_BYTES, Placed, Row, grade_number, school_number, unit_suffix
from streams.scoring import counting


class YearAndTest(NamedTuple):
    """What the end of a unit's name stands for."""

    school_year: int
    test: str


Suffixes = Mapping[bytes, YearAndTest]


def suffixes_of(fields: Iterable[str], registry: Registry) -> dict[bytes, YearAndTest]:
    """The ends of unit names of those years and tests that ``fields``, names of cells, are of."""
    found: dict[bytes, YearAndTest] = {}
    for field in fields:
        year, test, grade = cell_name(field)
        try:
            grades = registry.at(year, test, grade).grades
        except UnknownAssessment:
            continue
        for canary in (False, True):
            found[unit_suffix(year, test, grades[0], canary=canary)] = YearAndTest(year, test)
    return found


def cell_of(unit: bytes, found: Placed, suffixes: Suffixes) -> SchoolCell | None:
    """The school's cell that a unit's contribution belongs to; None when the suffixes do not know its test."""
    known = suffixes.get(unit[-SUFFIX_BYTES:])
    if known is None:
        return None
    place, _ = found
    field = cell_field(known.school_year, known.test, GRADES[grade_number(place)])
    return school_number(place), field


class Recount:
    """Adds up rows; ``cells`` are what they come to, with every organization above the schools."""

    def __init__(self, suffixes: Suffixes) -> None:
        self.rows = 0
        self.results = 0
        self.strangers = 0  # rows that count, of a test that no cell names
        self._suffixes = suffixes
        self._schools: dict[SchoolCell, Share] = {}

    def add(self, rows: Iterable[tuple[bytes, Row]]) -> None:
        """Count some rows, by unit."""
        schools = self._schools
        for unit, row in rows:
            self.rows += 1
            found = counting(row)
            if found is None:
                continue
            cell = cell_of(unit, found, self._suffixes)
            if cell is None:
                self.strangers += 1
                continue
            share = schools.get(cell)
            if share is None:
                share = schools[cell] = Share()
            share.apply(found[1])
            self.results += 1

    def cells(self) -> dict[CellKey, Cell]:
        """Every organization's cells."""
        cells: dict[CellKey, Cell] = {}
        for (school, field), share in self._schools.items():
            for organization in organizations_above(school):
                name = (organization, CellField(field))
                if name not in cells:
                    cells[name] = Cell()
                share.add_to(cells[name])
        return cells
