"""Prometheus metrics of a process's audit; the same names in every process that keeps one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AuditMetrics:
    """What is written, what waits, and whether anything is lost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.entries = Counter(
            "scores_audit_entries", "Audit entries written to the spool", registry=registry
        )
        self.lost = Counter(
            "scores_audit_lost",
            "Audit entries that found no room while the disk took none",
            registry=registry,
        )
        self.failing = Gauge(
            "scores_audit_failing",
            "1 while the audit cannot be written, and nothing new is shown",
            registry=registry,
        )
        self.unshipped_bytes = Gauge(
            "scores_audit_unshipped_bytes",
            "Audit in the spool that Kafka has not acknowledged",
            registry=registry,
        )
