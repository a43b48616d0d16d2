"""The gateway is killed and starts again, and all clients come back in the same moment, each from its last id."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.environments import CannotSetUp
from bench.latency import at
from bench.measuring import cpu_seconds
from bench.push_broadcast import CONNECTING
from bench.push_ours import PARTITIONS, Ours
from bench.push_readers import Readers


@dataclass(frozen=True)
class Storm:
    """One run."""

    clients: int
    topics: int
    restart_seconds: float  # from kill -9 until the new gateway says that it is ready
    whole_seconds: float  # from there until the last client had what it had missed
    p50_seconds: float
    p99_seconds: float
    turned_away: int
    refusal: str
    reads_a_topic: float  # reads of an organization, each one HGETALL a partition
    other_reads: int  # HMGETs meanwhile
    client_us: float  # CPU, each


def storm(clients: int, topics: int) -> Storm:
    """Run it, each client watching one of the topics; every school's cell changes while the gateway is away.

    Raises:
        CannotSetUp: not all streams could be opened in the first place.
    """
    with tempfile.TemporaryDirectory(prefix="scores-push-") as folder, Ours(Path(folder), topics) as ours:
        requests = ours.requests(clients)
        with Readers(ours.address, keep_ids=True) as readers:
            opened = readers.open(requests, at_once=CONNECTING, version=1)
            if opened.refused:
                raise CannotSetUp(f"{opened.refused} of {clients} streams were refused: {opened.refusal}")
            start = time.monotonic()
            ours.kill_gateway()
            for school in ours.schools:
                ours.worker.change(school)
            ours.start_gateway()
            restart = time.monotonic() - start
            before, cpu = ours.worker.reads(), cpu_seconds(ours.pid)
            back = readers.resume(requests, version=2)
            after, cpu = ours.worker.reads(), cpu_seconds(ours.pid) - cpu
    waits = back.waits or [0.0]
    return Storm(
        clients=clients,
        topics=topics,
        restart_seconds=restart,
        whole_seconds=back.seconds,
        p50_seconds=at(waits, 50),
        p99_seconds=at(waits, 99),
        turned_away=back.refused,
        refusal=back.refusal,
        reads_a_topic=(after.whole - before.whole) / PARTITIONS / topics,
        other_reads=after.parts - before.parts,
        client_us=cpu / clients * 1e6,
    )
