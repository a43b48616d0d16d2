"""Comparing one partition of the new tables with the serving ones, at equal positions, while the season goes on.

The serving partition moves on while it is read. So its cells are read, then again those that change notices name, until
nothing changed between two looks: then position and cells belong together. The new partition is filled up to that very
position and held there. Every figure of both must be equal.

Where the rebuild knew more or less than the workers did (a school was loaded since, a rule changed), the units concerned were
noted (``streams.rebuild_rejections``). Their contribution is taken from the serving cells, that of the new rows added, and
then all must be equal again. Nothing is tolerated, and nothing explained away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from cli.rebuild.planning import Comparison
from cli.simulator.recount import CellId
from cli.verify import Difference, compare, counted_cells
from gateway.tables import Tables as NoticeReader
from schemas.aggregates import Cell, CellField, Contribution
from schemas.assessments import Registry
from schemas.changes import decode_changes
from schemas.errors import AggregateUnderflow, RebuildStopped
from schemas.identifiers import CANARY_COUNTY, STATE, OrganizationId, ancestry
from schemas.keys import EXAM_BUCKETS, ORGANIZATIONS, Generation, PartitionKeys
from schemas.shares import stored_cell
from streams.connection import RedisClient
from streams.engine import CellKey, organizations_above
from streams.rebuild_recount import Recount, Suffixes, cell_of, suffixes_of
from streams.rows import Row
from streams.scoring import counting
from streams.tables import Tables, load_script

StoredCells = dict[CellKey, bytes]

_HASHES_AT_ONCE: Final = 500
_QUIET_SECONDS: Final = 120.0  # within which a partition is caught between two batches


class Snapshot(NamedTuple):
    """One partition's tables at one position."""

    position: int | None
    cells: StoredCells
    rows: Mapping[bytes, Row]  # of the noted units


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


