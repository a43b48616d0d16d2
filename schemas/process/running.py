"""How a process of ours begins, works and ends, apart from what it works at."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from schemas.errors import InvalidInput, ScoreStreamError
from schemas.logs import configure_logging
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse
from schemas.process.stopping import until_stopped

Work = Callable[[], Coroutine[Any, Any, object]]  # goes on until it is cancelled, and cleans up after itself


@dataclass(frozen=True, slots=True)
class Prepared:
    """A process whose settings were read, and that has not begun."""

    log_format: str
    metrics_port: int
    registry: CollectorRegistry
    work: Work


def run_process(name: str, prepare: Callable[[], Prepared]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status.

    0 when it was told to stop, 1 after a fault (a supervisor restarts it), 2 when ``prepare`` refuses the settings, or the
    page for operators cannot be served. ``name`` is that of the process's logger.
    """
    logger, pulse = logging.getLogger(name), Pulse()
    try:
        prepared = prepare()
        serve_pages(prepared.metrics_port, prepared.registry, pulse)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(prepared.log_format)
    try:
        asyncio.run(_work(prepared, name, pulse))
    except ScoreStreamError as error:
        logger.error("stopped: %s", error)
        return 1
    logger.info("stopped")
    return 0


async def _work(prepared: Prepared, name: str, pulse: Pulse) -> None:
    pulse.beat_on(asyncio.get_running_loop())
    await until_stopped(prepared.work(), name)
