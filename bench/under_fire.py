"""How do engines hold up when their workers are killed and stopped while events keep coming?

    python -m bench.under_fire [--disturbances 20] [--seed 1] [--rate 500] [--only NAME ...]

Real Apache Kafka, a real Redis-compatible server, two workers of one engine, a supervisor with back-off that restarts what
ends. Events are produced in an open loop, the same season for each. In turn, as drawn from the seed: ``kill -9`` of a
worker, or SIGSTOP beyond its session (6 s) and then SIGCONT. After each, the time until the figures keep up again: nothing
is missing of what came more than a second ago. An engine that does not get there in 60 s is wedged; then both workers are
killed and started again from outside. In the end the figures are compared with the oracle's.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

from redis import Redis

from bench.filled_topic import PARTITIONS, SECRET, FilledTopic, local_kafka
from bench.measuring import table
from bench.peers.job import decode, exam_id
from bench.peers.surroundings import SESSION_SECONDS
from bench.probes import OurTables, Wrong
from bench.recount_log import ends, recount_log
from bench.roster import ENGINES, Engine
from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis
from schemas.events import encode_event
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, ORGANIZATIONS, Generation, PartitionKeys
from schemas.topics import EXAM_RESULTS
from tests.chaos.disturbances import Disturbance, Kind, planned
from tests.chaos.fleet import WorkerSlot
from tests.chaos.log_reader import LogReader
from tests.chaos.settling import Settling

WORKERS: Final = 2

_SCHOOLS: Final = 200
_LIMIT_SECONDS: Final = 60.0
_START_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.2
_STEADY_SECONDS: Final = 2.0  # between two disturbances
_WEDGED_AT_MOST: Final = 5
_LONGEST_SECONDS: Final = 30.0  # a disturbance takes less; the season has to last
_KILLED: Final = "after a kill"
_STOPPED: Final = "after a stop"
_WOKEN: Final = "after waking up"

CONTROL: Final = Engine(
    "control",
    "a plain confluent-kafka loop on the same engine (control)",
    "as ours",
    lambda folder: [sys.executable, "-m", "bench.peers.plain_loop"],
    OurTables,
)
COMPARED: Final = {engine.name: engine for engine in (*ENGINES, CONTROL)}
USUALLY: Final = ("ours", "control", "faust-increments")


class Keeping(Protocol):
    """How far an engine is, in numbers that only grow, beside how far it should be."""

    def due(self) -> list[int]:
        """What the log holds."""

    def reached(self) -> list[int]:
        """What the figures contain of it."""


class KeptPositions:
    """Our engine stores its positions with the figures."""

    def __init__(self, url: str, log: LogReader) -> None:
        self._redis = Redis.from_url(url)
        self._log = log

    def due(self) -> list[int]:
        return self._log.ends()

    def reached(self) -> list[int]:
        generation = self._redis.get(GENERATION)
        if not isinstance(generation, bytes):
            return [0] * PARTITIONS
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(PARTITIONS):
                pipe.hget(
                    PartitionKeys(Generation(generation.decode()), PartitionId(number)).position, "next"
                )
            return [int(value or 0) for value in pipe.execute()]


class KeptExams:
    """Stock Faust stores each exam with the figures: in so many hashes, of which an eighth is counted."""

    _HASHES: Final = 16_384  # as in bench.peers.faust_agent
    _COUNTED: Final = _HASHES // 8

    def __init__(self, url: str, log: LogReader) -> None:
        self._redis = Redis.from_url(url)
        self._log = log
        self._read_to = [0] * PARTITIONS
        self._exams: set[str] = set()

    def due(self) -> list[int]:
        for number, end in enumerate(self._log.ends()):
            for record in self._log.between(number, self._read_to[number], end):
                name = exam_id(decode(record.value))
                if crc32(name.encode()) % self._HASHES < self._COUNTED:
                    self._exams.add(name)
            self._read_to[number] = end
        return [len(self._exams)]

    def reached(self) -> list[int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(self._COUNTED):
                pipe.hlen(f"exams:{number}")
            return [sum(pipe.execute())]


@dataclass(slots=True)
class Held:
    """How one engine held up."""

    events: int = 0
    kills: int = 0
    stops: int = 0
    wedged: int = 0
    ended_by_themselves: int = 0
    settled: dict[str, list[float]] = field(default_factory=dict)
    finally_seconds: float | None = None  # from the last event until all is counted; None for never
    wrong: Wrong | None = None
    crashes: list[str] = field(default_factory=list)


def main() -> None:
    """The command."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="scores-fire-"))
    rows = []
    for name in options.only or USUALLY:
        place = folder / name
        place.mkdir()
        held = under_fire(
            COMPARED[name], place, disturbances=options.disturbances, seed=options.seed, rate=options.rate
        )
        rows.append(_row(COMPARED[name], held))
        for crash in held.crashes:
            print(f"  {crash}", file=sys.stderr, flush=True)
    print(
        f"{options.disturbances} disturbances, seed {options.seed}, {options.rate:g} events/s, {WORKERS} workers\n"
    )
    print(table(_HEADINGS, rows))
    if options.keep:
        print(f"Logs are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def under_fire(engine: Engine, folder: Path, *, disturbances: int, seed: int, rate: float) -> Held:
    """One engine through all disturbances, on a Kafka and a Redis of its own."""
    with ExitStack() as stack:
        kafka = stack.enter_context(local_kafka(folder))
        store = stack.enter_context(EmbeddedRedis())
        with Redis.from_url(store.url) as redis:  # the season begins when the directory is known
            entries = plan_county(_SCHOOLS, seed).entries
            redis.hset(ORGANIZATIONS, mapping={entry.cds: encode_event(entry) for entry in entries})
        filled = FilledTopic(kafka.bootstrap_servers, kafka.pid, EXAM_RESULTS, {}, {}, {}, {})
        log = stack.enter_context(LogReader(filled.kafka, EXAM_RESULTS, PARTITIONS))
        keeping: Keeping = (KeptPositions if engine.probe is OurTables else KeptExams)(store.url, log)
        workers = [_worker(engine, filled, store.url, folder / f"worker-{n}") for n in range(WORKERS)]
        for worker in workers:
            worker.start()
            stack.callback(worker.end)
        season = _Season(filled.kafka, store.url, seed, rate, seconds=disturbances * _LONGEST_SECONDS)
        stack.callback(season.stop)
        fire = _Fire(engine, workers, keeping)
        fire.wait_for_start()
        for disturbance in _planned(seed, disturbances):
            fire.disturb(disturbance)
        run = season.stop()
        fire.wait_for_the_end()
        held = fire.result()
        held.events, peers = recount_log(filled.kafka, EXAM_RESULTS)
        counted = replace(
            filled, ends=ends(filled.kafka, EXAM_RESULTS), ours=run.recount.cells(), peers=peers
        )
        held.wrong = engine.probe(store.url, counted).wrong()
        return held


class _Season:
    """Events, until told to stop."""

    def __init__(self, kafka: str, redis_url: str, seed: int, rate: float, seconds: float) -> None:
        self._stop = threading.Event()
        pool = ThreadPoolExecutor(1, "season")
        self._run: Future[SeasonRun] = pool.submit(
            run_season,
            kafka=kafka,
            redis_url=redis_url,
            secret=SECRET.encode(),
            options=SeasonOptions(
                schools=_SCHOOLS, students=int(rate * seconds), seed=seed, rescores=0.1, disorder=0.05
            ),
            rate=rate,
            stop=self._stop,
        )
        pool.shutdown(wait=False)

    def stop(self) -> SeasonRun:
        """No more events; what was produced."""
        self._stop.set()
        return self._run.result()


class _Fire:
    def __init__(self, engine: Engine, workers: Sequence[WorkerSlot], keeping: Keeping) -> None:
        self._engine = engine
        self._workers = workers
        self._keeping = keeping
        self._settling = Settling(_LIMIT_SECONDS)
        self._held = Held()

    def wait_for_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not (self._look() and any(self._keeping.reached())):
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._engine.title} did not begin:\n{self._workers[0].failure()}")

    def disturb(self, disturbance: Disturbance) -> None:
        """Disturb, and wait until it has settled."""
        worker = self._workers[disturbance.worker]
        if disturbance.kind is Kind.KILL:
            self._held.kills += 1
            worker.kill()
            self._watch(_KILLED)
        else:
            self._held.stops += 1
            worker.freeze()
            self._watch(_STOPPED, at_least_seconds=disturbance.seconds)
            worker.thaw()
            self._watch(_WOKEN)
        self._look_for(_STEADY_SECONDS)

    def wait_for_the_end(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < _LIMIT_SECONDS:
            self._look()
            if self._keeping.reached() == self._keeping.due():
                self._held.finally_seconds = time.monotonic() - began
                self._look_for(_STEADY_SECONDS)  # a worker may still be counting what it counted before
                return

    def result(self) -> Held:
        for watch in self._settling.watches:
            if watch.settled_seconds is not None:
                self._held.settled.setdefault(watch.name, []).append(watch.settled_seconds)
        self._held.ended_by_themselves = sum(worker.ends["by itself"] for worker in self._workers)
        self._held.crashes = [end for worker in self._workers for end in worker.crashes]
        return self._held

    def _watch(self, name: str, at_least_seconds: float = 0.0) -> None:
        began = time.monotonic()
        self._settling.disturbed(name, began)
        while self._settling.pending or time.monotonic() - began < at_least_seconds:
            self._look()
            if self._settling.overdue(time.monotonic()):
                self._start_again()
        seconds = self._settling.watches[-1].settled_seconds
        print(f"{self._engine.name}: settled {seconds or 0:.1f} s {name}", file=sys.stderr, flush=True)

    def _start_again(self) -> None:
        """What an operator would do."""
        self._held.wedged += 1
        if self._held.wedged > _WEDGED_AT_MOST:
            raise SystemExit(f"{self._engine.title} does not go on:\n{self._workers[0].failure()}")
        for watch in self._settling.pending:
            watch.settled_seconds = _LIMIT_SECONDS
        for worker in self._workers:
            worker.kill()
        self._settling.disturbed("after being wedged", time.monotonic())

    def _look_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()

    def _look(self) -> bool:
        for worker in self._workers:
            worker.supervise()
        due = self._keeping.due()  # before what is reached: that may only be further
        settled = self._settling.look(time.monotonic(), self._keeping.reached(), due)
        time.sleep(_LOOK_SECONDS)
        return settled


def _worker(engine: Engine, filled: FilledTopic, redis_url: str, folder: Path) -> WorkerSlot:
    folder.mkdir()

    def launch(start: int) -> Child:
        return engine.start(filled, redis_url, folder, engine.name)

    return WorkerSlot(folder.name, launch, folder)


def _planned(seed: int, number: int) -> Iterator[Disturbance]:
    plan = planned(seed, WORKERS, SESSION_SECONDS, [Kind.KILL, Kind.SLEEP])
    return (next(plan) for _ in range(number))


_HEADINGS: Final = (
    "engine",
    "events",
    "kills, stops",
    "counts at the end, from the oracle's",
    f"to settle {_KILLED}: median (max)",
    f"{_STOPPED}",
    f"{_WOKEN}",
    "workers that ended by themselves",
    "wedged",
    "all counted after the last event",
)


def _row(engine: Engine, held: Held) -> list[str]:
    late = held.finally_seconds
    return [
        engine.title,
        f"{held.events:,}",
        f"{held.kills}, {held.stops}",
        "exact" if held.wrong is not None and not held.wrong.cells else f"off by {held.wrong}",
        *(_spread(held.settled.get(name, [])) for name in (_KILLED, _STOPPED, _WOKEN)),
        str(held.ended_by_themselves),
        f"{held.wedged} times" if held.wedged else "never",
        "never" if late is None else f"{late:.1f} s",
    ]


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)" if seconds else "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--disturbances", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=500, help="events a second")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", choices=sorted(COMPARED))
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