class PartitionReader:
    """Reads whole partitions, of either generation."""

    def __init__(self, redis: RedisClient, tables: Tables, registry: Registry) -> None:
        self._redis = redis
        self._tables = tables
        self._notices = NoticeReader(redis)
        self._registry = registry
        self._which_exist = load_script(redis, "which_exist")
        self._organizations: frozenset[str] = frozenset()

    async def find_organizations(self, generations: Iterable[Generation]) -> None:
        """Look for every organization that has cells, also such as nobody knows."""
        found: set[str] = set()
        for generation in generations:
            async for key in self._redis.scan_iter(match=f"{{{generation}.*}}:cells:*", count=1_000):
                found.add(_text(key).rpartition(":")[2])
        self._organizations = frozenset(found)

    async def snapshot(
        self, keys: PartitionKeys, only: Collection[str] | None, units: Collection[bytes]
    ) -> Snapshot:
        """The partition's cells, of ``only`` some organizations or of all, and some rows, at one and the same position.

        Raises:
            RebuildStopped: the partition never rested, for minutes.
        """
        deadline = time.monotonic() + _QUIET_SECONDS
        while True:
            last = (await self._notices.read_notices([(keys, None)]))[0].last
            wanted = only if only is not None else await self._all_organizations()
            cells = await self._read_cells(keys, wanted)
            rows = await self.rows(keys, units)
            while True:
                if time.monotonic() > deadline:
                    raise RebuildStopped(
                        f"{keys.position} never rests, so it cannot be compared; resume when less arrives"
                    )
                position = await self.position(keys)
                [read] = await self._notices.read_notices([(keys, last)])
                if read.gap:
                    break  # notices were trimmed meanwhile: read all anew
                if not read.packed:
                    return Snapshot(position, cells, rows)
                last = read.last
                cells |= await self._read_changed(keys, read.packed, only)
                rows = await self.rows(keys, units)

    async def position(self, keys: PartitionKeys) -> int | None:
        """The next offset to be applied."""
        stored: Any = await self._redis.hget(keys.position, "next")
        return None if stored is None else int(stored)

    async def noted(self, keys: PartitionKeys) -> set[bytes]:
        """The units of which the rebuild knew more or less than the workers did."""
        stored: Any = await self._redis.smembers(keys.reconsidered)
        return set(stored)

    async def cells(self, keys: PartitionKeys) -> dict[CellKey, Cell]:
        """All cells of a partition that nobody writes just now."""
        return _unpacked(await self._read_cells(keys, await self._all_organizations()))

    async def rows(self, keys: PartitionKeys, units: Collection[bytes]) -> dict[bytes, Row]:
        """The rows of some units."""
        return await self._tables.read_rows(keys, units)

    async def recount(
        self, keys: PartitionKeys, suffixes: Suffixes, tell: Callable[[float], None]
    ) -> Recount:
        """All exam rows of a partition, counted again; ``tell`` hears which share of them is done."""
        recount = Recount(suffixes)
        names = [keys.exams(bucket.to_bytes(4)) for bucket in range(EXAM_BUCKETS)]
        for some, done in _slices(names):
            # Most are empty in all but the largest tables, and asking for each takes longer.
            found = await self._which_exist(keys=list(some))
            pipe = self._pipeline()
            for index in found:
                pipe.hgetall(some[index - 1])
            for rows in await pipe.execute() if found else ():
                recount.add(rows.items())
            tell(done / len(names))
        return recount

    def suffixes(self, *cells: Iterable[CellKey]) -> Suffixes:
        """The tests of the state's and the canaries' cells, by the ends of their units' names."""
        tops = (STATE, CANARY_COUNTY)
        return suffixes_of({field for some in cells for cds, field in some if cds in tops}, self._registry)

    def differences(
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

    async def _all_organizations(self) -> frozenset[str]:
        codes: Any = await self._redis.hkeys(ORGANIZATIONS)
        known = {above for code in codes for above in ancestry(OrganizationId(_text(code)))}
        return self._organizations | known

    async def _read_cells(self, keys: PartitionKeys, organizations: Collection[str]) -> StoredCells:
        cells: StoredCells = {}
        for some, _ in _slices(sorted(organizations)):
            pipe = self._pipeline()
            for cds in some:
                pipe.hgetall(keys.cells(OrganizationId(cds)))
            for cds, shares in zip(some, await pipe.execute(), strict=True):
                for field, value in shares.items():
                    cells[OrganizationId(cds), CellField(_text(field))] = value
        return cells

    async def _read_changed(
        self, keys: PartitionKeys, packed: Sequence[bytes], only: Collection[str] | None
    ) -> StoredCells:
        changed: dict[str, set[str]] = {}
        for notice in packed:
            for cds, fields in decode_changes(notice).items():
                if only is None or cds in only:
                    changed.setdefault(cds, set()).update(fields)
        cells: StoredCells = {}
        for some, _ in _slices(sorted(changed)):
            pipe = self._pipeline()
            for cds in some:
                pipe.hmget(keys.cells(OrganizationId(cds)), list(changed[cds]))
            for cds, values in zip(some, await pipe.execute(), strict=True):
                for field, value in zip(changed[cds], values, strict=True):
                    if value is not None:
                        cells[OrganizationId(cds), CellField(field)] = value
        return cells

    def _pipeline(self) -> Any:
        # Any: the two clients' pipelines share the commands used here, not a type.
        return self._redis.pipeline(transaction=False)


class Comparer:
    """Compares partitions; the caller fills and holds the new ones."""

    def __init__(self, reader: PartitionReader, comparison: Comparison) -> None:
        self._reader = reader
        self._comparison = comparison

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
            expected = _unpacked(serving.cells)
            results_before = _results(expected)
            rows = await self._reader.rows(keys, await self._reader.noted(keys))
            _shift(expected, serving.rows, rows, self._reader.suffixes(expected, found))
            if self._comparison is Comparison.STATE:
                expected, seen = _of_the_state(expected), _of_the_state(found)
            else:
                seen = found
            differences = self._reader.differences(expected, seen)
            findings = findings._replace(results_before=results_before, differences=tuple(differences))
        if self._comparison is Comparison.CELLS and not findings.differences:
            return findings
        # Of two that differ this says whether it is the new one that is wrong.
        recount = await self._reader.recount(keys, self._reader.suffixes(found), tell)
        contradictions = self._reader.differences(recount.cells(), found)
        return findings._replace(
            rows=recount.rows, strangers=recount.strangers, contradictions=tuple(contradictions)
        )


_NOTHING: Final = Cell()


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


def _unpacked(cells: StoredCells) -> dict[CellKey, Cell]:
    return {name: stored_cell(value)[1] for name, value in cells.items()}


def _of_the_state(cells: Mapping[CellKey, Cell]) -> dict[CellKey, Cell]:
    return {name: cell for name, cell in cells.items() if name[0] == STATE}


def _results(cells: Mapping[CellKey, Cell]) -> int:
    return sum(cell.results for cell in _of_the_state(cells).values())


def _slices(names: Sequence[str]) -> Iterator[tuple[Sequence[str], int]]:
    """Some at a time, and how many that are so far."""
    for start in range(0, len(names), _HASHES_AT_ONCE):
        some = names[start : start + _HASHES_AT_ONCE]
        yield some, start + len(some)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
