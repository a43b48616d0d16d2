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
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from redis import Redis

from bench.filled_topic import PARTITIONS, SECRET, FilledTopic, local_kafka
from bench.fire import KILLED, STOPPED, WOKEN, Fire, Held
from bench.keeping_up import Keeping, KeptExams, KeptPositions
from bench.measuring import table
from bench.peers.surroundings import SESSION_SECONDS
from bench.probes import OurTables
from bench.recount_log import ends, recount_log
from bench.roster import ENGINES, Engine
from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis
from schemas.events import encode_event
from schemas.keys import ORGANIZATIONS
from schemas.topics import EXAM_RESULTS
from tests.chaos.disturbances import Disturbance, Kind, planned
from tests.chaos.fleet import WorkerSlot
from tests.chaos.log_reader import LogReader

WORKERS: Final = 2

_SCHOOLS: Final = 200
_LONGEST_SECONDS: Final = 30.0  # a disturbance takes less; the season has to last

CONTROL: Final = Engine(
    "control",
    "a plain confluent-kafka loop on the same engine (control)",
    "as ours",
    lambda folder: [sys.executable, "-m", "bench.peers.plain_loop"],
    OurTables,
)
COMPARED: Final = {engine.name: engine for engine in (*ENGINES, CONTROL)}
USUALLY: Final = ("ours", "control", "faust-increments")


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
        fire = Fire(engine, workers, keeping)
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
    f"to settle {KILLED}: median (max)",
    f"{STOPPED}",
    f"{WOKEN}",
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
        *(_spread(held.settled.get(name, [])) for name in (KILLED, STOPPED, WOKEN)),
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
