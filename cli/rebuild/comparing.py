"""Comparing one partition of the new tables with the serving ones, at equal positions, while the season goes on.

The new partition is filled up to the very position at which the serving one was read, and held there. Every figure of both
must be equal.

Where the rebuild knew more or less than the workers did (a school was loaded since, a rule changed), the units concerned were
noted (``streams.rebuild_rejections``). Their contribution is taken from the serving cells, that of the new rows added, and
then all must be equal again. Nothing is tolerated, and nothing explained away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from cli.rebuild.partition_reading import PartitionReader, Snapshot, unpacked
from cli.rebuild.planning import Comparison
from cli.simulator.recount import CellId
from cli.verify import Difference, compare, counted_cells
from schemas.aggregates import Cell, Contribution
from schemas.assessments import Registry
from schemas.errors import AggregateUnderflow
from schemas.identifiers import CANARY_COUNTY, STATE
from schemas.keys import PartitionKeys
from streams.engine import CellKey, organizations_above
from streams.rebuild_recount import Suffixes, cell_of, suffixes_of
from streams.rows import Row
from streams.scoring import counting

_NOTHING: Final = Cell()


class Findings(NamedTuple):
    """What comparing one partition, or all, came to."""

    cells: int = 0
    rows: int = 0  # exam rows counted again; 0 where they were not
    results_before: int = 0
    results: int = 0
    strangers: int = 0  # rows that count, of a test that no cell names
    differences: tuple[Difference, ...] = ()  # expected: what serves
    contradictions: tuple[Difference, ...] = ()  # expected: the recount of the new rows

    @property
    def equal(self) -> bool:
        """Whether nothing differs that must be equal."""
        return not self.differences and not self.contradictions and not self.strangers

    def plus(self, other: Findings) -> Findings:
        """Both together."""
        return Findings(
            self.cells + other.cells,
            self.rows + other.rows,
            self.results_before + other.results_before,
            self.results + other.results,
            self.strangers + other.strangers,
            self.differences + other.differences,
            self.contradictions + other.contradictions,
        )


class Comparer:
    """Compares partitions; the caller fills and holds the new ones."""

    def __init__(self, reader: PartitionReader, comparison: Comparison, registry: Registry) -> None:
        self._reader = reader
        self._comparison = comparison
        self._registry = registry

    async def serving(self, keys: PartitionKeys, units: Collection[bytes]) -> Snapshot | None:
        """What a new partition must be equal to; None when it is compared with its own rows only."""
        if self._comparison is Comparison.ROWS:
            return None
        only = [STATE] if self._comparison is Comparison.STATE else None
        return await self._reader.snapshot(keys, only, units)

    async def compare(
        self, keys: PartitionKeys, serving: Snapshot | None, tell: Callable[[float], None]
    ) -> Findings:
        """Compare a new partition, which is held where ``serving`` stands."""
        found = await self._reader.cells(keys)
        findings = Findings(cells=len(found), results=_results(found))
        if serving is not None:
            expected = unpacked(serving.cells)
            results_before = _results(expected)
            rows = await self._reader.rows(keys, await self._reader.noted(keys))
            _shift(expected, serving.rows, rows, self._suffixes(expected, found))
            if self._comparison is Comparison.STATE:
                expected, seen = _of_the_state(expected), _of_the_state(found)
            else:
                seen = found
            differences = self._differences(expected, seen)
            findings = findings._replace(results_before=results_before, differences=tuple(differences))
        if self._comparison is Comparison.CELLS and not findings.differences:
            return findings
        # Of two that differ this says whether it is the new one that is wrong.
        recount = await self._reader.recount(keys, self._suffixes(found), tell)
        contradictions = self._differences(recount.cells(), found)
        return findings._replace(
            rows=recount.rows, strangers=recount.strangers, contradictions=tuple(contradictions)
        )

    def _suffixes(self, *cells: Iterable[CellKey]) -> Suffixes:
        """The tests of the state's and the canaries' cells, by the ends of their units' names."""
        tops = (STATE, CANARY_COUNTY)
        return suffixes_of({field for some in cells for cds, field in some if cds in tops}, self._registry)

    def _differences(
        self, expected: Mapping[CellKey, Cell], found: Mapping[CellKey, Cell]
    ) -> list[Difference]:
        """Every figure that differs."""
        names = [
            name
            for name in expected.keys() | found.keys()
            if expected.get(name, _NOTHING) != found.get(name, _NOTHING)
        ]
        return compare(
            counted_cells({CellId(*name): expected.get(name, _NOTHING) for name in names}, self._registry),
            counted_cells({CellId(*name): found.get(name, _NOTHING) for name in names}, self._registry),
        )


def _shift(
    cells: dict[CellKey, Cell], before: Mapping[bytes, Row], after: Mapping[bytes, Row], suffixes: Suffixes
) -> None:
    """Take what some units' rows contributed before from the cells, and add what they contribute now."""
    for unit, row in before.items():
        for cell, part in _chain(cells, unit, row, suffixes):
            with suppress(AggregateUnderflow):  # the cell is wrong, and remains so
                cell.retract(part)
    for unit, row in after.items():
        for cell, part in _chain(cells, unit, row, suffixes):
            cell.apply(part)


def _chain(
    cells: dict[CellKey, Cell], unit: bytes, row: Row, suffixes: Suffixes
) -> Iterator[tuple[Cell, Contribution]]:
    found = counting(row)
    place = cell_of(unit, found, suffixes) if found is not None else None
    if found is None or place is None:
        return
    school, field = place
    for organization in organizations_above(school):
        yield cells.setdefault((organization, field), Cell()), found[1]


def _of_the_state(cells: Mapping[CellKey, Cell]) -> dict[CellKey, Cell]:
    return {name: cell for name, cell in cells.items() if name[0] == STATE}


def _results(cells: Mapping[CellKey, Cell]) -> int:
    return sum(cell.results for cell in _of_the_state(cells).values())
