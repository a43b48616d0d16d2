"""What memory and disk a demand takes: of Redis, of each process, of Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final

from cli.plan.demand import Demand
from cli.plan.line import Line
from cli.plan.measured import (
    AUDIT_BYTES,
    ENTRIES_A_STREAM,
    EVENT_BYTES,
    GATEWAY_MB,
    IMPORT_INDEX_BYTES,
    IMPORT_KEEP_DAYS,
    IMPORT_RECORD_BYTES,
    REDIS_RESIDENT_MB,
    REDIS_USED_MB,
    RESCORES,
    RESULT_BYTES,
    REWRITING,
    SCHOOL_KB,
    SEASON_RESULTS,
    SPARE,
    STREAM_KB,
    STREAM_SECONDS,
    VIEWING_HOURS,
    WORKER_MB,
)
from cli.plan.processes import Processes

_GIB: Final = 2**30


def memory_lines(demand: Demand, needed: Processes) -> Iterator[Line]:
    """Of Redis, all together; of one worker and one gateway."""
    results = demand.results * demand.years
    documents = demand.records * demand.years
    tables, imports = results * RESULT_BYTES.value, _imports_bytes(demand)
    yield Line(
        "redis_tables_gib",
        "Redis: tables",
        tables / _GIB,
        "GiB",
        f"{results:,} live results of {RESULT_BYTES.value} bytes",
        (RESULT_BYTES, SEASON_RESULTS),
    )
    yield Line(
        "redis_imports_gib",
        "Redis: imports",
        imports / _GIB,
        "GiB",
        f"{documents:,} documents: {IMPORT_RECORD_BYTES.value:g} bytes for {IMPORT_KEEP_DAYS} days, {IMPORT_INDEX_BYTES.value:g} for ever",
        (IMPORT_RECORD_BYTES, IMPORT_INDEX_BYTES, RESCORES),
    )
    limit = 2 * tables + imports
    yield Line(
        "redis_maxmemory_gib",
        "Redis: maxmemory, all masters",
        limit / _GIB,
        "GiB",
        "tables twice, for a rebuild, and imports",
        (RESULT_BYTES, IMPORT_RECORD_BYTES),
    )
    resident = REDIS_RESIDENT_MB.value / REDIS_USED_MB.value
    yield Line(
        "redis_machine_gib",
        "Redis: memory of its machines",
        limit * resident * (1 + REWRITING.value) / _GIB,
        "GiB",
        f"maxmemory x {resident:.2f} resident x {1 + REWRITING.value:g} while the append-only file is rewritten; again for each replica",
        (REDIS_RESIDENT_MB, REDIS_USED_MB, REWRITING),
    )
    yield Line(
        "worker_mb",
        "Memory of a worker",
        WORKER_MB.value,
        "MB",
        f"the peak of one that replayed a season; {needed.workers} of them",
        (WORKER_MB,),
    )
    most = ceil(demand.viewers / max(1, needed.gateways - int(SPARE.value)))
    gateway = GATEWAY_MB.value * 1e6 + most * STREAM_KB.value * 1e3 + demand.schools * SCHOOL_KB.value * 1e3
    yield Line(
        "gateway_mb",
        "Memory of a gateway",
        gateway / 1e6,
        "MB",
        f"{most:,} streams of {STREAM_KB.value} kB, {demand.schools:,} schools of {SCHOOL_KB.value:g} kB; the kernel's buffers beside it",
        (GATEWAY_MB, STREAM_KB, SCHOOL_KB),
    )


def disk_lines(demand: Demand) -> Iterator[Line]:
    """Of Kafka."""
    records = demand.records * demand.years
    yield Line(
        "kafka_results_gib",
        "Kafka: results, for ever",
        records * EVENT_BYTES.value * demand.copies / _GIB,
        "GiB",
        f"{records:,} records of {EVENT_BYTES.value:g} bytes, {demand.copies} copies; compression makes it less",
        (EVENT_BYTES, RESCORES),
    )
    streams = demand.viewers * VIEWING_HOURS.value * 3_600 / STREAM_SECONDS
    yield Line(
        "kafka_audit_gib",
        "Kafka: audit, for ever, a year",
        streams * ENTRIES_A_STREAM * AUDIT_BYTES.value * demand.copies / _GIB,
        "GiB",
        f"{streams:,.0f} streams, {ENTRIES_A_STREAM} entries of {AUDIT_BYTES.value:g} bytes each, {demand.copies} copies",
        (AUDIT_BYTES, VIEWING_HOURS),
    )


def _imports_bytes(demand: Demand) -> float:
    """What is remembered of imports: records for a while, the index of exams for ever."""
    kept = min(demand.years, IMPORT_KEEP_DAYS / 365)
    return demand.records * kept * IMPORT_RECORD_BYTES.value + (
        demand.results * demand.years * IMPORT_INDEX_BYTES.value
    )
