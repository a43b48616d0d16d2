"""``python -m consumers.webhooks``: delivers webhooks until it is told to stop, or stands by for the worker that does.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import socket
import ssl
import sys
from collections.abc import Callable

import uvloop
from prometheus_client import CollectorRegistry

from consumers.webhooks.answers import Limits
from consumers.webhooks.attempt_headers import Signer
from consumers.webhooks.attempting import Sends
from consumers.webhooks.audit_producer import AuditProducer
from consumers.webhooks.connection import REDIS_AWAY, connect
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.metrics import WorkerMetrics
from consumers.webhooks.resolving import Resolver, SystemLookup
from consumers.webhooks.sending import Sender, tls_context
from consumers.webhooks.settings import Settings
from consumers.webhooks.worker import Worker
from schemas.access.role_book import RoleBook
from schemas.assessments import load_registry
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.logs import configure_logging
from schemas.process.audit.keeping import AuditKeeping
from schemas.process.audit.metrics import AuditMetrics
from schemas.process.audit.writer import Audit
from schemas.process.facts import running_version, tell_of_process
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from schemas.process.stopping import until_stopped

logger = logging.getLogger("consumers.webhooks")


def main() -> int:
    """Run a worker; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        roles = RoleBook(settings.roles_file)
        roles.load()
        tls = tls_context(None if settings.authorities is None else str(settings.authorities))
        registry, pulse = CollectorRegistry(), Pulse()
        audit_metrics = AuditMetrics(registry)
        audit = Audit(settings.audit, f"webhooks-{secrets.token_hex(6)}", audit_metrics)
        tell_of_process(registry)
        serve_pages(settings.metrics_port, registry, pulse)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_format)
    # What is here stays, and what deliveries are made of lives long enough that looking through it often finds nothing.
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    try:
        uvloop.run(_run(settings, roles, registry, tls, pulse, audit, audit_metrics))
    except (ScoreStreamError, OSError) as error:
        logger.error("stopped: %s", error)
        return 1
    logger.info("stopped")
    return 0


async def _run(
    settings: Settings,
    roles: RoleBook,
    registry: CollectorRegistry,
    tls: ssl.SSLContext,
    pulse: Pulse,
    audit: Audit,
    audit_metrics: AuditMetrics,
) -> None:
    pulse.beat_on(asyncio.get_running_loop())
    box = settings.deployment.box()
    assert box is not None
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    lookup = SystemLookup()
    sender = Sender(
        Resolver(lookup, also_refused=settings.refused_networks),
        tls=tls,
        limits=Limits(seconds=settings.delivery.attempt_seconds),
    )
    sends, stop_tracing = _traced(sender, settings)
    keeping = AuditKeeping(
        settings.audit,
        audit,
        AuditProducer(settings.kafka),
        redis,
        audit_metrics,
        redis_away=REDIS_AWAY,
    )
    worker = Worker(
        settings,
        redis,
        f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        sends,
        Signer(box, running_version()),
        roles,
        load_registry(),
        WorkerMetrics(registry),
        DeliveryMetrics(registry),
        audit,
    )
    await keeping.start()
    reading = asyncio.create_task(roles.run(), name="reading the roles")
    try:
        await until_stopped(worker.run(), "the worker")
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await sender.close()
        await keeping.stop()
        lookup.close()
        await redis.aclose()
        await asyncio.to_thread(stop_tracing)


def _traced(sender: Sender, settings: Settings) -> tuple[Sends, Callable[[], None]]:
    """The sender, in spans where traces are wanted, and what ends them."""
    if not settings.tracing.on:
        return sender, lambda: None
    from consumers.webhooks.tracing import TracedSender  # costs a third of a second, which most do not need
    from schemas.process.spans import Spans

    spans = Spans(settings.tracing, "scores-webhooks")
    return TracedSender(sender, spans), spans.stop


if __name__ == "__main__":
    sys.exit(main())
