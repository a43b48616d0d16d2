"""Where our own readers stand, as Redis has it: the stream workers, the relay, the publisher, the webhooks.

Their positions are written with what they did, so they are true at every moment; what they commit to Kafka follows later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from consumers.lag.samples import COUNTED_AT_MOST, Skew
from consumers.lag.skew import clock_of_redis
from consumers.webhooks.connection import RedisClient
from schemas.identifiers import PartitionId
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS_POSITION,
    PARTITION_COUNT,
    PUBLISHED_CHANGES,
    PUBLISHED_POSITION,
    PUBLISHED_RELAYED,
    REBUILD,
    RELAY_GENERATION,
    RELAY_LEASE,
    RELEASES_POSITION,
    Generation,
    PartitionKeys,
)
from schemas.webhooks import keys as webhooks

# For all of it. A Redis that accepts and is silent would else hold up a sample for as long as its every command may take.
_ANSWER_SECONDS: Final = 3.0
_PARTITIONS_AT_ONCE: Final = 500
_UNFINISHED: Final = frozenset({b"filling", b"verifying", b"differs"})  # see streams.rebuild_state
# By a script, because it has to come from the server that has the tables' slot. It changes nothing.
_WHAT_TIME: Final = "return redis.call('TIME')"
_COUNT: Final = "return #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])"

Stored = Mapping[bytes, bytes]


class Tables(Struct, frozen=True, gc=False):
    """One partition's tables: what their writer says of itself."""

    next: int | None
    epoch: int | None
    owner: str
    log: str
    complete_ms: int | None
    changed_ms: int | None
    catch_up: int | None


class Unrelayed(Struct, frozen=True, gc=False):
    """What changed in some tables, and is not in Kafka.

    Attributes:
        upto_ms: everything that changed up to then is; None: nothing is known to be.
        first_ms: when the oldest change was made that is not; None: there is none.
        records: notices of such changes, counted up to ``COUNTED_AT_MOST``.
    """

    upto_ms: int | None
    first_ms: int | None
    records: int


class Partition(Struct, frozen=True, gc=False):
    """One partition of the serving generation."""

    tables: Tables
    cells: Unrelayed
    results: Unrelayed


class Positions(Struct, frozen=True, kw_only=True):
    """Everything at one moment.

    Attributes:
        at_ms: the monitor's clock when the last answer came.
        redis_ms: Redis' clock then.
        relay_lease: the epoch of the relay that works; None: none does.
        relayed: the generation of which Kafka has every cell.
        published_heard_ms: when the publisher said last that it is there, by Redis' clock; None: it never has.
        worker: the webhooks worker's hash; empty where there never was one.
        webhooks_lease: who delivers; empty: nobody.
    """

    at_ms: int
    redis_ms: int
    skew: Skew
    serving: str
    rebuilding: bool
    partitions: tuple[Partition, ...]
    relay_lease: int | None
    relayed: str
    published: Tables
    published_cells: Unrelayed
    published_heard_ms: int | None
    organizations: Stored
    releases: Stored
    worker: Stored
    webhooks_lease: str


async def read_positions(redis: RedisClient, now_ms: Callable[[], int]) -> Positions:
    """Ask Redis; three round trips, and two more for each 500 partitions.

    Raises:
        RedisError, RedisClusterException, OSError: it does not answer.
        TimeoutError: likewise, or only very slowly.
    """
    async with asyncio.timeout(_ANSWER_SECONDS):
        return await _read(redis, now_ms)


