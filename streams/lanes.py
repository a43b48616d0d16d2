"""Applying batches of several partitions at a time, each partition's in order.

While Redis works on one partition's script the worker reads and decides for another. A lane is one partition; it has one
batch under way, and the next ones wait behind it without holding up other lanes: a fetch brings several batches of one
partition in a row. The first failure cancels the others and is raised: the worker must not go on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

Item = TypeVar("Item")

# Enough to keep Redis and the worker busy at once; more would only hold more decoded batches in memory.
LANES: Final = 4
WAITING: Final = 12  # batches, in all lanes together; each is about a megabyte


class Lanes(Generic[Item]):
    """Use as ``async with Lanes(apply) as lanes: await lanes.put(partition, batch)``."""

    def __init__(
        self, apply: Callable[[Item], Awaitable[None]], width: int = LANES, waiting: int = WAITING
    ) -> None:
        self._apply = apply
        self._free = asyncio.Semaphore(width)
        self._room = asyncio.Semaphore(waiting)
        self._waiting: dict[int, deque[Item]] = defaultdict(deque)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    async def put(self, lane: int, item: Item) -> None:
        """Let an item wait in its lane, as soon as there is room for it."""
        await self._room.acquire()
        idle = lane not in self._waiting
        self._waiting[lane].append(item)
        if idle:
            self._group.create_task(self._run(lane))

    async def _run(self, lane: int) -> None:
        waiting = self._waiting[lane]
        while waiting:
            item = waiting.popleft()
            self._room.release()
            async with self._free:
                await self._apply(item)
        del self._waiting[lane]
