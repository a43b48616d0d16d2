"""Prometheus metrics of the gateway; never labelled by school, student or user."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from schemas.process.audit.metrics import AuditMetrics
from schemas.process.facts import tell_of_process


class FramesSent(Collector):
    """Counts frames without a lock, which is a good part of what sending one costs; one event loop counts."""

    def __init__(self) -> None:
        self._counts: Counts[str] = Counts()

    def count(self, kind: str, number: int = 1) -> None:
        """So many more of this kind."""
        self._counts[kind] += number

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For the registry."""
        family = CounterMetricFamily("scores_sse_frames", "Frames sent, by kind", labels=["kind"])
        for kind, sent in self._counts.items():
            family.add_metric([kind], sent)
        yield family


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.connections = Gauge("scores_sse_connections", "Open streams", registry=self.registry)
        self.connects = Counter(
            "scores_sse_connects", "Streams asked for, by outcome", ["outcome"], registry=self.registry
        )
        self.closes = Counter(
            "scores_sse_closes", "Streams ended, by reason", ["reason"], registry=self.registry
        )
        self.frames = FramesSent()
        self.registry.register(self.frames)
        self.merged = Counter(
            "scores_sse_merged",
            "Patches merged into a pending one of a slow subscriber",
            registry=self.registry,
        )
        self.resumes = Counter(
            "scores_sse_resumes",
            "Streams that came back with an id, by what they got",
            ["result"],
            registry=self.registry,
        )
        self.snapshots = Counter(
            "scores_sse_snapshot_builds", "Organizations read as a whole", registry=self.registry
        )
        self.subscription_changes = Counter(
            "scores_sse_subscription_changes", "Subscriptions changed on open streams", registry=self.registry
        )
        self.renewals = Counter("scores_sse_renewals", "Streams given a fresh token", registry=self.registry)
        self.cells = Counter("scores_sse_cells", "Changed cells encoded", registry=self.registry)
        self.fanout_seconds = Histogram(
            "scores_fanout_seconds",
            "From a change noticed to its frames handed over to the subscribers",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.freshness_seconds = Histogram(
            "scores_freshness_seconds",
            "From a change in Redis, by Redis' clock, to its frames handed over to the subscribers, by ours",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.denied = Counter(
            "scores_auth_denied", "Requests refused, by reason", ["reason"], registry=self.registry
        )
        self.tables_live = Gauge(
            "scores_gateway_tables_live", "1 while changes are followed", registry=self.registry
        )
        self.tables_stale = Gauge(
            "scores_gateway_tables_stale",
            "1 while the figures are incomplete, because tables are still being built from the log",
            registry=self.registry,
        )
        self.watermark = Gauge(
            "scores_gateway_watermark_timestamp_seconds",
            "Time up to which results are complete, as subscribers are told",
            registry=self.registry,
        )
        self.audit = AuditMetrics(self.registry)
        tell_of_process(self.registry)
