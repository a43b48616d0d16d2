"""Applying batches of several partitions at a time, each partition's in order.

While Redis works on one partition's script the worker reads and decides for another. A lane is one partition; it has one
batch under way, and the next waits for it. The first failure cancels the others and is raised: the worker must not go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

# Enough to keep Redis and the worker busy at once; more would only hold more decoded batches in memory.
LANES = 4


class Lanes(Generic[Item]):
    """Use as ``async with Lanes(apply) as lanes: await lanes.put(partition, batch)``."""

    def __init__(self, apply: Callable[[Item], Awaitable[None]], width: int = LANES) -> None:
        self._apply = apply
        self._free = asyncio.Semaphore(width)
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    async def put(self, lane: int, item: Item) -> None:
        """Start on an item as soon as its lane and one of the places are free."""
        before = self._under_way.get(lane)
        if before is not None:
            await asyncio.wait({before})
        await self._free.acquire()
        self._under_way[lane] = self._group.create_task(self._run(item))

    async def _run(self, item: Item) -> None:
        try:
            await self._apply(item)
        finally:
            self._free.release()
