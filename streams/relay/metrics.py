"""Prometheus metrics of the relay."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.process.facts import tell_of_process
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES


class Metrics:
    """One relay's metrics in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        tell_of_process(self.registry)
        self.accidents = Counter(
            "scores_relay_accidents",
            "What befell Redis or Kafka, by kind (streams.accidents)",
            ["kind"],
            registry=self.registry,
        )
        self.active = Gauge(
            "scores_relay_active", "1 while this relay works, 0 while it stands by", registry=self.registry
        )
        self.records = Counter(
            "scores_relay_records", "Records acknowledged by Kafka", ["topic"], registry=self.registry
        )
        for topic in (AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES):
            self.records.labels(topic)
        self.rounds = Counter(
            "scores_relay_rounds", "Looks at the tables that came to their end", registry=self.registry
        )
        self.last_round = Gauge(
            "scores_relay_last_round_timestamp_seconds",
            "When everything that had changed was acknowledged by Kafka last",
            registry=self.registry,
        )
        self.read_anew = Counter(
            "scores_relay_read_anew",
            "Tables read as a whole, because they are new (start) or notices are gone (gap)",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("start", "gap"):
            self.read_anew.labels(reason)
