"""Tells Kafka of changed cells in the relay's words, so that a run need not wait for a relay."""

from __future__ import annotations

from typing import Final, Self
from zlib import crc32

from confluent_kafka import KafkaError, Message, Producer

from schemas.aggregate_changes import CellChange, encode_change
from schemas.aggregates import CellField, cell_name
from schemas.assessments import load_registry
from schemas.figures import figures
from schemas.identifiers import OrganizationId
from schemas.topics import AGGREGATE_CHANGES
from tests.fake_worker import FakeWorker

_FLUSH_SECONDS: Final = 60.0


class ChangesTopic:
    """The topic ``aggregate-changes.v1``, open inside ``with``; of the cells that a ``FakeWorker`` has."""

    def __init__(self, kafka: str, tables: FakeWorker) -> None:
        self.failure = ""
        self._tables = tables
        self._registry = load_registry()
        self._producer = Producer(
            {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )

    def put(self, organization: OrganizationId, field: CellField, changed_ms: int) -> None:
        """One cell as it is now."""
        cell, name = self._tables.merged(organization, field), cell_name(field)
        change = CellChange(
            organization=organization,
            cell=field,
            generation=self._tables.generation,
            version=cell.version,
            changed_ms=changed_ms,
            figures=figures(cell, self._registry.at(*name), name, changed_ms),
        )
        self._producer.produce(
            AGGREGATE_CHANGES,
            encode_change(change),
            key=f"{organization}/{field}",
            partition=crc32(organization.encode()) % self._tables.partitions,
            on_delivery=self._acknowledged,
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Return when Kafka has everything, or ``failure`` says why not."""
        if self._producer.flush(_FLUSH_SECONDS):
            self.failure = self.failure or f"Kafka did not take everything within {_FLUSH_SECONDS:g} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._producer.close()

    def _acknowledged(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.failure = f"Kafka refused a record: {error}"
