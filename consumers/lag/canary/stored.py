"""The canary's cell as the tables have it: whether a score was applied, and how long ago by Redis' own clock."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from consumers.webhooks.connection import RedisClient
from schemas.aggregates import CellField
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import GENERATION, PARTITION_COUNT, Generation, PartitionKeys
from schemas.shares import stored_cell

# The time that stamps a cell is that of the node that has it, so that one is asked, together with the cell.
_LOOK: Final = "return {redis.call('TIME'), redis.call('HGET', KEYS[1], ARGV[1])}"


class Stored(NamedTuple):
    """The one result of a canary's cell."""

    score: int
    seconds_ago: float  # since it was changed


class StoredCanary:
    """Looks at one cell. A student is in one partition, which only the tables know; it is searched once in a generation."""

    def __init__(self, redis: RedisClient, school: OrganizationId, field: CellField) -> None:
        self._redis = redis
        self._school = school
        self._field = field
        self._found: PartitionKeys | None = None

    async def look(self) -> Stored | None:
        """The cell's result; None while there is none.

        Raises:
            RedisError, OSError: Redis does not answer.
        """
        name: Any = await self._redis.get(GENERATION)
        if name is None:
            return None
        generation = Generation(name.decode())
        if self._found is not None and self._found.generation == generation:
            return await self._look_at(self._found)
        count: Any = await self._redis.get(PARTITION_COUNT)
        for number in range(int(count or 0)):
            keys = PartitionKeys(generation, PartitionId(number))
            stored = await self._look_at(keys)
            if stored is not None:
                self._found = keys
                return stored
        return None

    async def _look_at(self, keys: PartitionKeys) -> Stored | None:
        reply: Any = await self._redis.eval(_LOOK, 1, keys.cells(self._school), self._field)
        (seconds, micros), value = reply
        if value is None:
            return None
        changed_ms, cell = stored_cell(value)
        if cell.results != 1:
            return None
        now_ms = int(seconds) * 1000 + int(micros) / 1000
        return Stored(cell.score_sum, max(0.0, (now_ms - changed_ms) / 1000))
