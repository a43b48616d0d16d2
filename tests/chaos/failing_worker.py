"""A stream worker that can be told to die at a certain point: ``python tests/chaos/failing_worker.py``.

Production code has no hooks: this wraps its methods from outside, then runs its ``main``. The point to die at is the
content of the file that CHAOS_FAIL_POINT names. The file is removed right before, so that the death is seen to be this
one, and happens once.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streams.__main__ import main
from streams.rejected import RejectedTopic
from streams.tables import Tables

Method = Callable[..., Awaitable[Any]]

ARMED = Path(os.environ["CHAOS_FAIL_POINT"])

# Point -> class, method, and whether the process dies after it (before it, otherwise).
POINTS: dict[str, tuple[type, str, bool]] = {
    "before the script": (Tables, "apply", False),
    "after the script": (Tables, "apply", True),
    "after the rejected topic": (RejectedTopic, "put", True),
    "after the claim": (Tables, "claim", True),
}


def die_at(point: str) -> None:
    """End this process as ``kill -9`` does, if it is told to at this point."""
    try:
        if ARMED.read_text() != point:
            return
        ARMED.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrapped(method: Method, point: str, after: bool) -> Method:
    """The method, with a place to die before or after it."""

    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not after:
            die_at(point)
        answer = await method(*args, **kwargs)
        if after:
            die_at(point)
        return answer

    return call


if __name__ == "__main__":
    for point, (owner, name, after) in POINTS.items():
        setattr(owner, name, wrapped(getattr(owner, name), point, after))
    sys.exit(main())
