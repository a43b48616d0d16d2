"""A worker's engine on a real Redis, in this process and without Kafka: its log is a list, so tests see every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from faust.types import TP
from stack import SECRET

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.recount import CellId, CountedCell, Recount
from cli.simulator.season import Season
from schemas.assessments import load_registry
from schemas.events import decode_exam_result, encode_event
from schemas.keys import Generation, PartitionKeys
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS
from streams.accidents import Accident, Accidents
from streams.clock import SystemClock
from streams.closings import never_closed
from streams.connection import RedisClient, connect
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.serving import serving_generation
from streams.tables import Tables
from streams.worker import Worker

TOPIC_PARTITION = TP(EXAM_RESULTS, 0)


class LoggedRecord(NamedTuple):
    """One record of the log."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int = 1_780_000_000_000


class SeasonLog:
    """A simulated season as the log of one partition, and what the tables must be at each position of it."""

    def __init__(self, results: int = 400, *, schools: int = 6) -> None:
        options = SeasonOptions(schools=schools, results=results, rescores=0.2, resets=0.05, moves=0.1)
        county = plan_county(options.schools, options.seed)
        self.registry = load_registry()
        self.schools = [school.cds for school in county.schools]
        season = Season(county, self.registry, Pseudonymizer(SECRET.encode()), options)
        self.records = [
            LoggedRecord(record.key.encode(), encode_event(record.event), offset)
            for offset, record in enumerate(season)
        ]

    def __len__(self) -> int:
        return len(self.records)

    def cells(self, position: int | None = None) -> dict[CellId, CountedCell]:
        """The recount of everything before ``position``; of all without one."""
        recount = Recount(self.registry, self.schools)
        for record in self.records[:position]:
            recount.add(record.key.decode(), decode_exam_result(record.value))
        return recount.cells()


class _Directory:
    async def catch_up(self) -> None:
        pass

    async def refresh(self) -> bool:
        return False

    async def positions(self) -> Mapping[int, int]:
        return {}


class LoneWorker:
    """The only worker, of one partition; made by ``lone_worker``."""

    def __init__(self, log: SeasonLog, redis: RedisClient, metrics: Metrics) -> None:
        self.metrics = metrics
        self.redis = redis
        self.tables = Tables(redis, "worker-1", "log-1")
        self.rejected: list[Rejection] = []
        self._log = log
        self._worker = Worker(
            tables=self.tables,
            serving=self._serving,
            reader=Reader(log.registry, Pseudonymizer(SECRET.encode()), frozenset(log.schools).__contains__),
            directory=_Directory(),
            closings=never_closed(),
            reject=self._reject,
            metrics=metrics,
            log_ends=self._log_ends,
            clock=SystemClock(),
        )
        self._read_from = 0

    @property
    def keys(self) -> PartitionKeys:
        """The names of its partition's tables."""
        return self._worker._owned[0].keys

    def accidents(self, kind: Accident) -> float:
        """How often it happened."""
        return self.metrics.registry.get_sample_value("scores_accidents_total", {"kind": kind.label}) or 0.0

    async def claim(self) -> None:
        """The partition is assigned to it."""
        positions = await self._worker.positions(frozenset([TOPIC_PARTITION]))
        self._read_from = positions[TOPIC_PARTITION] or 0
        self._worker.sought({TOPIC_PARTITION: self._read_from})

    async def work(self, to: int | None = None, *, batch_records: int = 50) -> None:
        """Apply the log up to ``to``, or to its end, as often as it has to be read again."""
        end = len(self._log) if to is None else to
        while self._read_from < end:
            records = self._log.records[self._read_from : min(self._read_from + batch_records, end)]
            batch = Batch(EXAM_RESULTS, 0, self._read_from, records)
            again = await self._worker.apply(batch)
            self._read_from = batch.next if again is None else again

    async def look(self) -> None:
        """The timer: nothing has come; does the partition still stand where it was left?"""
        again = await self._worker.report_progress(frozenset([0]), 1_790_000_000_000)
        self._read_from = again.get(0, self._read_from)

    async def _serving(self) -> Generation:
        return await serving_generation(self.redis, 1)

    async def _reject(self, rejected: Sequence[Rejection], partition: int) -> None:
        await asyncio.sleep(0)
        self.rejected += rejected

    async def _log_ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, len(self._log))


@asynccontextmanager
async def lone_worker(
    log: SeasonLog, redis_url: str, *, budget_seconds: float = 20.0, cluster: bool = False
) -> AsyncIterator[LoneWorker]:
    """A worker that has its partition."""
    metrics = Metrics()
    redis = connect(redis_url, budget_seconds, Accidents(metrics.accidents), cluster=cluster)
    try:
        worker = LoneWorker(log, redis, metrics)
        await worker.claim()
        yield worker
    finally:
        await redis.aclose()
