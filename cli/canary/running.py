"""``scores canary run``: a canary until it is told to stop, with a receiver of webhooks where it is to have one.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from cli.webhooks.inbox import Delivery
from cli.webhooks.receiving import LocalReceiver
from consumers.lag.canary.canary import Canary
from consumers.lag.canary.metrics import CanaryMetrics
from consumers.lag.canary.settings import Settings
from consumers.webhooks.connection import connect
from schemas.assessments import load_registry
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.figures import Figures
from schemas.logs import configure_logging
from schemas.process.facts import tell_of_process
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from schemas.process.stopping import until_stopped
from schemas.webhooks.payload_types import AggregateUpdated
from schemas.webhooks.secrets import VerifyingKey

logger = logging.getLogger("consumers.lag.canary")

_SECRET_SECONDS: Final = 5.0  # below the 15 s that a delivery may take


def main() -> int:
    """Run a canary; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        configure_logging(settings.log_format)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request tells nobody anything
        registry, pulse = CollectorRegistry(), Pulse()
        tell_of_process(registry)
        if settings.metrics_port:
            serve_pages(settings.metrics_port, registry, pulse)
        asyncio.run(_until_stopped(settings, CanaryMetrics(registry), pulse))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except ScoreStreamError as error:
        logger.error("stopped: %s", error)
        return 1
    logger.info("stopped")
    return 0


async def _until_stopped(settings: Settings, metrics: CanaryMetrics, pulse: Pulse) -> None:
    pulse.beat_on(asyncio.get_running_loop())
    await until_stopped(run(settings, metrics), "the canary")


async def run(settings: Settings, metrics: CanaryMetrics) -> None:
    """Send canaries until cancelled.

    Raises:
        InvalidInput: the port for webhooks is not ours to take.
    """
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    receiver = None
    if settings.webhook_port:
        receiver = await asyncio.to_thread(WebhookEars, settings.webhook_host, settings.webhook_port)
    canary = Canary(settings, redis, load_registry(), metrics, receiver=receiver)
    try:
        with contextlib.ExitStack() as open_:
            if receiver is not None:
                open_.enter_context(receiver.reporting_to(canary.webhook, asyncio.get_running_loop()))
            await canary.run()
    finally:
        await redis.aclose()


class WebhookEars:
    """The canary's receiver of webhooks: that of ``scores webhooks listen``, for figures only."""

    def __init__(self, host: str, port: int) -> None:
        """Raises:
        InvalidInput: nothing can listen there.
        """
        self._keys: Sequence[VerifyingKey] = ()
        self._trusts = threading.Event()
        self._report: Callable[[Figures | None], object] = lambda figures: None
        self._receiver = LocalReceiver(self._known_keys, self._take, host=host, port=port)

    def trust(self, keys: Sequence[VerifyingKey]) -> None:
        """From now on these keys sign."""
        self._keys = keys
        self._trusts.set()

    @contextlib.contextmanager
    def reporting_to(
        self, report: Callable[[Figures | None], None], loop: asyncio.AbstractEventLoop
    ) -> Iterator[None]:
        """Receive; each delivery's figures are reported in the event loop."""
        self._report = lambda figures: loop.call_soon_threadsafe(report, figures)
        with self._receiver:
            yield

    def _known_keys(self) -> Sequence[VerifyingKey]:
        # The question whether this address wants webhooks can be faster than the answer that has the secret.
        self._trusts.wait(_SECRET_SECONDS)
        return self._keys

    def _take(self, delivery: Delivery) -> None:
        if not isinstance(delivery.payload, AggregateUpdated):
            return
        for cell in delivery.newer:
            if isinstance(cell.figures, Figures):
                self._report(cell.figures)
