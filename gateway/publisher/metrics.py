"""Prometheus metrics of the publisher.

Nothing here may depend on a figure that is held back: what is counted and timed is what is published, and rounds go by the
clock whether there was anything to do or not.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.process.facts import tell_of_process


class Metrics:
    """One publisher's metrics in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        tell_of_process(self.registry)
        self.rounds = Counter("scores_publisher_rounds", "Rounds finished", registry=self.registry)
        self.last_round = Gauge(
            "scores_publisher_last_round_timestamp_seconds",
            "When the last round was finished; when it stays behind, published figures stand still",
            registry=self.registry,
        )
        self.waiting = Gauge(
            "scores_publisher_waiting",
            "1 while nothing is published, because the tables are away, incomplete or being read",
            registry=self.registry,
        )
        self.waiting.set(1)
        self.writes = Counter("scores_publisher_writes", "Writes of published cells", registry=self.registry)
        self.write_seconds = Histogram(
            "scores_publisher_write_seconds",
            "How long a write of published cells took",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.cells = Counter("scores_publisher_cells", "Cells published", registry=self.registry)
