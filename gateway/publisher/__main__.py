"""``python -m gateway.publisher``: the publisher, until it is told to stop. A deployment runs exactly one.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault or when another publisher has taken over, 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import logging
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
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.logs import configure_logging
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from schemas.process.stopping import until_stopped

logger = logging.getLogger("gateway.publisher")


def main() -> int:
    """Run a publisher; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        metrics, pulse = Metrics(), Pulse()
        serve_pages(settings.metrics_port, metrics.registry, pulse)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_format)
    try:
        asyncio.run(_publish(settings, metrics, pulse))
    except ScoreStreamError as error:
        logger.error("stopped: %s", error)
        return 1
    logger.info("stopped")
    return 0


async def _publish(settings: Settings, metrics: Metrics, pulse: Pulse) -> None:
    pulse.beat_on(asyncio.get_running_loop())
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
        await until_stopped(publisher.run(), "the publisher")
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})
        await redis.aclose()


if __name__ == "__main__":
    sys.exit(main())
