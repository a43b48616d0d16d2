"""What traces cost a stream worker: the same batches applied to tables in Redis, with and without what makes them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from faust.types import TP
from msgspec import Struct

from bench.replay_records import Season
from bench.replay_season import school_code
from schemas.assessments import load_registry
from schemas.events import EXAM_RESULT_TYPE, cloud_event_headers
from schemas.keys import Generation, new_generation
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS
from schemas.tracing import TRACEPARENT, TraceContext, TracingSettings, format_traceparent
from streams.accidents import Accidents
from streams.clock import SystemClock
from streams.closings import never_closed
from streams.connection import connect
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.tables import Tables
from streams.tracing import BatchSpans
from streams.worker import Worker

_SECRET: Final = b"a secret of the benchmark, of no value"
_SCHOOLS: Final = 200
_TOPIC: Final = TP(EXAM_RESULTS, 0)
_BUDGET_SECONDS: Final = 10.0

Traced = Callable[[Batch], AbstractContextManager[object]]


class Way(Enum):
    """How batches are applied."""

    WITHOUT = "without the call"
    OFF = "off"
    UNRECORDED = "on, no import recorded"
    RECORDED = "on, every result an import recorded"


class _Record(Struct, frozen=True, gc=False):
    key: bytes
    value: bytes
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]


class _KnownDirectory:
    """Organizations that are known and stay as they are."""

    async def catch_up(self) -> None:
        """Nothing to read."""

    async def refresh(self) -> bool:
        """Nothing new."""
        return False

    async def positions(self) -> Mapping[int, int]:
        """Of no partition."""
        return {}


class Batches:
    """Batches of a season, twice: as imports send them that nobody traces, and as those that are recorded."""

    def __init__(self, events: int, of_records: int) -> None:
        plain = cloud_event_headers(EXAM_RESULT_TYPE, "tracing", "/scores/bench", datetime.now(UTC))
        now_ms = time.time_ns() // 1_000_000
        season = Season(events, _SCHOOLS, 1, _SECRET, "mixed").part(0, 1)
        records = [
            _Record(key, value, offset, now_ms, [*plain])
            for offset, (key, value) in enumerate(itertools.islice(season, events))
        ]
        self.events = len(records)
        self.plain = _batches(records, of_records)
        self.recorded = _batches([_recorded(record) for record in records], of_records)


def _recorded(record: _Record) -> _Record:
    context = TraceContext(record.offset + 1, record.offset + 1)
    header = (TRACEPARENT, format_traceparent(context).encode())
    return _Record(record.key, record.value, record.offset, record.timestamp, [*record.headers, header])


def _batches(records: Sequence[_Record], size: int) -> list[Batch]:
    return [
        Batch(EXAM_RESULTS, 0, start, records[start : start + size]) for start in range(0, len(records), size)
    ]


def applied(way: Way, batches: Batches, redis_url: str, tracing: TracingSettings) -> float:
    """Apply them to new tables; returns the CPU seconds of this process, the sending of spans included."""
    spans = BatchSpans(tracing, "bench") if way in (Way.UNRECORDED, Way.RECORDED) else None
    return asyncio.run(_applied(way, batches, redis_url, spans))


async def _applied(way: Way, batches: Batches, redis_url: str, spans: BatchSpans | None) -> float:
    metrics = Metrics()
    accidents = Accidents(metrics.accidents)
    redis = connect(redis_url, _BUDGET_SECONDS, accidents)
    try:
        await redis.flushall()
        worker = _worker(Tables(redis, "bench", "bench"), metrics)
        await worker.positions(frozenset({_TOPIC}))
        worker.sought({_TOPIC: 0})
        apply = _as_the_app_does(worker, accidents, way, spans)
        work = batches.recorded if way is Way.RECORDED else batches.plain
        began = time.process_time()
        for batch in work:
            await apply(batch)
        if spans is not None:
            spans.stop()
        spent = time.process_time() - began
        standing = worker.positions_now()[0]
        if standing != batches.events:
            raise SystemExit(
                f"the worker stands at {standing:,} after {batches.events:,} events; see its log"
            )
        return spent
    finally:
        if spans is not None:
            spans.stop()
        await redis.aclose()


def _as_the_app_does(
    worker: Worker, accidents: Accidents, way: Way, spans: BatchSpans | None
) -> Callable[[Batch], Awaitable[None]]:
    """What ``streams.app`` puts around a batch; and the same as it would be if nobody had ever thought of traces."""
    traced: Traced = nullcontext if spans is None else spans.of

    async def apply(batch: Batch) -> None:
        with accidents.named(), traced(batch):
            await worker.apply(batch)

    async def apply_without(batch: Batch) -> None:
        with accidents.named():
            await worker.apply(batch)

    return apply_without if way is Way.WITHOUT else apply


def _worker(tables: Tables, metrics: Metrics) -> Worker:
    generation = new_generation(time.time_ns() // 1_000_000)
    schools = {school_code(number, _SCHOOLS) for number in range(_SCHOOLS)}

    async def serving() -> Generation:
        return generation

    async def log_ends(partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, 0)

    async def refuse(rejected: Sequence[Rejection], partition: int) -> None:
        raise SystemExit(f"{len(rejected)} events were rejected, the first for {rejected[0].reason.value}")

    return Worker(
        tables=tables,
        serving=serving,
        reader=Reader(load_registry(), Pseudonymizer(_SECRET), schools.__contains__),
        directory=_KnownDirectory(),
        closings=never_closed(),
        reject=refuse,
        metrics=metrics,
        log_ends=log_ends,
        clock=SystemClock(),
    )


def call_ns(times: int = 200_000) -> float:
    """Nanoseconds that the call alone takes of a batch when there are no traces."""
    batch = Batch(EXAM_RESULTS, 0, 0, ())
    traced: Traced = nullcontext
    began = time.perf_counter_ns()
    for _ in range(times):
        pass
    empty = time.perf_counter_ns() - began
    began = time.perf_counter_ns()
    for _ in range(times):
        with traced(batch):
            pass
    return (time.perf_counter_ns() - began - empty) / times
