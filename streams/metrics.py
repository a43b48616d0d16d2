"""Prometheus metrics of the stream worker; never labelled by school, student or user."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.process.facts import tell_of_process
from schemas.rejections import Reason


class Metrics:
    """One worker's metrics in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        tell_of_process(self.registry)
        self.events = Counter(
            "scores_events", "Events by what became of them", ["outcome"], registry=self.registry
        )
        self.rejected = Counter(
            "scores_rejected", "Events rejected, by reason", ["reason"], registry=self.registry
        )
        for reason in Reason:  # there at 0, or an alert on the rate misses the first rejection
            self.rejected.labels(reason.value)
        self.accidents = Counter(
            "scores_accidents",
            "What befell Redis or the log, by kind (streams.accidents)",
            ["kind"],
            registry=self.registry,
        )
        self.batches = Counter("scores_batches", "Batches applied", registry=self.registry)
        self.batch_records = Histogram(
            "scores_batch_records",
            "Records in a batch",
            buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
            registry=self.registry,
        )
        self.apply_seconds = Histogram(
            "scores_apply_seconds",
            "From batch received to batch applied",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.cells_written = Counter("scores_cells_written", "Cells written", registry=self.registry)
        self.fenced_writes = Counter(
            "scores_fenced_writes", "Writes refused by the epoch", registry=self.registry
        )
        self.claims = Counter("scores_claims", "Partitions claimed", registry=self.registry)
        self.rebalances = Counter("scores_rebalances", "Assignments received", registry=self.registry)
        self.partitions = Gauge(
            "scores_partitions_owned", "Partitions this worker owns", registry=self.registry
        )
        self.watermark = Gauge(
            "scores_watermark_timestamp_seconds",
            "Oldest of the owned partitions' times up to which results are complete",
            registry=self.registry,
        )
