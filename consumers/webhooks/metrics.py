"""Prometheus metrics of the webhook worker, but for those of its attempts (``delivery_metrics``).

None of them depends on a figure that is held back: records are counted as the topics have them, the rest is of messages.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class WorkerMetrics:
    """What one worker takes in and has to do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "scores_webhook_active",
            "1 for the worker that delivers, 0 for one that stands by",
            registry=registry,
        )
        self.reigns = Counter(
            "scores_webhook_reigns", "How often this worker began to deliver", registry=registry
        )
        self.records = Counter("scores_webhook_records", "Records taken in", registry=registry)
        self.unreadable = Counter(
            "scores_webhook_unreadable_records", "Records that could not be read", registry=registry
        )
        self.lag = Gauge(
            "scores_webhook_lag_records", "Records of the topics that are still to be read", registry=registry
        )
        self.pending = Gauge(
            "scores_webhook_pending",
            "Organizations of which an endpoint has yet to be told",
            registry=registry,
        )
        self.queue_depth = Gauge(
            "scores_webhook_queue_depth", "Messages that wait for an attempt", registry=registry
        )
        self.endpoints = Gauge(
            "scores_webhook_endpoints",
            "Endpoints by what may be delivered to them",
            ["state"],
            registry=registry,
        )
