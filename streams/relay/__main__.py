"""``python -m streams.relay``: a relay, until it is told to stop. Several may run: one works, the others stand by.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys

from schemas.assessments import load_registry
from schemas.errors import Fenced
from schemas.process.running import Prepared, run_process
from streams.accidents import Accidents
from streams.connection import RedisClient, connect
from streams.relay.lease import Lease
from streams.relay.metrics import Metrics
from streams.relay.publishing import TransactionalPublisher
from streams.relay.relay import Relay
from streams.relay.settings import Settings
from streams.relay.tables import RelayTables

logger = logging.getLogger("streams.relay")


def main() -> int:
    """Run a relay; returns the exit status."""
    return run_process("streams.relay", _prepared)


def _prepared() -> Prepared:
    settings, metrics = Settings.from_env(os.environ), Metrics()
    return Prepared(
        settings.log_format, settings.metrics_port, metrics.registry, lambda: _relay(settings, metrics)
    )


async def _relay(settings: Settings, metrics: Metrics) -> None:
    redis = connect(
        settings.redis_url,
        settings.dependency_budget_seconds,
        Accidents(metrics.accidents),
        cluster=settings.redis_cluster,
    )
    publisher = TransactionalPublisher(settings.kafka)
    lease = Lease(redis, settings.lease_seconds)
    try:
        while True:
            logger.info("standing by")
            epoch = await lease.acquire()
            logger.info("relaying epoch=%d", epoch)
            metrics.active.set(1)
            try:
                await _work(settings, metrics, redis, publisher, lease, epoch)
            except Fenced as error:
                logger.warning("another relay works: %s", error)
            finally:
                metrics.active.set(0)
                with contextlib.suppress(Fenced):
                    await lease.release(epoch)
    finally:
        await publisher.close()
        await redis.aclose()


async def _work(
    settings: Settings,
    metrics: Metrics,
    redis: RedisClient,
    publisher: TransactionalPublisher,
    lease: Lease,
    epoch: int,
) -> None:
    """Relay under an epoch until cancelled, or until one of the two tasks fails."""
    relay = Relay(
        RelayTables(redis, epoch),
        publisher,
        load_registry().at,
        metrics,
        still_ours=lambda: lease.keep(epoch),
        round_seconds=settings.round_seconds,
        budget_seconds=settings.dependency_budget_seconds,
    )
    tasks = {
        asyncio.create_task(relay.run(), name="relaying"),
        asyncio.create_task(lease.keep_on(epoch), name="keeping the lease"),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


if __name__ == "__main__":
    sys.exit(main())
