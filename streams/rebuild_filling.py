"""Filling the tables of a generation that nobody reads yet, from the log, each partition up to a limit.

The limit is where the serving tables stand: so the rebuild is never ahead of what it is compared with, and what it rejects
has been rejected before. It is held in place while a partition is compared.

Guarantee: as a stream worker's. A batch is written whole or not at all, together with its position; a process that comes
later claims the partitions, which fences this one, and goes on where the tables stand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from schemas.errors import RebuildStopped
from schemas.topics import EXAM_RESULTS
from streams.fetching import Fetcher
from streams.lanes import Lanes
from streams.partitions import Batch, OwnedPartition

Limits = Callable[[], Awaitable[Mapping[int, int]]]

_STEER_SECONDS: Final = 0.2
_FETCH_SECONDS: Final = 0.05


class Filling:
    """The one writer of a new generation.

    Args:
        partitions: all of the generation, claimed, each with ``start`` where its log begins.
        limits: asked again and again: how far each partition may be filled.
    """

    def __init__(self, fetcher: Fetcher, partitions: Mapping[int, OwnedPartition], limits: Limits) -> None:
        self.applied = 0  # events, by this process
        self._fetcher = fetcher
        self._partitions = partitions
        self._ask_limits = limits
        self._limits: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._moved = asyncio.Event()
        self._under_way = {number: asyncio.Lock() for number in partitions}
        self._reading: set[int] = set()
        self._cut: set[int] = set()  # what followed was fetched and dropped

    async def run(self) -> None:
        """Fill until cancelled.

        Raises:
            Fenced: another process fills this generation, or a worker has taken it over.
            PositionMoved: Redis has lost its tail.
            LogGap: records that were not read yet are gone.
        """
        steered = 0.0
        async with Lanes(self._apply, partial(Batch.joined, at_most=self._fetcher.batch_records)) as lanes:
            while True:
                if time.monotonic() - steered > _STEER_SECONDS:
                    await self._steer()
                    steered = time.monotonic()
                for batch in await self._fetcher.next(_FETCH_SECONDS):
                    await lanes.put(batch.partition, batch)

    def standing(self) -> dict[int, tuple[int, int]]:
        """Position and limit of each partition, as far as limits are known."""
        return {
            number: (owned.position, self._limits[number])
            for number, owned in self._partitions.items()
            if number in self._limits
        }

    async def hold(self, number: int, position: int | None) -> None:
        """Go no further with this partition than ``position`` (None: than it is), and return when it rests there.

        Raises:
            RebuildStopped: it is beyond that.
        """
        owned = self._partitions[number]
        self._held[number] = self._limits[number] = 0 if position is None else position
        while position is not None and owned.position < position:
            self._moved.clear()
            await self._moved.wait()
        async with self._under_way[number]:
            pass
        if position is not None and owned.position > position:
            raise RebuildStopped(
                f"partition {number} was filled up to {owned.position}, but the serving tables stand at {position}: Redis has "
                "lost their tail. Resume when the workers have caught up"
            )

    def release(self, number: int) -> None:
        """Follow the serving tables again."""
        self._held.pop(number, None)

    async def _steer(self) -> None:
        """Read what is behind its limit, and nothing else: what lies beyond would be fetched in vain."""
        limits = await self._ask_limits()
        self._limits = {**limits, **self._held}
        starts: dict[tuple[str, int], int] = {}
        ended: list[tuple[str, int]] = []
        for number, owned in self._partitions.items():
            behind = owned.position < self._limits[number]
            if behind and (number in self._cut or number not in self._reading):
                starts[EXAM_RESULTS, number] = owned.position
                self._reading.add(number)
                self._cut.discard(number)
            elif not behind and number in self._reading:
                ended.append((EXAM_RESULTS, number))
                self._reading.discard(number)
        if starts or ended:
            await self._fetcher.change(starts, ended)

    async def _apply(self, batch: Batch) -> None:
        number = batch.partition
        # Behind a cut comes nothing that fits, until the partition is read again from there.
        if number in self._cut or not self._fetcher.is_current(batch):
            return
        limit = self._limits[number]
        if batch.next > limit:
            batch = batch.before(limit)
            self._cut.add(number)
            if not batch.records:
                return
        async with self._under_way[number]:
            await self._partitions[number].apply(batch)
        self.applied += len(batch.records)
        self._moved.set()
