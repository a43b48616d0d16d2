"""``python -m consumers.lag``: the monitor, until it is told to stop. Several may run: one works, the others stand by.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from consumers.lag.metrics import MonitorMetrics
from consumers.lag.monitor import Monitor
from consumers.lag.sampling import Sampler
from consumers.lag.settings import Settings
from consumers.webhooks.connection import connect
from schemas.process.facts import tell_of_process
from schemas.process.running import Prepared, run_process


def main() -> int:
    """Run a monitor; returns the exit status."""
    return run_process("consumers.lag", _prepared)


def _prepared() -> Prepared:
    settings, registry = Settings.from_env(os.environ), CollectorRegistry()
    tell_of_process(registry)
    metrics = MonitorMetrics(registry)
    return Prepared(settings.log_format, settings.metrics_port, registry, lambda: run(settings, metrics))


def wall_ms() -> int:
    """Milliseconds since 1970, by this machine's clock."""
    return time.time_ns() // 1_000_000


async def run(settings: Settings, metrics: MonitorMetrics, *, now_ms: Callable[[], int] = wall_ms) -> None:
    """Monitor until cancelled; ``now_ms`` is the clock that all lags are measured by."""
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    monitor = Monitor(
        redis,
        lambda: Sampler(
            settings.kafka,
            redis,
            streams_group=settings.streams_group,
            webhooks_group=settings.webhooks_group,
            now_ms=now_ms,
        ),
        settings.rules,
        metrics,
        holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        every_seconds=settings.every_seconds,
        lease_seconds=settings.lease_seconds,
    )
    try:
        await monitor.run()
    finally:
        await redis.aclose()


if __name__ == "__main__":
    sys.exit(main())
