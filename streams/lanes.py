"""Applying batches of several partitions at a time, each partition's in order.

While Redis works on one partition's script the worker reads and decides for another. A lane is one partition; it has one
batch under way, and the next ones wait behind it without holding up other lanes: a fetch brings several batches of one
partition in a row. What waits is joined to larger batches: a cell that many of its records change is then written once. So
batches are small while there is little to do, and large when there is much. The first failure cancels the others and is
raised: the worker must not go on.
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
    """Use as ``async with Lanes(apply, join) as lanes: await lanes.put(partition, batch)``.

    Args:
        join: two items of a lane as one; None when they had better stay two.
    """

    def __init__(
        self,
        apply: Callable[[Item], Awaitable[None]],
        join: Callable[[Item, Item], Item | None],
        width: int = LANES,
        waiting: int = WAITING,
    ) -> None:
        self._apply = apply
        self._join = join
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
            async with self._free:
                await self._apply(self._take(waiting))
        del self._waiting[lane]

    def _take(self, waiting: deque[Item]) -> Item:
        item = waiting.popleft()
        self._room.release()
        while waiting and (joined := self._join(item, waiting[0])) is not None:
            item = joined
            waiting.popleft()
            self._room.release()
        return item
