"""Refusals, noted so that nobody can fill the audit with them: a few in full, then how many more there were.

Whoever is refused has often no token at all, and a loop of that would cost a disk. Each address is noted 20 times a
minute; what exceeds that becomes one entry when the minute is over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from schemas.audit import AuditEvent
from schemas.process.audit.auditor import Auditor

_MINUTE_SECONDS: Final = 60.0
_IN_FULL: Final = 20
_MOST_ADDRESSES: Final = 10_000  # of a minute; the rest is counted together


class Refusals:
    """Notes refusals; one event loop calls."""

    def __init__(self, audit: Auditor, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._ends = 0.0
        self._counts: Counter[str] = Counter()
        self._latest: dict[str, AuditEvent] = {}

    def note(self, event: AuditEvent) -> None:
        """Note one, or count it."""
        now = self._clock()
        if now >= self._ends:
            self.tell()
            self._ends = now + _MINUTE_SECONDS
        address = event.address
        if address not in self._counts and len(self._counts) >= _MOST_ADDRESSES:
            address = "many"
        self._counts[address] += 1
        if self._counts[address] <= _IN_FULL:
            self._audit.note(event)
        else:
            self._latest[address] = event

    def tell(self) -> None:
        """Note how many more there were; the last of each address stands for them."""
        for address, event in self._latest.items():
            more = self._counts[address] - _IN_FULL
            self._audit.note(replace(event, address=address, detail=f"and {more} more within a minute"))
        self._counts.clear()
        self._latest.clear()
