"""``python -m consumers.lag``: the monitor, until it is told to stop. Several may run: one works, the others stand by.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import logging
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
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.logs import configure_logging
from schemas.process.facts import tell_of_process
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from schemas.process.stopping import until_stopped

logger = logging.getLogger("consumers.lag")


def main() -> int:
    """Run a monitor; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        registry, pulse = CollectorRegistry(), Pulse()
        tell_of_process(registry)
        serve_pages(settings.metrics_port, registry, pulse)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_format)
    try:
        asyncio.run(_until_stopped(settings, MonitorMetrics(registry), pulse))
    except ScoreStreamError as error:
        logger.error("stopped: %s", error)
        return 1
    logger.info("stopped")
    return 0


async def _until_stopped(settings: Settings, metrics: MonitorMetrics, pulse: Pulse) -> None:
    pulse.beat_on(asyncio.get_running_loop())
    await until_stopped(run(settings, metrics), "the monitor")


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
