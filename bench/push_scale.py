"""Many open streams of many schools, changes at a steady rate: how long from the write of a cell to the frame read?"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.environments import CannotSetUp
from bench.latency import at
from bench.measuring import cpu_seconds
from bench.push_broadcast import CONNECTING, resident_bytes, wait_for_events
from bench.push_ours import Ours
from bench.push_readers import Readers

_SETTLE_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Scale:
    """One run."""

    streams: int
    connect_seconds: float  # until all had their first state
    expected: int  # frames
    delivered: int
    backwards: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    busy: float  # the gateway's share of one core
    stream_kb: float
    latest_write_ms: float  # by how much the writer was behind its schedule, at worst


def scale(streams: int, *, schools: int, cells_a_second: float, seconds: float) -> Scale:
    """Run it, each stream watching one school, the schools taken in turn.

    Raises:
        CannotSetUp: not all streams could be opened.
    """
    with tempfile.TemporaryDirectory(prefix="scores-push-") as folder, Ours(Path(folder), schools) as ours:
        return _measured(ours, streams, cells_a_second, round(cells_a_second * seconds))


def _measured(ours: Ours, streams: int, rate: float, changes: int) -> Scale:
    requests = ours.requests(streams)
    with Readers(ours.address) as readers:
        memory = resident_bytes(ours.pid)
        opened = readers.open(requests, at_once=CONNECTING, version=1)
        if opened.refused:
            raise CannotSetUp(f"{opened.refused} of {streams} streams were refused: {opened.refusal}")
        time.sleep(_SETTLE_SECONDS)
        held = resident_bytes(ours.pid) - memory
        readers.count()
        cpu, start = cpu_seconds(ours.pid), time.monotonic()
        behind = _change(ours, rate, changes)
        busy = (cpu_seconds(ours.pid) - cpu) / (time.monotonic() - start)
        expected = sum(_watchers(streams, len(ours.schools), number) for number in range(changes))
        wait_for_events(readers, expected)
        received = readers.received()
    latencies = received.latencies_ms or [0.0]
    return Scale(
        streams=streams,
        connect_seconds=opened.seconds,
        expected=expected,
        delivered=received.events,
        backwards=received.backwards,
        p50_ms=at(latencies, 50),
        p99_ms=at(latencies, 99),
        worst_ms=latencies[-1],
        busy=busy,
        stream_kb=held / streams / 1e3,
        latest_write_ms=behind * 1000,
    )


def _change(ours: Ours, rate: float, changes: int) -> float:
    """Change one school's cell after another; returns how late the latest change was, in seconds."""
    start, behind = time.monotonic(), 0.0
    for number in range(changes):
        late = time.monotonic() - (start + number / rate)
        if late < 0:
            time.sleep(-late)
        behind = max(behind, late)
        ours.worker.change(ours.schools[number % len(ours.schools)])
    return behind


def _watchers(streams: int, schools: int, number: int) -> int:
    """How many streams watch the school that is changed by the change of that number."""
    return len(range(number % schools, streams, schools))
