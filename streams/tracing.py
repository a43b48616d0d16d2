"""The span of a batch, linked to the imports whose records are in it. Only imported where there are traces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import SpanKind

from schemas.process.spans import Attributes, Spans
from schemas.tracing import TracingSettings, batch_context, traces_of
from streams.partitions import Batch

# Records of a batch that are looked at for traces; unpacking the headers of all 5,000 would cost as much as applying hundreds.
_LOOKED_AT: Final = 256
_ALL: Final = 100  # percent: whether a trace is recorded was decided where it began


class BatchSpans:
    """Makes a span of each batch that has a record of a recorded trace."""

    def __init__(self, settings: TracingSettings, group: str) -> None:
        self._spans = Spans(settings, "scores-streams", percent=_ALL)
        self._group = group

    @contextmanager
    def of(self, batch: Batch) -> Iterator[None]:
        """Around the applying of a batch. Its ids follow from where the partition stands afterwards."""
        some = batch.records[:: max(1, len(batch.records) // _LOOKED_AT)]
        imports = traces_of(getattr(record, "headers", ()) for record in some)
        if not imports:
            yield
            return
        attributes: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "apply",
            "messaging.destination.name": batch.topic,
            "messaging.destination.partition.id": str(batch.partition),
            "messaging.consumer.group.name": self._group,
            "messaging.batch.message_count": len(batch.records),
        }
        ids = batch_context(batch.partition, batch.next)
        with self._spans.span(f"apply {batch.topic}", SpanKind.CONSUMER, attributes, links=imports, ids=ids):
            yield

    def stop(self) -> None:
        """Send what there is."""
        self._spans.stop()
