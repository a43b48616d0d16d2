"""Prometheus metrics of delivery; never labelled by endpoint, organization or owner."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.webhooks.endpoints import DisabledReason
from schemas.webhooks.retrying import Verdict

UNSENT: Final = "unsent"  # for a reason of ours, such as a secret that this deployment's key does not open


class DeliveryMetrics:
    """Attempts and what came of them, in the worker's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "scores_webhook_attempts", "Attempts to deliver, by result", ["result"], registry=registry
        )
        for result in (*Verdict, UNSENT):  # there at 0, or an alert on the rate misses the first one
            self.attempts.labels(str(result))
        self.attempt_seconds = Histogram(
            "scores_webhook_attempt_seconds",
            "From an attempt's beginning to its answer",
            buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 15),
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "scores_webhook_delivery_seconds",
            "From a message's making to its delivery, over all attempts",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60, 600, 3_600, 36_000, 360_000),
            registry=registry,
        )
        self.disabled = Counter(
            "scores_webhook_disabled",
            "Endpoints that were disabled, by reason",
            ["reason"],
            registry=registry,
        )
        for reason in DisabledReason:
            self.disabled.labels(reason.value)
        self.given_up = Counter("scores_webhook_given_up", "Messages that were given up", registry=registry)
        self.revived = Counter(
            "scores_webhook_revived",
            "Endpoints that answered again after their circuit had been open",
            registry=registry,
        )
        self.under_way = Gauge(
            "scores_webhook_attempts_under_way",
            "Attempts under way, of quick and of slow endpoints",
            ["endpoints"],
            registry=registry,
        )
