"""``scores tables``: which tables Redis holds, how far they are, and how many bytes a result and a cell take.

Bytes of exam rows and cells are estimated: of each kind some hashes are drawn at random and measured whole (MEMORY USAGE), and
the rest is taken to be like them. With the estimate goes its standard error. What Redis says of itself is exact, and includes
everything: all generations, the directory, the index of imports, and what the server spends on its own.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

import msgspec
from redis import Redis
from redis.cluster import RedisCluster
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.rebuild.cleaning import serving, table_key
from cli.stores import opened_store
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, PartitionId
from schemas.keys import LAYOUT, PARTITION_COUNT, Generation, PartitionKeys, how_made
from schemas.shares import stored_cell
from schemas.topics import EXAM_RESULTS
from streams.fetching import Fetcher

_SAMPLED: Final = 500  # hashes of a kind
_ASKED_AT_ONCE: Final = 1_000


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
        if len(self.drawn) < _SAMPLED:
            self.drawn.append(name)
        elif (at := dice.randrange(self.keys)) < _SAMPLED:
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


def show_tables(redis_url: str, kafka: str | None, *, partitions: bool, as_json: bool) -> int:
    """Show every generation.

    Raises:
        InvalidInput: there are no tables, or the address is none.
        DependencyUnavailable: Redis or Kafka does not answer.
    """
    with opened_store(redis_url) as redis:
        count: Any = redis.get(PARTITION_COUNT)
        if count is None:
            raise InvalidInput("this Redis has no tables: no stream worker has run with it; check --redis")
        ends = asyncio.run(_log_ends(kafka, int(count))) if kafka else {}
        found = read_generations(redis, int(count), ends)
        memory = _memory(redis)
    if as_json:
        body = {
            "used_memory": memory.used,
            "used_memory_dataset": memory.dataset,
            "generations": [_body(state, memory) for state in found],
        }
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
        return 0
    console = Console()
    for state in found:
        _print(console, state, memory)
        if partitions:
            _print_partitions(console, state)
    console.print(
        Text(
            f"Bytes of rows and cells are estimated from up to {_SAMPLED} hashes of a kind, drawn at random and measured whole; "
            "± is the standard error. Redis uses "
            f"{memory.used:,} bytes, {memory.dataset:,} of them data, whatever it is for."
        ),
        soft_wrap=True,
    )
    return 0


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


async def _log_ends(kafka: str, partitions: int) -> dict[int, int]:
    fetcher = Fetcher(kafka, batch_records=1, fetch_wait_ms=100)
    try:
        bounds = await fetcher.bounds((EXAM_RESULTS, number) for number in range(partitions))
    finally:
        await fetcher.close()
    return {number: end for (_, number), (_, end) in bounds.items()}


def _memory(redis: Redis) -> Memory:
    masters: dict[str, Any] = (
        {"target_nodes": RedisCluster.PRIMARIES} if isinstance(redis, RedisCluster) else {}
    )
    answer: Any = redis.info("memory", **masters)
    servers = [answer] if "used_memory" in answer else list(answer.values())
    return Memory(
        sum(facts["used_memory"] for facts in servers),
        sum(facts.get("used_memory_dataset", 0) for facts in servers),
    )


def _body(state: GenerationState, memory: Memory) -> dict[str, object]:
    made = how_made(state.name)
    lags = [partition.lag for partition in state.partitions]
    return {
        "generation": state.name,
        "serves": state.serves,
        "attribution": made.attribution,
        "layout": made.layout,
        "partitions": [asdict(partition) for partition in state.partitions],
        "events": sum(partition.position or 0 for partition in state.partitions),
        "lag": None if None in lags else sum(lag or 0 for lag in lags),
        "results": state.results,
        "exam_hashes": state.exams.keys,
        "exam_rows_estimated": state.exams.all_fields,
        "cell_hashes": state.cells.keys,
        "cells_estimated": state.cells.all_fields,
        "sampled_hashes": {"exams": len(state.exams.sizes), "cells": len(state.cells.sizes)},
        "bytes_estimated": {
            "exams": state.exams.bytes,
            "exams_error": state.exams.error_bytes,
            "cells": state.cells.bytes,
            "cells_error": state.cells.error_bytes,
            "other": state.other.bytes,
        },
        "bytes_per_result": _per(state.bytes, state.results),
        "bytes_per_result_exams": _per(state.exams.bytes, state.results),
        "bytes_per_result_cells": _per(state.cells.bytes, state.results),
        "bytes_per_cell": _per(state.cells.bytes, state.cells.all_fields),
        "dataset_bytes_per_result": _per(memory.dataset, state.results) if state.serves else None,
        "used_bytes_per_result": _per(memory.used, state.results) if state.serves else None,
    }


def _print(console: Console, state: GenerationState, memory: Memory) -> None:
    made = how_made(state.name)
    table = Table(
        title=f"{state.name}: {'serves' if state.serves else 'does not serve'}",
        title_justify="left",
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    lags = [partition.lag for partition in state.partitions]
    table.add_row("counts by", f"the {made.attribution} school")
    table.add_row("layout", str(made.layout))
    table.add_row("partitions", f"{len(state.partitions):,}")
    table.add_row("events applied, up to offset", f"{sum(p.position or 0 for p in state.partitions):,}")
    table.add_row("events behind", "not asked" if None in lags else f"{sum(lag or 0 for lag in lags):,}")
    table.add_row("live results", f"{state.results:,}")
    table.add_row("exam rows", f"{state.exams.all_fields:,} in {state.exams.keys:,} hashes")
    table.add_row("shares of cells", f"{state.cells.all_fields:,} in {state.cells.keys:,} hashes")
    table.add_section()
    for what, kind in (
        ("exam rows", state.exams),
        ("cells", state.cells),
        ("positions and notices", state.other),
    ):
        error = f" ± {kind.error_bytes:,}" if kind.error_bytes else ""
        table.add_row(f"bytes of {what}", f"{kind.bytes:,}{error}")
    table.add_row("bytes per cell", _shown(_per(state.cells.bytes, state.cells.all_fields)))
    table.add_row("bytes per live result: exam rows", _shown(_per(state.exams.bytes, state.results)))
    table.add_row("... and cells", _shown(_per(state.cells.bytes, state.results)))
    table.add_row("... and all of this generation", _shown(_per(state.bytes, state.results)))
    if state.serves:
        table.add_row("... and all that Redis holds", _shown(_per(memory.dataset, state.results)))
    console.print(table)


def _print_partitions(console: Console, state: GenerationState) -> None:
    table = Table(title=f"Partitions of {state.name}", title_justify="left")
    for heading in ("partition", "position", "behind", "epoch"):
        table.add_column(heading, justify="right")
    table.add_column("owner", overflow="fold")
    table.add_column("complete up to (UTC)")
    for number, partition in enumerate(state.partitions):
        complete = partition.complete_ms and datetime.fromtimestamp(partition.complete_ms / 1000, UTC)
        table.add_row(
            str(number),
            _shown(partition.position),
            _shown(partition.lag),
            "-" if partition.epoch is None else str(partition.epoch),
            partition.owner or "-",
            f"{complete:%Y-%m-%d %H:%M:%S}" if complete else "-",
        )
    console.print(table)


def _per(number: int, of: int) -> float | None:
    return round(number / of, 1) if of else None


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:,}"


def _number(stored: bytes | None) -> int | None:
    return None if stored is None else int(stored)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
