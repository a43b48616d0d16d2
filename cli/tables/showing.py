"""``scores tables`` for people and for programs."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.stores import opened_store
from cli.tables.reading import (
    SAMPLED,
    GenerationState,
    Memory,
    log_ends,
    read_generations,
    server_memory,
)
from schemas.errors import InvalidInput
from schemas.keys import PARTITION_COUNT, how_made


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
        ends = asyncio.run(log_ends(kafka, int(count))) if kafka else {}
        found = read_generations(redis, int(count), ends)
        memory = server_memory(redis)
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
            f"Bytes of rows and cells are estimated from up to {SAMPLED} hashes of a kind, drawn at random and measured whole; "
            "± is the standard error. Redis uses "
            f"{memory.used:,} bytes, {memory.dataset:,} of them data, whatever it is for."
        ),
        soft_wrap=True,
    )
    return 0


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
