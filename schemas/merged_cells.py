"""Cells summed over the partitions of the tables: which commands read them, and what comes of the answers.

Without I/O: whoever reads hands in a pipeline of its own client, asyncio's or not, and the replies when they are there. Only
single-slot commands, so that standalone Redis and Redis Cluster serve alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from schemas.aggregates import Cell, CellField
from schemas.disclosure.published import PublishedCell, unpack_published
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import Generation, PartitionKeys, published_cells
from schemas.shares import add_stored, cell_of_part, stored_cell, stored_fields

Names = Sequence[tuple[OrganizationId, Sequence[CellField]]]


class Serving(NamedTuple):
    """The generation that is served, and over how many partitions it is spread."""

    generation: Generation
    partitions: int

    def partition_keys(self) -> list[PartitionKeys]:
        """The key names of every partition."""
        return [PartitionKeys(self.generation, PartitionId(p)) for p in range(self.partitions)]


class MergedCell(NamedTuple):
    """A cell summed over its partitions' shares, and when the latest of them changed (Redis time)."""

    changed_ms: int
    cell: Cell

    def supersedes(self, other: MergedCell) -> bool:
        """Whether this is later than ``other``: its version is higher, or, after a rollback of Redis, its time later."""
        return self.cell.version > other.cell.version or self.changed_ms > other.changed_ms


class Pipeline(Protocol):
    """What is asked of either client's pipeline."""

    def hgetall(self, name: str) -> Any:
        """Ask for a hash."""

    def hmget(self, name: str, keys: list[Any]) -> Any:
        """Ask for some of its fields."""


def ask_organizations(pipe: Pipeline, serving: Serving, organizations: Iterable[OrganizationId]) -> None:
    """Ask for every cell of each of some organizations."""
    partitions = serving.partition_keys()
    for organization in organizations:
        for keys in partitions:
            pipe.hgetall(keys.cells(organization))


def merged_organizations(
    serving: Serving, organizations: Sequence[OrganizationId], replies: Iterable[Mapping[bytes, bytes]]
) -> list[dict[CellField, MergedCell]]:
    """What ``ask_organizations`` was answered: the cells of each, by name."""
    answers = iter(replies)
    found: list[dict[CellField, MergedCell]] = []
    for _ in organizations:
        merged: dict[CellField, MergedCell] = {}
        for _ in range(serving.partitions):
            for field, value in next(answers).items():
                name = cell_of_part(field)
                merged[name] = _merge(merged.get(name), value)
        found.append(merged)
    return found


def ask_cells(pipe: Pipeline, serving: Serving, names: Names) -> None:
    """Ask for the named cells of each of some organizations."""
    partitions = serving.partition_keys()
    for organization, fields in names:
        for keys in partitions:
            pipe.hmget(keys.cells(organization), stored_fields(fields))


def merged_cells(
    serving: Serving, names: Names, replies: Iterable[Sequence[bytes | None]]
) -> list[dict[CellField, MergedCell]]:
    """What ``ask_cells`` was answered; a cell that no partition has is left out."""
    answers = iter(replies)
    found: list[dict[CellField, MergedCell]] = []
    for _, fields in names:
        merged: dict[CellField, MergedCell] = {}
        for _ in range(serving.partitions):
            for field, value in _present((*fields, *fields), next(answers)):
                merged[field] = _merge(merged.get(field), value)
        found.append(merged)
    return found


def ask_published_cells(pipe: Pipeline, names: Names) -> None:
    """Ask for the named published cells of each of some organizations."""
    for organization, fields in names:
        pipe.hmget(published_cells(organization), list(fields))


def found_published_cells(
    names: Names, replies: Iterable[Sequence[bytes | None]]
) -> list[dict[CellField, PublishedCell]]:
    """What ``ask_published_cells`` was answered; what is not, or no longer, published is left out."""
    return [
        {field: unpack_published(value) for field, value in _present(fields, reply)}
        for (_, fields), reply in zip(names, replies, strict=True)
    ]


def _present(fields: Sequence[CellField], reply: Sequence[bytes | None]) -> Iterator[tuple[CellField, bytes]]:
    return ((field, value) for field, value in zip(fields, reply, strict=True) if value is not None)


def _merge(known: MergedCell | None, value: bytes) -> MergedCell:
    if known is None:
        return MergedCell(*stored_cell(value))
    return MergedCell(max(known.changed_ms, add_stored(known.cell, value)), known.cell)
