"""Reading the aggregates: cells merged over all partitions, change notices, and how far the data are complete.

Only single-slot commands and pipelines of them, so that standalone Redis and Redis Cluster serve alike. Nothing is
written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from gateway.directory import OrganizationList
from gateway.redis_connection import RedisClient
from schemas.aggregates import Cell, CellField
from schemas.catching_up import tables_incomplete
from schemas.events import decode_organization
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    ORGANIZATIONS_VERSION,
    PARTITION_COUNT,
    Generation,
    PartitionKeys,
)
from schemas.shares import add_stored, stored_cell

NOTICES_AT_ONCE: Final = (
    500  # half of what the workers keep, so that a full read is noticed before the trim bites
)


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


class Notices(NamedTuple):
    """One read of a partition's change stream."""

    read_ms: int  # server time of the read: every change up to then was in the stream
    complete_ms: int | None  # everything produced to this partition before this time was applied
    gap: bool  # notices may have been lost; whatever was read before counts as unknown
    last: bytes  # where to go on
    packed: list[bytes]
    more: bool  # there may be more right now
    incomplete: bool  # the partition's tables are still being built from the log


class Tables:
    """All reads of one gateway process."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._read_changes = files("gateway").joinpath("lua", "read_changes.lua").read_text()

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.ping()

    async def serving(self) -> Serving | None:
        """What is served now; None while the first tables are still to come."""
        pipe = self._pipeline()
        pipe.get(GENERATION)
        pipe.get(PARTITION_COUNT)
        generation, partitions = await pipe.execute()
        if not generation or not partitions:
            return None
        return Serving(Generation(generation.decode()), int(partitions))

    async def organizations(self, known: OrganizationList | None) -> OrganizationList:
        """The directory; ``known`` itself when it has not changed since."""
        stored = await self._redis.get(ORGANIZATIONS_VERSION)
        version = int(stored or 0)
        if known is not None and known.version == version:
            return known
        entries = await self._redis.hvals(ORGANIZATIONS)
        return OrganizationList(map(decode_organization, entries), version)

    async def read_organizations(
        self, serving: Serving, organizations: Sequence[OrganizationId]
    ) -> list[dict[CellField, MergedCell]]:
        """Every cell of each of some organizations, by name; one read of each share, all in one round trip."""
        pipe = self._pipeline()
        partitions = serving.partition_keys()
        for organization in organizations:
            for keys in partitions:
                pipe.hgetall(keys.cells(organization))
        replies = iter(await pipe.execute())
        found: list[dict[CellField, MergedCell]] = []
        for _ in organizations:
            merged: dict[CellField, MergedCell] = {}
            for _ in partitions:
                for field, value in next(replies).items():
                    name = CellField(field.decode())
                    merged[name] = _merge(merged.get(name), value)
            found.append(merged)
        return found

    async def read_cells(
        self, serving: Serving, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, MergedCell]]:
        """The named cells of each of some organizations; a cell that no partition has is left out."""
        pipe = self._pipeline()
        partitions = serving.partition_keys()
        for organization, fields in names:
            for keys in partitions:
                pipe.hmget(keys.cells(organization), list(fields))
        replies = iter(await pipe.execute())
        found: list[dict[CellField, MergedCell]] = []
        for _, fields in names:
            merged: dict[CellField, MergedCell] = {}
            for _ in partitions:
                for field, value in zip(fields, next(replies), strict=True):
                    if value is not None:
                        merged[field] = _merge(merged.get(field), value)
            found.append(merged)
        return found

    async def complete_ms(self, serving: Serving) -> int | None:
        """The time before which everything produced is in the tables; None until every partition has said so."""
        pipe = self._pipeline()
        for keys in serving.partition_keys():
            pipe.hget(keys.position, "complete_ms")
        replies = await pipe.execute()
        return min(map(int, replies)) if replies and None not in replies else None

    async def read_notices(self, keys: PartitionKeys, last: bytes | None) -> Notices:
        """The notices after ``last``; with None, only where to begin."""
        reply: Any = await self._redis.eval(
            self._read_changes, 2, keys.changes, keys.position, last or b"", str(NOTICES_AT_ONCE)
        )
        read_ms, complete_ms, outcome, upto, packed, claimed, next_offset, catch_up = reply
        return Notices(
            read_ms=int(read_ms),
            complete_ms=int(complete_ms) if complete_ms else None,
            gap=outcome == b"gap",
            last=upto,
            packed=packed,
            more=len(packed) >= NOTICES_AT_ONCE,
            incomplete=tables_incomplete(
                claimed=bool(claimed),
                next_offset=int(next_offset) if next_offset else None,
                catch_up=int(catch_up) if catch_up else None,
            ),
        )

    async def wait_for_notice(self, keys: PartitionKeys, last: bytes, seconds: float) -> None:
        """Return when there is a notice after ``last``, or after ``seconds``."""
        # What it returns is read again by the script, together with the time; here one entry is enough.
        await self._redis.xread({keys.changes: last}, count=1, block=int(seconds * 1000))

    def _pipeline(self) -> Any:
        # Any: the two clients' pipelines share the commands used here, not a type.
        return self._redis.pipeline(transaction=False)


def _merge(known: MergedCell | None, value: bytes) -> MergedCell:
    if known is None:
        return MergedCell(*stored_cell(value))
    return MergedCell(max(known.changed_ms, add_stored(known.cell, value)), known.cell)
