"""The one event that every stack pushes, and how a reader finds it again, whatever stands around it.

Each event carries its number and the millisecond at which it was made, in the form in which a cell carries them:
``"version":7,"changed":"2026-11-22T02:35:58.444Z"``.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Final

from schemas.figures import rfc3339

# As long as one cell of ours in its patch (a test of three levels, without claims): the same payload for all.
PATCH_BYTES: Final = 651

# To the blank line, in either line end: what is not complete was not delivered.
EVENT: Final = re.compile(rb'"version":(\d+),"changed":"([0-9TZ:.-]{24})"[^\r\n]*\r?\n\r?\n')
EVENT_ID: Final = re.compile(rb"^id: ([A-Za-z0-9._~-]+)$", re.MULTILINE)


def event_data(version: int, changed_ms: int, size: int) -> bytes:
    """The event as JSON, of ``size`` bytes where that is enough for it."""
    tail = f'"version":{version},"changed":"{rfc3339(changed_ms)}"}}'
    head = '{"preliminary":true,"filling":"'
    filling = "." * max(0, size - len(head) - len(tail) - 2)
    return f'{head}{filling}",{tail}'.encode()


@lru_cache(maxsize=100_000)
def moment(changed: bytes) -> float:
    """Seconds since 1970 of an event's ``changed``."""
    return datetime.fromisoformat(changed.decode()).timestamp()
