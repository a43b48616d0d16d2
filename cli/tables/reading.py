"""Tables in Redis, counted and measured.

Bytes of exam rows and cells are estimated: of each kind some hashes are drawn at random and measured whole (MEMORY USAGE), and
the rest is taken to be like them. With the estimate goes its standard error. What Redis says of itself is exact, and includes
everything: all generations, the directory, the index of imports, and what the server spends on its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

from redis import Redis
from redis.cluster import RedisCluster

from cli.rebuild.cleaning import serving, table_key
from schemas.identifiers import STATE, PartitionId
from schemas.keys import LAYOUT, Generation, PartitionKeys, how_made
from schemas.shares import stored_cell
from schemas.topics import EXAM_RESULTS
from streams.fetching import Fetcher

SAMPLED: Final = 500  # hashes of a kind


@dataclass(slots=True)
class Kind:
    """The keys of one kind in one generation: all counted, some of them drawn."""

    keys: int = 0
    drawn: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # bytes of each drawn key
    fields: list[int] = field(default_factory=list)  # fields of each drawn hash

    def draw(self, name: str, dice: random.Random) -> None:
        """Count a key, and perhaps draw it: in the end each was drawn with the same chance."""
        self.keys += 1
        if len(self.drawn) < SAMPLED:
            self.drawn.append(name)
        elif (at := dice.randrange(self.keys)) < SAMPLED:
            self.drawn[at] = name

    @property
    def bytes(self) -> int:
        """All keys together, estimated."""
        return round(fmean(self.sizes) * self.keys) if self.sizes else 0

    @property
    def error_bytes(self) -> int:
        """The standard error of ``bytes``; 0 when all were measured."""
        if len(self.sizes) < 2 or len(self.sizes) == self.keys:
            return 0
        return round(stdev(self.sizes) / sqrt(len(self.sizes)) * self.keys)

    @property
    def all_fields(self) -> int:
        """The fields of all hashes together, estimated."""
        return round(fmean(self.fields) * self.keys) if self.fields else 0


@dataclass(slots=True)
class PartitionState:
    """Where one partition stands."""

    position: int | None
    lag: int | None  # None: nobody asked Kafka
    epoch: int | None
    owner: str | None
    complete_ms: int | None


@dataclass(slots=True)
class GenerationState:
    """One generation's tables."""

    name: Generation
    serves: bool
    results: int = 0
    exams: Kind = field(default_factory=Kind)
    cells: Kind = field(default_factory=Kind)
    other: Kind = field(default_factory=Kind)
    partitions: list[PartitionState] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """All its keys, estimated."""
        return self.exams.bytes + self.cells.bytes + self.other.bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """What the servers say of themselves, summed over masters."""

    used: int
    dataset: int


def read_generations(redis: Redis, partitions: int, ends: Mapping[int, int]) -> list[GenerationState]:
    """Every generation of which there are tables, the serving one first; ``ends`` are those of the log."""
    now = serving(redis)
    states: dict[Generation, GenerationState] = {}
    dice = random.Random()
    for key in redis.scan_iter(match="{*}:*", count=2_000):
        name = _text(key)
        found = table_key(name)
        if found is None:
            continue
        generation, what = found
        state = states.setdefault(generation, GenerationState(generation, generation == now))
        kind = {"exams": state.exams, "cells": state.cells}.get(what, state.other)
        kind.draw(name, dice)
    for state in states.values():
        for kind in (state.exams, state.cells, state.other):
            _measure(redis, kind, hashes=kind is not state.other)
        _read_partitions(redis, state, partitions, ends)
    return sorted(states.values(), key=lambda state: (not state.serves, state.name))


async def log_ends(kafka: str, partitions: int) -> dict[int, int]:
    """Where each partition of the results ends, by Kafka."""
    fetcher = Fetcher(kafka, batch_records=1, fetch_wait_ms=100)
    try:
        bounds = await fetcher.bounds((EXAM_RESULTS, number) for number in range(partitions))
    finally:
        await fetcher.close()
    return {number: end for (_, number), (_, end) in bounds.items()}


def server_memory(redis: Redis) -> Memory:
    """What the servers use just now."""
    masters: dict[str, Any] = (
        {"target_nodes": RedisCluster.PRIMARIES} if isinstance(redis, RedisCluster) else {}
    )
    answer: Any = redis.info("memory", **masters)
    servers = [answer] if "used_memory" in answer else list(answer.values())
    return Memory(
        sum(facts["used_memory"] for facts in servers),
        sum(facts.get("used_memory_dataset", 0) for facts in servers),
    )


def _measure(redis: Redis, kind: Kind, *, hashes: bool) -> None:
    for name in kind.drawn:
        size: Any = redis.memory_usage(name, samples=0)
        if size is None:
            continue  # removed meanwhile
        kind.sizes.append(size)
        if hashes:
            length: Any = redis.hlen(name)
            kind.fields.append(length)


def _read_partitions(redis: Redis, state: GenerationState, partitions: int, ends: Mapping[int, int]) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for number in range(partitions):
            keys = PartitionKeys(state.name, PartitionId(number))
            pipe.hmget(keys.position, ["next", "epoch", "owner", "complete_ms"])
            pipe.hvals(keys.cells(STATE))
        replies = pipe.execute()
    for number in range(partitions):
        (position, epoch, owner, complete_ms), shares = replies[2 * number], replies[2 * number + 1]
        at = _number(position)
        lag = max(0, ends[number] - (at or 0)) if number in ends else None
        state.partitions.append(
            PartitionState(at, lag, _number(epoch), owner and _text(owner), _number(complete_ms))
        )
        if how_made(state.name).layout == LAYOUT:
            state.results += sum(stored_cell(share)[1].results for share in shares)


def _number(stored: bytes | None) -> int | None:
    return None if stored is None else int(stored)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