async def _read(redis: RedisClient, now_ms: Callable[[], int]) -> Positions:
    pipe = _pipeline(redis)
    pipe.get(GENERATION)
    pipe.get(PARTITION_COUNT)
    pipe.hget(REBUILD, "phase")
    pipe.get(RELAY_LEASE)
    pipe.get(RELAY_GENERATION)
    _ask_tables(pipe, PUBLISHED_POSITION)
    pipe.hget(PUBLISHED_POSITION, "heard_ms")
    pipe.hmget(PUBLISHED_RELAYED, "last", "upto_ms")
    pipe.hgetall(ORGANIZATIONS_POSITION)
    pipe.hgetall(RELEASES_POSITION)
    pipe.hgetall(webhooks.WORKER)
    pipe.get(webhooks.LEASE)
    found = await pipe.execute()
    generation, count, phase, relay_lease, relayed, published, published_heard_ms, *rest = found
    published_relayed, organizations, releases, worker, webhooks_lease = rest
    partitions: list[Partition] = []
    if generation and count:
        keys = [PartitionKeys(Generation(generation.decode()), PartitionId(one)) for one in range(int(count))]
        for at in range(0, len(keys), _PARTITIONS_AT_ONCE):
            partitions += await _read_partitions(redis, keys[at : at + _PARTITIONS_AT_ONCE])
    published_cells = (await _unrelayed(redis, [(PUBLISHED_CHANGES, published_relayed)]))[0]
    asked_ms, asked = now_ms(), time.monotonic()
    told: Any = await redis.eval(_WHAT_TIME, 1, GENERATION)
    taken_ms = round((time.monotonic() - asked) * 1000)
    redis_ms = int(told[0]) * 1000 + int(told[1]) // 1000
    return Positions(
        at_ms=asked_ms + taken_ms,
        redis_ms=redis_ms,
        skew=clock_of_redis(asked_ms, asked_ms + taken_ms, redis_ms),
        serving=_text(generation),
        rebuilding=phase in _UNFINISHED,
        partitions=tuple(partitions),
        relay_lease=_number(relay_lease),
        relayed=_text(relayed),
        published=_tables(published),
        published_cells=published_cells,
        published_heard_ms=_number(published_heard_ms),
        organizations=organizations,
        releases=releases,
        worker=worker,
        webhooks_lease=_text(webhooks_lease),
    )


async def _read_partitions(redis: RedisClient, keys: list[PartitionKeys]) -> list[Partition]:
    pipe = _pipeline(redis)
    for one in keys:
        _ask_tables(pipe, one.position)
        pipe.hmget(one.relayed, "last", "upto_ms")
        pipe.xlen(one.results)
        pipe.xrange(one.results, count=1)
    found = await pipe.execute()
    relayed = found[1::4]
    cells = await _unrelayed(redis, list(zip([one.changes for one in keys], relayed, strict=True)))
    return [
        Partition(_tables(tables), changes, Unrelayed(None, _first_ms(results), length))
        for tables, changes, length, results in zip(found[0::4], cells, found[2::4], found[3::4], strict=True)
    ]


async def _unrelayed(redis: RedisClient, asked: list[tuple[str, list[bytes | None]]]) -> list[Unrelayed]:
    """Of each stream of notices, what comes after the last that was relayed."""
    after = ["-" if last is None else f"({last.decode()}" for _, (last, _) in asked]
    pipe = _pipeline(redis)
    for (stream, _), start in zip(asked, after, strict=True):
        pipe.xrange(stream, min=start, count=1)
    firsts = [_first_ms(entries) for entries in await pipe.execute()]
    behind = [number for number, first_ms in enumerate(firsts) if first_ms is not None]
    pipe = _pipeline(redis)
    for number in behind:
        pipe.eval(_COUNT, 1, asked[number][0], after[number], COUNTED_AT_MOST)
    counts = dict(zip(behind, await pipe.execute() if behind else (), strict=True))
    return [
        Unrelayed(_number(upto_ms), first_ms, counts.get(number, 0))
        for number, ((_, (_, upto_ms)), first_ms) in enumerate(zip(asked, firsts, strict=True))
    ]


_FIELDS: Final = ("next", "epoch", "owner", "log", "complete_ms", "changed_ms", "catch_up")


def _ask_tables(pipe: Any, key: str) -> None:
    pipe.hmget(key, *_FIELDS)


def _tables(stored: list[bytes | None]) -> Tables:
    following, epoch, owner, log, complete_ms, changed_ms, catch_up = stored
    return Tables(
        _number(following),
        _number(epoch),
        _text(owner),
        _text(log),
        _number(complete_ms),
        _number(changed_ms),
        _number(catch_up),
    )


def _first_ms(entries: list[tuple[bytes, Any]]) -> int | None:
    return int(entries[0][0].partition(b"-")[0]) if entries else None


def _number(stored: bytes | None) -> int | None:
    return int(stored) if stored else None


def _text(stored: bytes | None) -> str:
    return stored.decode(errors="replace") if stored else ""


def _pipeline(redis: RedisClient) -> Any:
    # Any: the two clients' pipelines share the commands used here, not a type.
    return redis.pipeline(transaction=False)
