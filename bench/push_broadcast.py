"""One topic, N streams, one event at a steady rate: what a delivered message, a connection and an idle stream cost."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.environments import CannotSetUp
from bench.latency import at
from bench.measuring import cpu_seconds
from bench.push_peers import Peer
from bench.push_readers import Readers
from bench.push_stack import Stack

CONNECTING: Final = 100  # at a time: less than any stack's backlog
_WARM_UP: Final = 20  # streams: what a server does once is not a connection's cost
_SETTLE_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 5.0  # without another delivery, after which no more are expected


@dataclass(frozen=True)
class Broadcast:
    """One run of one stack."""

    streams: int
    made: int  # events
    delivered: int
    newest: int  # streams that have the newest event in the end
    backwards: int
    connect_us: float  # CPU, each
    stream_kb: float  # resident, each, when idle
    message_us: float  # CPU, each delivered
    store_us: float | None  # CPU of the database, likewise
    frame_bytes: float  # on the wire, for each delivered message, heartbeats included
    p50_ms: float
    p99_ms: float

    @property
    def complete(self) -> bool:
        """Whether every event came to every stream, in order."""
        return self.delivered == self.streams * self.made and not self.backwards


def broadcast(peer: Peer, streams: int, *, messages_a_second: float, seconds: float, size: int) -> Broadcast:
    """Run it.

    Raises:
        CannotSetUp: it is not to be had, or did not take all streams.
        ServerFailed: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="scores-push-") as folder, peer.start(Path(folder)) as stack:
        return _measured(peer, stack, streams, messages_a_second / streams, seconds, size)


def _measured(peer: Peer, stack: Stack, streams: int, rate: float, seconds: float, size: int) -> Broadcast:
    requests = stack.requests(streams)
    standing = peer.first - 1 or None  # where a stream begins with the state, it stands when it has that
    with Readers(stack.address) as readers:
        readers.open(requests[:_WARM_UP], at_once=CONNECTING, version=standing)
        readers.cut()
        time.sleep(_SETTLE_SECONDS / 2)
        memory, cpu = resident_bytes(stack.pid), cpu_seconds(stack.pid)
        opened = readers.open(requests, at_once=CONNECTING, version=standing)
        connect_cpu = cpu_seconds(stack.pid) - cpu
        if opened.refused:
            raise CannotSetUp(f"{opened.refused} of {streams} streams were refused: {opened.refusal}")
        time.sleep(_SETTLE_SECONDS)
        held = resident_bytes(stack.pid) - memory
        readers.count()
        cpu, store_cpu = cpu_seconds(stack.pid), _store_seconds(stack)
        made = _publish(peer, stack, rate, max(2, round(rate * seconds)), size)
        wait_for_events(readers, streams * made)
        cpu = cpu_seconds(stack.pid) - cpu
        store = _store_seconds(stack)
        received = readers.received(peer.first + made - 1)
    messages, latencies = max(1, received.events), received.latencies_ms or [0.0]
    return Broadcast(
        streams=streams,
        made=made,
        delivered=received.events,
        newest=received.whole,
        backwards=received.backwards,
        connect_us=connect_cpu / streams * 1e6,
        stream_kb=held / streams / 1e3,
        message_us=cpu / messages * 1e6,
        store_us=None if store is None or store_cpu is None else (store - store_cpu) / messages * 1e6,
        frame_bytes=received.bytes_read / messages,
        p50_ms=at(latencies, 50),
        p99_ms=at(latencies, 99),
    )


def _publish(peer: Peer, stack: Stack, rate: float, events: int, size: int) -> int:
    start = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        stack.publish(peer.first + number, int(time.time() * 1000), size)
    return events


def wait_for_events(readers: Readers, events: int) -> None:
    """Return when so many were read, or when no more come."""
    seen, deadline = readers.events(), time.monotonic() + _PATIENCE_SECONDS
    while seen < events and time.monotonic() < deadline:
        time.sleep(0.05)
        before, seen = seen, readers.events()
        if seen != before:
            deadline = time.monotonic() + _PATIENCE_SECONDS


def _store_seconds(stack: Stack) -> float | None:
    return None if stack.store_pid is None else cpu_seconds(stack.store_pid)


def resident_bytes(pid: int) -> int:
    """What a server and the processes of its session have in memory just now."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[3]) == pid:
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE")
