"""What a rebuild reads from Redis and Kafka to plan by, and how far it may fill."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from cli.rebuild.planning import Facts
from schemas.errors import InvalidInput
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, PARTITION_COUNT, Generation, PartitionKeys
from schemas.topics import EXAM_RESULTS
from streams.connection import RedisClient
from streams.fetching import Fetcher
from streams.log import Log
from streams.rebuild_state import Rebuild

_ENDS_SECONDS: Final = 1.0


def partition_keys(generation: Generation, partitions: int) -> list[PartitionKeys]:
    """The key names of every partition."""
    return [PartitionKeys(generation, PartitionId(number)) for number in range(partitions)]


async def read_facts(redis: RedisClient, fetcher: Fetcher, log: Log, known: Rebuild | None) -> Facts:
    """What is there.

    Raises:
        InvalidInput: nothing serves yet, or the topic has another number of partitions than the tables.
        DependencyUnavailable: Kafka does not answer.
    """
    serving: Any = await redis.get(GENERATION)
    count: Any = await redis.get(PARTITION_COUNT)
    if serving is None or count is None:
        raise InvalidInput(
            "Redis names no serving tables, so there is nothing to rebuild beside: stream workers fill the first tables by "
            "themselves, from the log's beginning. Start one (`scores up`, or `scores streams`), or check --redis"
        )
    if int(count) != log.partitions:
        raise InvalidInput(
            f"the tables have {int(count)} partitions, but {EXAM_RESULTS} has {log.partitions}, and students have changed "
            f"partitions. Make the topic with {int(count)} partitions, or start with an empty Redis"
        )
    generation = Generation(serving.decode())
    # Positions first: workers may go on, and then stand behind where the log ends a moment later.
    stored = await _read_positions(redis, generation, log.partitions)
    bounds = await fetcher.bounds((EXAM_RESULTS, number) for number in range(log.partitions))
    reached = await _read_positions(redis, known.generation, log.partitions) if known is not None else {}
    return Facts(
        generation,
        log.identity,
        frozenset(identity for _, identity in stored.values() if identity is not None),
        {number: bounds[EXAM_RESULTS, number] for number in range(log.partitions)},
        {number: position for number, (position, _) in stored.items()},
        {number: position for number, (position, _) in reached.items()},
    )


class ServingLimits:
    """Up to where the serving tables stand; those without a position have nothing yet."""

    def __init__(self, redis: RedisClient, keys: list[PartitionKeys], starts: Mapping[int, int]) -> None:
        self._redis = redis
        self._keys = keys
        self._starts = starts

    async def __call__(self) -> Mapping[int, int]:
        """By partition."""
        pipe: Any = self._redis.pipeline(transaction=False)
        for keys in self._keys:
            pipe.hget(keys.position, "next")
        return {
            number: self._starts[number] if position is None else int(position)
            for number, position in enumerate(await pipe.execute())
        }


class LogLimits:
    """Up to the log's end."""

    def __init__(self, fetcher: Fetcher, partitions: int) -> None:
        self._fetcher = fetcher
        self._partitions = partitions
        self._asked = 0.0
        self._ends: dict[int, int] = {}

    async def __call__(self) -> Mapping[int, int]:
        """By partition; asked of Kafka once a second."""
        if time.monotonic() - self._asked > _ENDS_SECONDS:
            bounds = await self._fetcher.bounds((EXAM_RESULTS, number) for number in range(self._partitions))
            self._ends = {number: end for (_, number), (_, end) in bounds.items()}
            self._asked = time.monotonic()
        return self._ends


async def _read_positions(
    redis: RedisClient, generation: Generation, partitions: int
) -> dict[int, tuple[int | None, str | None]]:
    """Position and log identity of each partition of a generation."""
    pipe: Any = redis.pipeline(transaction=False)
    for keys in partition_keys(generation, partitions):
        pipe.hmget(keys.position, ["next", "log"])
    return {
        number: (None if position is None else int(position), None if identity is None else identity.decode())
        for number, (position, identity) in enumerate(await pipe.execute())
    }
