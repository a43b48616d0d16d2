"""Brings the audit's entries from the spool to Kafka.

Guarantee: *at least once, in order per chain.* A position moves on only after Kafka acknowledged everything before it, so
after a crash some entries come twice; readers know them by their numbers. Chains that processes before this one left
behind are shipped too. Nobody waits for any of this: while Kafka is away the spool grows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from schemas.errors import DependencyUnavailable
from schemas.process.audit import spool
from schemas.process.audit.metrics import AuditMetrics
from schemas.process.audit.settings import AuditSettings
from schemas.process.audit.spool import Position
from schemas.process.audit.writer import Audit
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.topics import AUDIT

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_AT_ONCE_BYTES: Final = 256 * 1024  # some 500 entries; what is held in memory
_CLEAN_SECONDS: Final = 600.0


class Shipper:
    """Ships this process's chain, and those that were left behind."""

    def __init__(
        self, settings: AuditSettings, audit: Audit, publisher: EventPublisher, metrics: AuditMetrics
    ) -> None:
        self._folder = settings.folder
        self._keep_seconds = settings.keep_hours * 3600
        self._audit = audit
        self._publisher = publisher
        self._metrics = metrics
        self._positions: dict[str, Position] = {}
        self._cleaned = -_CLEAN_SECONDS
        self.reached = False  # whether Kafka took what it was last offered

    async def run(self) -> None:
        """Ship until cancelled."""
        pause = _LOOK_SECONDS
        while True:
            try:
                await self.ship()
            except (DependencyUnavailable, OSError) as error:
                if pause == _LOOK_SECONDS:
                    logger.warning("the audit waits in the spool, Kafka does not have it error=%s", error)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                if pause != _LOOK_SECONDS:
                    logger.warning("the audit is in Kafka again")
                pause = _LOOK_SECONDS
            await asyncio.sleep(pause)

    async def ship(self) -> None:
        """Ship all that is there now.

        Raises:
            DependencyUnavailable: Kafka did not acknowledge it all; the next call goes on from there.
            OSError: a file cannot be read.
        """
        chains = await asyncio.to_thread(spool.segments, self._folder)
        ours = {self._audit.chain, *self._audit.left_behind}
        try:
            for chain in ours & chains.keys():
                await self._ship_chain(chain, chains[chain])
        finally:
            self._metrics.unshipped_bytes.set(await asyncio.to_thread(self._unshipped, chains, ours))
        if time.monotonic() - self._cleaned >= _CLEAN_SECONDS:
            self._cleaned = time.monotonic()
            await asyncio.to_thread(self._clean, chains)

    async def _ship_chain(self, chain: str, firsts: list[int]) -> None:
        if chain not in self._positions:
            self._positions[chain] = spool.read_position(self._folder, chain, firsts)
        key = chain.encode()
        for at, first in enumerate(firsts):
            position = self._positions[chain]
            if first < position.segment:
                continue
            if first > position.segment:
                position = Position(first)
            path = spool.segment_path(self._folder, chain, first)
            while lines := await asyncio.to_thread(spool.whole_lines, path, position.offset, _AT_ONCE_BYTES):
                records = [OutgoingRecord(AUDIT, key, line) for line in lines]
                try:
                    await self._publisher.publish(records)
                except DependencyUnavailable:
                    self.reached = False
                    raise
                self.reached = True
                position = Position(first, position.offset + sum(len(line) + 1 for line in lines))
                await self._moved(chain, position)
            if at + 1 < len(firsts):
                await self._moved(chain, Position(firsts[at + 1]))

    async def _moved(self, chain: str, position: Position) -> None:
        self._positions[chain] = position
        try:
            await asyncio.to_thread(spool.write_position, self._folder, chain, position)
        except OSError as error:  # a full disk must not keep from shipping, which is what makes room
            logger.warning("the audit's position cannot be written error=%s", error)

    def _unshipped(self, chains: dict[str, list[int]], ours: set[str]) -> int:
        waiting = 0
        for chain in ours & chains.keys():
            position = self._positions.get(chain, Position())
            for first in chains[chain]:
                if first >= position.segment:
                    waiting += _size(spool.segment_path(self._folder, chain, first))
            waiting -= position.offset
        return max(0, waiting)

    def _clean(self, chains: dict[str, list[int]]) -> None:
        """Remove segments that Kafka has, and that are old enough."""
        before = time.time() - self._keep_seconds
        for chain in {self._audit.chain, *self._audit.left_behind} & chains.keys():
            position = self._positions.get(chain)
            if position is None:
                continue
            firsts = chains[chain]
            for first in firsts:
                path = spool.segment_path(self._folder, chain, first)
                newest = first == firsts[-1]
                if first > position.segment or (newest and not self._is_done(chain, path, position)):
                    break
                if path.stat().st_mtime > before:
                    break
                path.unlink()
                if newest:
                    self._audit.left_behind.pop(chain).release()
                    spool.remove(self._folder, chain)

    def _is_done(self, chain: str, path: Path, position: Position) -> bool:
        """Whether nothing can come any more in the newest segment of a chain."""
        return chain != self._audit.chain and not spool.whole_lines(path, position.offset, 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
