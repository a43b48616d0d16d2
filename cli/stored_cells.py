"""Reads the serving generation's cells and the directory straight from Redis, merged over all partitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, cast

from redis import Redis

from cli.simulator.recount import CellId
from cli.stores import opened_store
from schemas.aggregates import Cell, CellField
from schemas.errors import InvalidInput
from schemas.events import decode_organization
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import GENERATION, ORGANIZATIONS, PARTITION_COUNT, Generation, PartitionKeys
from schemas.organizations import Directory
from schemas.shares import add_stored, cell_of_part

_KEYS_AT_ONCE: Final = 500  # hashes read in one round trip; a state total's is the largest, some 100 kB


class ChangedCell(NamedTuple):
    """A cell merged over all partitions, and when a share of it last changed (milliseconds since 1970)."""

    changed_ms: int
    cell: Cell


class StoredCells:
    """The tables as they are now. Reads are not one snapshot: while a worker writes, sums may be on their way."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def everywhere(self) -> dict[CellId, Cell]:
        """Every cell of every organization.

        Raises:
            InvalidInput: there are no tables.
        """
        generation = self._generation()
        merged: dict[CellId, Cell] = {}
        names: list[str] = []
        for key in self._redis.scan_iter(match=f"{{{generation}.*}}:cells:*", count=1_000):
            names.append(_text(key))
            if len(names) == _KEYS_AT_ONCE:
                self._merge(names, merged)
                names.clear()
        self._merge(names, merged)
        return merged

    def of(self, organization: OrganizationId) -> dict[CellField, ChangedCell]:
        """The cells of one organization, those without results left out.

        Raises:
            InvalidInput: there are no tables.
        """
        generation = self._generation()
        found: dict[CellField, ChangedCell] = {}
        with self._redis.pipeline(transaction=False) as pipe:
            for partition in range(int(_text(self._redis.get(PARTITION_COUNT) or b"0"))):
                pipe.hgetall(PartitionKeys(generation, PartitionId(partition)).cells(organization))
            for shares in pipe.execute():
                for field, packed in cast("dict[bytes, bytes]", shares).items():
                    name = cell_of_part(field)
                    known = found.get(name) or ChangedCell(0, Cell())
                    changed_ms = add_stored(known.cell, packed)
                    found[name] = ChangedCell(max(changed_ms, known.changed_ms), known.cell)
        return {name: changed for name, changed in found.items() if changed.cell.results}

    def directory(self) -> Directory:
        """All organizations that are known."""
        entries = cast("dict[bytes, bytes]", self._redis.hgetall(ORGANIZATIONS))
        return Directory(decode_organization(entry) for entry in entries.values())

    def _generation(self) -> Generation:
        generation = self._redis.get(GENERATION)
        if generation is None:
            raise InvalidInput(
                "this Redis has no aggregates: no stream worker has run with it; check the address given with --redis, "
                "or start the stack with `scores up`"
            )
        return Generation(_text(generation))

    def _merge(self, keys: list[str], merged: dict[CellId, Cell]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hgetall(key)
            for key, shares in zip(keys, pipe.execute(), strict=True):
                organization = key.rpartition(":")[2]
                for field, packed in cast("dict[bytes, bytes]", shares).items():
                    name = CellId(organization, cell_of_part(field))
                    add_stored(merged.setdefault(name, Cell()), packed)


@contextmanager
def stored_cells(redis_url: str) -> Iterator[StoredCells]:
    """The tables behind an address.

    Raises:
        InvalidInput: the address is none.
        DependencyUnavailable: Redis does not answer.
    """
    with opened_store(redis_url) as redis:
        yield StoredCells(redis)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
