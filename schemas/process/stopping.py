"""How a process of ours ends: its work is cancelled by SIGTERM or SIGINT, and cleans up after itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any


async def until_stopped(work: Coroutine[Any, Any, object], name: str) -> None:
    """Do this work until it ends, or the process is told to; whatever else it raises is raised."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work, name=name)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
