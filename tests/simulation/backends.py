"""The two stores behind one interface: the model in memory, and a real Redis. Tests that take a backend run on both."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import redis.asyncio
import stack

from schemas.keys import PartitionKeys
from simulation.store import FakeStore, FakeTables
from streams.tables import PartitionTables, Tables

LOG = "cluster/topic"


class Backend(Protocol):
    """A store, its tables as workers see them, and what can befall it as a whole."""

    def tables(self, log: str = LOG) -> PartitionTables:
        """The tables of one more worker, which reads from ``log``."""
        ...

    async def position(self, keys: PartitionKeys) -> int | None:
        """The offset that a partition would go on from; None while nothing is applied."""
        ...

    async def complete_ms(self, keys: PartitionKeys) -> int:
        """Up to when a partition calls itself complete; 0 when it does not say."""
        ...

    async def snapshot(self) -> Any:
        """Everything, as it stands now."""
        ...

    async def restore(self, snapshot: Any) -> None:
        """Roll everything back."""
        ...

    async def wipe(self) -> None:
        """Lose everything."""
        ...


class FakeBackend:
    """The model."""

    def __init__(self, without: Collection[str] = ()) -> None:
        self.store = FakeStore(without)

    def tables(self, log: str = LOG) -> PartitionTables:
        """The tables of one more worker."""
        return FakeTables(self.store, log)

    async def position(self, keys: PartitionKeys) -> int | None:
        """From its slot."""
        return self.store.slot(keys).position

    async def complete_ms(self, keys: PartitionKeys) -> int:
        """From its slot."""
        return self.store.slot(keys).complete_ms

    async def snapshot(self) -> Any:
        """A copy."""
        return self.store.snapshot()

    async def restore(self, snapshot: Any) -> None:
        """Copied back."""
        self.store.restore(snapshot)

    async def wipe(self) -> None:
        """Emptied."""
        self.store.wipe()


class RedisBackend:
    """A real server."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client
        self._workers = 0

    def tables(self, log: str = LOG) -> PartitionTables:
        """The tables of one more worker."""
        self._workers += 1
        return Tables(self.client, f"worker-{self._workers}", log)

    async def position(self, keys: PartitionKeys) -> int | None:
        """From the position's hash."""
        value = await self.client.hget(keys.position, "next")
        return None if value is None else int(value)

    async def complete_ms(self, keys: PartitionKeys) -> int:
        """From the position's hash."""
        return int(await self.client.hget(keys.position, "complete_ms") or 0)

    async def snapshot(self) -> Any:
        """Every key as the server would keep it in a file."""
        names = await self.client.keys("*")
        return {name: await self.client.dump(name) for name in names}

    async def restore(self, snapshot: Any) -> None:
        """The keys from the file, and no others."""
        await self.client.flushall()
        for name, value in snapshot.items():
            await self.client.restore(name, 0, value)

    async def wipe(self) -> None:
        """Emptied; the scripts stay known."""
        await self.client.flushall()


@contextmanager
def address_of(kind: str) -> Iterator[str | None]:
    """The address of a server of this kind (``embedded``, ``system``), or None for the ``fake``."""
    if kind == "fake":
        yield None
        return
    with stack.store(kind) as server:
        yield server.url
