"""Consistent snapshots of one partition's tables, compared with the recount of what they say is applied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

from redis import Redis, RedisError

from cli.simulator.recount import CellId
from cli.verify import Difference, compare, contradictions, counted_cells
from schemas.aggregates import Cell
from schemas.assessments import Registry
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys
from schemas.shares import add_stored, cell_of_part
from tests.chaos.log_reader import LogReader
from tests.chaos.prefix import Prefix

_PAUSE_SECONDS: Final = 0.05  # each comparison costs as much of a core; the system needs the rest
_READER_SECONDS: Final = 30.0  # the log reader has to reach what the workers have applied
_SHOWN: Final = 20

# One script, so that no batch can come between the position and the cells.
_SNAPSHOT: Final = """
local found = {redis.call('HGET', KEYS[1], 'next') or ''}
for index = 2, #KEYS do found[index] = redis.call('HGETALL', KEYS[index]) end
return found
"""


class Snapshot(NamedTuple):
    """One partition's tables at one moment."""

    partition: int
    position: int
    cells: dict[CellId, Cell]


class Snapshots:
    """Reads snapshots of the serving generation."""

    def __init__(self, redis: Redis, organizations: Collection[str]) -> None:
        self._redis = redis
        self._organizations = list(organizations)
        self._script = cast(Callable[..., list[Any]], redis.register_script(_SNAPSHOT))

    def take(self, partition: int) -> Snapshot | None:
        """None when there are no tables yet, or Redis does not answer."""
        try:
            generation = self._redis.get(GENERATION)
            if not isinstance(generation, bytes):
                return None
            keys = PartitionKeys(Generation(generation.decode()), PartitionId(partition))
            names = [keys.cells(OrganizationId(code)) for code in self._organizations]
            position, *hashes = self._script(keys=[keys.position, *names])
        except RedisError:
            return None
        cells: dict[CellId, Cell] = {}
        for code, flat in zip(self._organizations, hashes, strict=True):
            for field, value in zip(flat[::2], flat[1::2], strict=True):
                add_stored(cells.setdefault(CellId(code, cell_of_part(field)), Cell()), value)
        return Snapshot(partition, int(position or 0), cells)


class Checker:
    """Takes and compares snapshots, round and round the partitions, in a thread, inside ``with``."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        log: LogReader,
        partitions: int,
        registry: Registry,
        schools: Collection[str],
        folder: Path,
    ) -> None:
        self.checked = 0
        self.rolled_back = 0  # snapshots whose position was behind an earlier one
        self.mismatches: list[str] = []
        self.prefixes = [Prefix(log, partition, registry, schools) for partition in range(partitions)]
        self._snapshots = snapshots
        self._log = log
        self._registry = registry
        self._folder = folder
        self._losses = 0  # how often Redis was made to forget
        self._losses_seen = [0] * partitions
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(1, "checker")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        self._running = self._pool.submit(self._run)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the comparison under way; no more are made."""
        self._stopped.set()
        if self._running is not None:
            self._running.result()

    def redis_forgot(self) -> None:
        """Redis, down at this moment, has lost its latest writes: each position may go back once."""
        self._losses += 1

    def check(self, snapshot: Snapshot, losses: int) -> None:
        """Compare one snapshot, taken after so many losses, with its prefix of the log."""
        prefix = self.prefixes[snapshot.partition]
        if snapshot.position < prefix.position:
            self.rolled_back += 1
            if self._losses_seen[snapshot.partition] == losses:
                self.mismatches.append(
                    f"partition {snapshot.partition} went back from {prefix.position} to {snapshot.position}, "
                    "and Redis had lost nothing"
                )
        self._losses_seen[snapshot.partition] = losses
        prefix.move_to(snapshot.position)
        self.checked += 1
        found = counted_cells(snapshot.cells, self._registry)
        where = f"partition {snapshot.partition} at {snapshot.position}"
        self.report(f"{where}, expected from its log", compare(prefix.cells, found))
        self.report(f"{where}, sum of those below", contradictions(found))

    def report(self, what: str, differences: list[Difference]) -> None:
        """Note differences, with the first of them in a file."""
        if not differences:
            return
        self.mismatches.append(f"{what}: {len(differences)} figures differ, first {differences[0]}")
        text = "\n".join([what, *map(str, differences[:_SHOWN])])
        (self._folder / f"mismatch-{len(self.mismatches)}.txt").write_text(text + "\n")

    def _run(self) -> None:
        while not self._stopped.is_set():
            for partition in range(len(self.prefixes)):
                self._check_next(partition)

    def _check_next(self, partition: int) -> None:
        losses = self._losses
        snapshot = self._snapshots.take(partition)
        # Of a snapshot that saw Redis die nobody knows on which side of the loss it is.
        if snapshot is not None and losses == self._losses and self._log_read(partition, snapshot.position):
            self.check(snapshot, losses)
        self._stopped.wait(_PAUSE_SECONDS)

    def _log_read(self, partition: int, position: int) -> bool:
        deadline = time.monotonic() + _READER_SECONDS
        while self._log.end(partition) < position:
            if self._stopped.is_set() or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True
