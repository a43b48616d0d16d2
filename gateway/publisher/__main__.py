"""``python -m gateway.publisher``: the publisher, until it is told to stop. A deployment runs exactly one.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault or when another publisher has taken over, 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from gateway.publisher.metrics import Metrics
from gateway.publisher.publisher import Publisher
from gateway.publisher.settings import Settings
from gateway.publisher.tables import PublishedTables
from gateway.redis_connection import connect
from gateway.release_news import hear_of_releases
from gateway.tables import Tables
from schemas.assessments import load_registry
from schemas.process.running import Prepared, run_process


def main() -> int:
    """Run a publisher; returns the exit status."""
    return run_process("gateway.publisher", _prepared)


def _prepared() -> Prepared:
    settings, metrics = Settings.from_env(os.environ), Metrics()
    return Prepared(
        settings.log_format, settings.metrics_port, metrics.registry, lambda: _publish(settings, metrics)
    )


async def _publish(settings: Settings, metrics: Metrics) -> None:
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    publisher = Publisher(
        Tables(redis, unlisted=settings.unlisted_release_state),
        PublishedTables(redis, f"{socket.gethostname()}:{os.getpid()}"),
        load_registry().at,
        metrics,
        publish_seconds=settings.publish_seconds,
    )
    hearing = asyncio.create_task(hear_of_releases(redis, publisher.look), name="hearing of releases")
    try:
        await publisher.run()
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})
        await redis.aclose()


if __name__ == "__main__":
    sys.exit(main())
