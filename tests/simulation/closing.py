"""Which results came while their test was closed, told from the closings topic in the plainest way there is."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.closings import Change
from simulation.log import LogRecord

_LEAD_MS = 10_000  # as the wire format promises; not taken from the code that is tested


def was_closed(changes: Sequence[Change], record: LogRecord) -> bool:
    """What the last record that had taken effect by then says of the test."""
    year, test, _ = record.fact.unit.split(":")
    said = [
        change.entry.change
        for change in changes
        if (change.entry.school_year, change.entry.test) == (int(year), test)
        and _effective_ms(change) <= record.timestamp
    ]
    return said[-1:] == ["closed"]


def _effective_ms(change: Change) -> int:
    earliest = change.recorded_ms + _LEAD_MS
    at = change.entry.at
    return earliest if at is None else max(earliest, round(at.timestamp() * 1000))
