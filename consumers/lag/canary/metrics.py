"""Prometheus metrics of a canary."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumers.lag.canary.rounds import CAN_LOSE, Stage


class CanaryMetrics:
    """All of them are there from the start, at 0: a rate of what appears with its first event misses that event."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sent = Counter("scores_canary_sent", "Canaries sent", registry=registry)
        self.last_sent = Gauge(
            "scores_canary_last_sent_timestamp_seconds", "When the last one was sent", registry=registry
        )
        self.latency = Histogram(
            "scores_canary_latency_seconds",
            "How long a canary took; total is from the import's request to the frame on a stream",
            ["stage"],
            # Finest around the objective of 2 s.
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
            registry=registry,
        )
        self.lost = Counter(
            "scores_canary_lost", "Canaries that did not leave a stage in time", ["stage"], registry=registry
        )
        for stage in Stage:
            self.latency.labels(stage)
        for stage in CAN_LOSE:
            self.lost.labels(stage)
