"""Writes the partition tables as a stream worker does, for tests of what reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis
from redis.typing import EncodableT

from schemas.aggregates import Cell, CellField, Contribution, cell_field, contribution, levels_code
from schemas.changes import CHANGES_FIELD, encode_changes
from schemas.disclosure.published import PublishedCell, pack_published
from schemas.events import encode_event
from schemas.identifiers import OrganizationId, PartitionId, ancestry
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    ORGANIZATIONS_VERSION,
    PARTITION_COUNT,
    PUBLISHED_CHANGES,
    RELEASES,
    RELEASES_CHANGED_MS,
    RELEASES_CHANNEL,
    RELEASES_VERSION,
    Generation,
    PartitionKeys,
    published_cells,
)
from schemas.releases import ReleaseKey, ReleaseState, release_entry
from schemas.shares import Share, settled_field

# Cells, position and notice in one step, all with the same server time.
_APPLY: Final = """
local changes, position = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 3, #KEYS do
  local at = 2 * index - 3
  redis.call('HSET', KEYS[index], ARGV[at], struct.pack('>d', now_ms) .. ARGV[at + 1])
end
redis.call('HSET', position, 'complete_ms', string.format('%d', now_ms))
redis.call('XADD', changes, 'MAXLEN', '~', ARGV[2], '*', ARGV[1], ARGV[#ARGV])
return string.format('%d', now_ms)
"""

_RESTORED_AT_ONCE: Final = 500  # cells in one script


def scored(score: int, level: int, *, under_appeal: bool = False) -> Contribution:
    """One student's result without claims."""
    return contribution(score, levels_code([level]), under_appeal=under_appeal)


class FakeWorker:
    """The one writer of all partitions; keeps the cells itself and writes them whole."""

    def __init__(
        self, url: str, *, partitions: int = 2, generation: str = "g1", changes_kept: int = 1000
    ) -> None:
        self.redis = redis.Redis.from_url(url, protocol=2)
        self.partitions = partitions
        self.generation = Generation(generation)
        self._changes_kept = changes_kept
        self._published = 0
        self._cells: dict[tuple[int, OrganizationId, CellField], Share] = {}

    def serve(self) -> None:
        """Make this generation the one that is served."""
        self.complete(int(time.time() * 1000))
        self.redis.set(PARTITION_COUNT, self.partitions)
        self.redis.set(RELEASES_VERSION, 1, nx=True)  # read from their topic, which was empty
        self.redis.set(GENERATION, self.generation)

    def list_organizations(self, entries: Iterable[dict[str, Any]]) -> None:
        """Put directory entries."""
        for entry in entries:
            self.redis.hset(ORGANIZATIONS, entry["cds"], json.dumps(entry))
        self.redis.incr(ORGANIZATIONS_VERSION)

    def release(self, key: ReleaseKey, state: ReleaseState) -> None:
        """Give a district's results a release state, and let the gateways hear of it."""
        now_ms = int(time.time() * 1000)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(RELEASES, key.path, encode_event(release_entry(key, state)))
            pipe.incr(RELEASES_VERSION)
            pipe.set(RELEASES_CHANGED_MS, now_ms)
            version = pipe.execute()[1]
        self.redis.publish(RELEASES_CHANNEL, version)

    def publish(self, organization: str, field: CellField, cell: Cell | None) -> None:
        """Publish a cell, or that it is suppressed, as the publisher does."""
        key = published_cells(OrganizationId(organization))
        self._published += 1
        packed = pack_published(PublishedCell(self._published, int(time.time() * 1000), cell))
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, field, packed)
            pipe.xadd(PUBLISHED_CHANGES, {CHANGES_FIELD: encode_changes({organization: [field]})})
            pipe.execute()

    def complete(self, milliseconds: int) -> None:
        """Say that everything produced before this time is applied."""
        for partition in range(self.partitions):
            self.redis.hset(self._keys(partition).position, "complete_ms", milliseconds)

    def stand_at(self, offset: int, *, catch_up: int, partition: int = 0) -> None:
        """Say where a partition stands, and where it will have caught up with the log."""
        position = self._keys(partition).position
        self.redis.hset(position, mapping={"next": offset, "catch_up": catch_up})

    def lose(self, partition: int) -> None:
        """Lose all tables of a partition, as a cluster does whose master comes back empty."""
        for key in self.redis.scan_iter(match=f"{{{self.generation}.{partition}}}:*"):
            self.redis.delete(key)
        for name in [name for name in self._cells if name[0] == partition]:
            del self._cells[name]

    def apply(
        self,
        school: str,
        added: Sequence[Contribution],
        *,
        removed: Sequence[Contribution] = (),
        test: str = "ELA-SUM",
        grade: str = "03",
        year: int = 2026,
        partition: int = 0,
    ) -> int:
        """Add and take back results of one school; one batch. Returns the time of the change."""
        field = cell_field(year, test, grade)
        keys = self._keys(partition)
        changed: list[tuple[OrganizationId, CellField, Share]] = []
        for organization in ancestry(OrganizationId(school)):
            cell = self._cells.setdefault((partition, organization, field), Share())
            for part in removed:
                cell.retract(part)
            for part in added:
                cell.apply(part)
            cell.version += 1
            changed.append((organization, field, cell))
        return self._write(keys, changed)

    def restore(self) -> None:
        """Write every cell again as it is: what a replay comes to after Redis has lost its latest writes."""
        for partition in range(self.partitions):
            own = [(name[1], name[2], cell) for name, cell in self._cells.items() if name[0] == partition]
            for begin in range(0, len(own), _RESTORED_AT_ONCE):
                self._write(self._keys(partition), own[begin : begin + _RESTORED_AT_ONCE])

    def merged(self, organization: OrganizationId, field: CellField) -> Cell:
        """One cell summed over all partitions, as readers of the tables see it."""
        cell = Cell()
        for partition in range(self.partitions):
            if share := self._cells.get((partition, organization, field)):
                share.add_to(cell)
        return cell

    def _write(self, keys: PartitionKeys, changed: Sequence[tuple[OrganizationId, CellField, Share]]) -> int:
        names = [keys.changes, keys.position]
        arguments: list[EncodableT] = []
        fields: dict[str, list[CellField]] = {}
        for organization, field, share in changed:
            fields.setdefault(organization, []).append(field)
            recent, settled = share.pack(whole=True)
            for stored, value in ((field, recent), (settled_field(field), settled)):
                if value is not None:
                    names.append(keys.cells(organization))
                    arguments += [stored, value]
        head: list[EncodableT] = [CHANGES_FIELD, self._changes_kept]
        notice = encode_changes(fields)
        reply = self.redis.eval(_APPLY, len(names), *names, *head, *arguments, notice)
        assert isinstance(reply, bytes)
        return int(reply)

    def _keys(self, partition: int) -> PartitionKeys:
        return PartitionKeys(self.generation, PartitionId(partition))
