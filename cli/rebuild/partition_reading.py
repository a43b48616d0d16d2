"""Reading whole partitions of tables, also of such as workers write meanwhile.

The serving partition moves on while it is read. So its cells are read, then again those that change notices name, until
nothing changed between two looks: then position and cells belong together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.tables import Tables as NoticeReader
from schemas.aggregates import Cell, CellField
from schemas.changes import decode_changes
from schemas.errors import RebuildStopped
from schemas.identifiers import OrganizationId, ancestry
from schemas.keys import EXAM_BUCKETS, ORGANIZATIONS, Generation, PartitionKeys
from schemas.shares import add_stored, cell_of_part, stored_fields
from streams.connection import RedisClient
from streams.engine import CellKey
from streams.rebuild_recount import Recount, Suffixes
from streams.rows import Row
from streams.tables import Tables, load_script

StoredCells = dict[tuple[OrganizationId, bytes], bytes]  # parts of shares, by organization and stored field

_HASHES_AT_ONCE: Final = 500
_QUIET_SECONDS: Final = 120.0  # within which a partition is caught between two batches


class Snapshot(NamedTuple):
    """One partition's tables at one position."""

    position: int | None
    cells: StoredCells
    rows: Mapping[bytes, Row]  # of the noted units


class PartitionReader:
    """Reads whole partitions, of either generation."""

    def __init__(self, redis: RedisClient, tables: Tables) -> None:
        self._redis = redis
        self._tables = tables
        self._notices = NoticeReader(redis)
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
        return unpacked(await self._read_cells(keys, await self._all_organizations()))

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
                    cells[OrganizationId(cds), field] = value
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
            parts = {cds: stored_fields([CellField(field) for field in changed[cds]]) for cds in some}
            for cds in some:
                pipe.hmget(keys.cells(OrganizationId(cds)), parts[cds])
            for cds, values in zip(some, await pipe.execute(), strict=True):
                for field, value in zip(parts[cds], values, strict=True):
                    if value is not None:
                        cells[OrganizationId(cds), field.encode()] = value
        return cells

    def _pipeline(self) -> Any:
        # Any: the two clients' pipelines share the commands used here, not a type.
        return self._redis.pipeline(transaction=False)


def unpacked(stored: StoredCells) -> dict[CellKey, Cell]:
    """The cells behind what is stored."""
    cells: dict[CellKey, Cell] = {}
    for (organization, field), value in stored.items():
        add_stored(cells.setdefault((organization, cell_of_part(field)), Cell()), value)
    return cells


def _slices(names: Sequence[str]) -> Iterator[tuple[Sequence[str], int]]:
    """Some at a time, and how many that are so far."""
    for start in range(0, len(names), _HASHES_AT_ONCE):
        some = names[start : start + _HASHES_AT_ONCE]
        yield some, start + len(some)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
