"""One run of one engine: alone and timed, or under ``kill -9``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from confluent_kafka.admin import AdminClient

from bench.filled_topic import FilledTopic
from bench.measuring import Costs, costs, peak_memory
from bench.probes import Probe, Wrong
from bench.roster import Engine
from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis

_LOOK_SECONDS: Final = 0.01
_START_SECONDS: Final = 120.0  # to the first figures: environments are cold, and groups have to form
_LATEST_KILL: Final = 0.9  # share of the events; what is killed later may have nothing left to do
_DELAY_SECONDS: Final = (
    0.5  # a kill comes up to so much after its moment, to fall anywhere between two flushes
)


class EngineFailed(Exception):
    """An engine ended by itself, or did not begin; the message says what it said last."""


@dataclass(frozen=True)
class Timed:
    """What an undisturbed run has shown, from the first visible figures to the last."""

    events: int
    seconds: float
    spent: Costs
    peak_bytes: int
    wrong: Wrong | None  # None when it was stopped before the end

    @property
    def rate(self) -> float:
        """Events a second; 0 when all was done at the first look, which too few events are."""
        return self.events / self.seconds

    def us_an_event(self, cpu_seconds: float) -> float:
        """CPU microseconds for each event of those that were watched."""
        return cpu_seconds / max(1, self.events) * 1e6


@dataclass(frozen=True)
class Survived:
    """What was left after the kills."""

    kills: int
    at_work: int  # kills that came before all was counted
    settled: float | None  # seconds from the last kill until the figures were right; None if they never were
    wrong: Wrong


@contextmanager
def _ready(
    engine: Engine, filled: FilledTopic, folder: Path, group: str, server: str | None
) -> Iterator[EmbeddedRedis]:
    """A fresh Redis and folder for a run; the topics that the engine made are deleted afterwards."""
    folder.mkdir(parents=True)
    try:
        with EmbeddedRedis(binary=server) as store:
            yield store
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _delete_topics(filled.kafka, group)


def timed_run(
    engine: Engine,
    filled: FilledTopic,
    folder: Path,
    group: str,
    *,
    limit_seconds: float,
    server: str | None,
) -> Timed:
    """From the first applied event until all are, or the time is over.

    Raises:
        EngineFailed: it ended by itself, or showed nothing in time.
        CannotSetUp: its environment cannot be made here.
    """
    with _ready(engine, filled, folder, group, server) as store:
        probe = engine.probe(store.url, filled)
        worker = engine.start(filled, store.url, folder, group)
        try:
            first = _first_figures(worker, probe)
            start, before = time.monotonic(), costs(worker.pid, store.pid, filled.kafka_pid)
            finished, now = False, first
            while not finished and time.monotonic() - start < limit_seconds:
                time.sleep(_LOOK_SECONDS)
                _check(worker)
                now = probe.applied()
                finished = now >= filled.events and probe.finished()
            seconds = time.monotonic() - start
            spent = costs(worker.pid, store.pid, filled.kafka_pid).since(before)
            peak = peak_memory(worker.pid)
        finally:
            _kill(worker)
        return Timed(now - first, seconds, spent, peak, probe.wrong() if finished else None)


def killed_run(
    engine: Engine,
    filled: FilledTopic,
    folder: Path,
    group: str,
    *,
    seed: int,
    kills: int,
    patience: float,
    server: str | None,
) -> Survived:
    """Kill it at moments that are the same for every engine, restart it each time, and see what it comes to.

    A moment is a share of the events, and a delay after it. The engine is left alone in the end until the figures are
    right, or have not changed for ``patience`` seconds.

    Raises:
        EngineFailed: it ended by itself, or did not begin.
        CannotSetUp: its environment cannot be made here.
    """
    rng = Random(f"kills {seed}")
    moments = sorted(int(rng.uniform(0.02, _LATEST_KILL) * filled.events) for _ in range(kills))
    delays = [rng.uniform(0, _DELAY_SECONDS) for _ in moments]
    at_work = 0
    with _ready(engine, filled, folder, group, server) as store:
        probe = engine.probe(store.url, filled)
        worker = engine.start(filled, store.url, folder, group)
        try:
            _first_figures(worker, probe)
            for moment, delay in zip(moments, delays, strict=True):
                _wait_for_work(worker, probe, moment, patience)
                time.sleep(delay)
                at_work += not probe.finished()
                _kill(worker)
                worker = engine.start(filled, store.url, folder, group)
            start = time.monotonic()
            finished = _settle(worker, probe, patience)
            settled = time.monotonic() - start if finished else None
        finally:
            _kill(worker)
        return Survived(kills, at_work, settled, probe.wrong())


def _kill(worker: Child) -> None:
    """``kill -9``, of its children as well; a child runs in a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.stop(0)


def _first_figures(worker: Child, probe: Probe) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while (first := probe.applied()) == 0:
        _check(worker)
        if time.monotonic() > deadline:
            raise EngineFailed(f"no figures within {_START_SECONDS:.0f} s: {_last_line(worker)}")
        time.sleep(_LOOK_SECONDS)
    return first


def _wait_for_work(worker: Child, probe: Probe, moment: int, patience: float) -> None:
    """Until this worker has changed the figures and they are past the moment, or nothing more comes."""
    found = now = probe.applied()
    deadline = time.monotonic() + patience
    while now == found or now < moment:
        _check(worker)
        if time.monotonic() > deadline or probe.finished():
            return
        time.sleep(_LOOK_SECONDS)
        earlier, now = now, probe.applied()
        if now != earlier:
            deadline = time.monotonic() + patience


def _settle(worker: Child, probe: Probe, patience: float) -> bool:
    last, deadline = probe.applied(), time.monotonic() + patience
    while not probe.finished():
        _check(worker)
        time.sleep(_LOOK_SECONDS)
        if (now := probe.applied()) != last:
            last, deadline = now, time.monotonic() + patience
        elif time.monotonic() > deadline:
            return False
    return True


def _check(worker: Child) -> None:
    if not worker.running:
        raise EngineFailed(f"ended with exit status {worker.exit_status}: {_last_line(worker)}")


def _last_line(worker: Child) -> str:
    lines = [line for line in worker.last_lines(40).splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it said nothing"


def _delete_topics(kafka: str, group: str) -> None:
    """The changelogs and repartition topics of one run; left alone they would fill the disk."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    left = [name for name in admin.list_topics(timeout=10).topics if group in name]
    for deleted in admin.delete_topics(left).values() if left else ():
        deleted.result()
