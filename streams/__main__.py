"""``python -m streams``: one stream worker, until it is told to stop.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext

import faust
import uvloop

from schemas.errors import InvalidInput, ScoreStreamError
from schemas.logs import configure_logging
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from streams.accidents import Accidents
from streams.app import Traced, create_app
from streams.connection import check_store
from streams.log import describe_log
from streams.metrics import Metrics
from streams.settings import Settings

logger = logging.getLogger("streams")

# Leaving the group, or flushing, can wait for minutes on a Kafka that is silent. Every batch is applied whole or not at all,
# and the position is where the tables are: ending at once costs nothing.
_STOP_SECONDS = 10.0


class _Process(faust.Worker):
    """Ends in time, whatever it waits for."""

    async def stop(self) -> None:
        """Stop, for at most so long."""
        limit = threading.Timer(_STOP_SECONDS, self._end)
        limit.daemon = True
        limit.start()
        await super().stop()

    def _end(self) -> None:
        logger.warning("stopping takes too long, ending at once seconds=%g", _STOP_SECONDS)
        logging.shutdown()
        os._exit(1 if self.crashed else 0)


def main() -> int:
    """Run a worker; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        configure_logging(settings.log_format)
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        metrics, pulse = Metrics(), Pulse()
        serve_pages(settings.metrics_port, metrics.registry, pulse)
        log = describe_log(settings.kafka, settings.dependency_budget_seconds)
        asyncio.run(
            check_store(
                settings.redis_url,
                settings.dependency_budget_seconds,
                Accidents(metrics.accidents),
                cluster=settings.redis_cluster,
            )
        )
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except ScoreStreamError as error:
        logger.error("stopped: %s", error)
        return 1
    traced, stop_tracing = _traced(settings)
    app = create_app(settings, metrics, log=log, traced=traced)
    # The default collects after every 700 new objects, and a batch makes tens of thousands that all live as long.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    worker = _Process(app, loglevel="INFO", override_logging=False, quiet=True, redirect_stdouts=False)
    worker.spinner = None  # moves a terminal's cursor, and so puts its codes into a container's log
    # Faust's consumer runs a loop in a thread of its own; the policy is what reaches that one, too.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    # Two loops share the interpreter: by default one may hold it for 5 ms while the other has a batch to send.
    sys.setswitchinterval(0.0005)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker.loop = loop
    pulse.beat_on(loop)
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        stop_tracing()
    return 0


def _traced(settings: Settings) -> tuple[Traced, Callable[[], None]]:
    """What goes around the applying of a batch where traces are wanted, and what ends them."""
    if not settings.tracing.on:
        return nullcontext, lambda: None
    from streams.tracing import BatchSpans  # costs a third of a second, which most do not need

    spans = BatchSpans(settings.tracing, settings.group)
    return spans.of, spans.stop


if __name__ == "__main__":
    sys.exit(main())
