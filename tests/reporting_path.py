"""The path of a result in one process: exam reports through the real import service, its records through a real worker and
the real scripts into a real Redis, and the cells read back as the operator's commands read them. Only Kafka is a list."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import redis.asyncio
from fake_imports import NOW, PSEUDONYMIZER, MemoryImportStore, MemoryPublisher, registry
from faust.types import TP
from redis import Redis
from simulation.history import Fact
from simulation.log import LogRecord
from stack import live_cells

from cli.simulator.recount import CellId, CountedCell
from gateway.imports.documents import JSON, XML, Document
from gateway.imports.reading import DocumentReader
from gateway.imports.records import Submission
from gateway.imports.service import ImportService
from schemas.aggregates import CellField
from schemas.events import ExamResult, encode_event
from schemas.identifiers import OrganizationId, PartitionId, StudentId
from schemas.keys import GENERATION, Attribution, Generation, PartitionKeys
from schemas.shares import stored_cell, stored_fields
from schemas.topics import EXAM_RESULTS
from streams.clock import SystemClock
from streams.closings import never_closed
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.serving import serving_generation
from streams.tables import Tables
from streams.worker import Worker

_NO_FACT = Fact("", b"", "", (0, 0))


class ReportingPath:
    """One deployment with an empty store; ``schools`` are in its directory."""

    def __init__(
        self,
        url: str,
        schools: Sequence[str],
        *,
        attribution: Attribution = "current",
        partitions: int = 2,
        batch_records: int = 100,
    ) -> None:
        self.rejected: list[Rejection] = []
        self._url = url
        self._schools = frozenset(schools)
        self._attribution: Attribution = attribution
        self._batch_records = batch_records
        self._log: list[list[LogRecord]] = [[] for _ in range(partitions)]
        self._publisher = MemoryPublisher()
        self._service = ImportService(
            MemoryImportStore(schools),
            self._publisher,
            PSEUDONYMIZER,
            DocumentReader(registry()),
            clock=lambda: NOW,
        )
        with Redis.from_url(url) as client:
            client.flushall()

    def report(self, *documents: bytes) -> list[Submission]:
        """A testing vendor posts exam reports, as XML or as JSON events."""
        return asyncio.run(self._import(documents))

    def send(self, *events: ExamResult, key: str | None = None) -> None:
        """A producer that has its own sequence numbers writes events to Kafka."""
        for event in events:
            student = key or PSEUDONYMIZER.student_key(StudentId(event.student_id or ""))
            self._append(student.encode(), encode_event(event))

    def apply(self) -> None:
        """A worker starts, reads on to the end of the log, and stops."""
        asyncio.run(self._work())

    def cells(self) -> dict[CellId, CountedCell]:
        """All cells with results, after everything that was sent is applied."""
        self.apply()
        return {name: cell for name, cell in live_cells(self._url).items() if cell.results}

    def stored(self) -> dict[bytes, bytes]:
        """Every row and every share, byte for byte, without the times of change."""
        self.apply()
        found: dict[bytes, bytes] = {}
        with Redis.from_url(self._url) as client:
            for key in client.scan_iter("*:exams:*"):
                found |= {key + field: value for field, value in client.hgetall(key).items()}
            for key in client.scan_iter("*:cells:*"):
                found |= {key + field: value[8:] for field, value in client.hgetall(key).items()}
        # The name of the tables is the time of their creation.
        return {key[key.index(b".") :]: value for key, value in found.items()}

    def results_in(self, partition: int, organization: str, cell: str) -> int:
        """How many results one partition contributes to a cell."""
        self.apply()
        with Redis.from_url(self._url) as client:
            generation = Generation((client.get(GENERATION) or b"").decode())
            keys = PartitionKeys(generation, PartitionId(partition))
            parts: Any = client.hmget(
                keys.cells(OrganizationId(organization)), stored_fields([CellField(cell)])
            )
        return stored_cell(*parts)[1].results

    def partition_of(self, student: str) -> int:
        """Where a student's records are."""
        return int(PSEUDONYMIZER.student_key(StudentId(student))[:8], 16) % len(self._log)

    async def _import(self, documents: Sequence[bytes]) -> list[Submission]:
        kinds = [XML if document.lstrip().startswith(b"<") else JSON for document in documents]
        submissions = await self._service.submit(
            [Document(data, kind) for data, kind in zip(documents, kinds, strict=True)], "vendor"
        )
        for record in self._publisher.records:
            if record.topic == EXAM_RESULTS:
                self._append(record.key or b"", record.value or b"")
        self._publisher.records.clear()
        return submissions

    def _append(self, key: bytes, value: bytes) -> None:
        log = self._log[int(key[:8], 16) % len(self._log)]
        log.append(LogRecord(key, value, len(log), 0, _NO_FACT))

    async def _work(self) -> None:
        async with redis.asyncio.Redis.from_url(self._url) as client:
            worker = Worker(
                tables=Tables(client, "worker-1", "cluster/topic"),
                serving=lambda: serving_generation(client, len(self._log), self._attribution),
                reader=Reader(registry(), PSEUDONYMIZER, self._schools.__contains__, self._attribution),
                directory=_Directory(),
                closings=never_closed(),
                reject=self._reject,
                metrics=Metrics(),
                log_ends=self._log_ends,
                clock=SystemClock(),
            )
            starts = await worker.positions(frozenset(TP(EXAM_RESULTS, n) for n in range(len(self._log))))
            begin = {tp: offset or 0 for tp, offset in starts.items()}
            worker.sought(begin)
            for tp, start in begin.items():
                log = self._log[tp.partition]
                for first in range(start, len(log), self._batch_records):
                    records = log[first : first + self._batch_records]
                    seek_to = await worker.apply(Batch(EXAM_RESULTS, tp.partition, first, records))
                    assert seek_to is None

    async def _reject(self, rejections: Sequence[Rejection], partition: int) -> None:
        self.rejected += rejections

    async def _log_ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {number: len(self._log[number]) for number in partitions}


class _Directory:
    """All schools are known from the start."""

    async def catch_up(self) -> None:
        pass

    async def refresh(self) -> bool:
        return False

    async def positions(self) -> Mapping[int, int]:
        return {}
