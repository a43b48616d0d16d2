"""How long does a replay of a state's season take, what does it cost, and does the cost stay the same?

    python -m bench.replay [--results 10000000] [--schools 9000] [--order windows|mixed] [--runs 1] [--append-only]

Exams of a fictional state (58 counties, a district for each nine schools), a tenth of them rescored, are put into a
real Kafka first. Then ``scores streams`` starts on an empty Redis, and is watched from its first applied event until
positions reach the end: events a second and CPU of each tenth, peak memory, and bytes of Redis per live result and
cell. After each run every figure of every cell is compared with what the producers have counted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from redis import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.filled_topic import SECRET, FilledTopic, local_kafka
from bench.measuring import costs, peak_memory
from bench.probes import OurTables
from bench.recount_log import ends
from bench.redis_memory import kinds
from bench.replay_expectation import expected_cells
from bench.replay_order import ORDERS
from bench.replay_producers import produce_directory, produce_season
from bench.replay_report import SLICES, Mark, Memory, Replayed, memory, over_time
from bench.replay_season import RESCORED_ONE_IN, Templates
from bench.roster import OURS
from cli.stack.child import Child
from cli.stack.local_kafka import LocalKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.topics import EXAM_RESULTS

_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0
_STUCK_SECONDS: Final = 60.0


def main() -> None:
    """The command."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="scores-replay-"))
    try:
        with local_kafka(folder) as kafka, _progress() as bar:
            filled = _fill(kafka, options, bar)
            print(
                f"Redis: {Path(options.redis).name if options.redis else 'the embedded server'}", flush=True
            )
            settings = {"appendonly": "yes", "appendfsync": "everysec"} if options.append_only else None
            runs = []
            for number in range(1, options.runs + 1):
                with EmbeddedRedis(binary=options.redis, settings=settings) as store:
                    runs.append(_replay(filled, store, folder / f"run-{number}", bar))
                print(f"run {number} of {options.runs}: {_seconds(runs[-1]):.1f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{over_time(runs)}\n\n{memory(runs, options.results)}")
    print(f"\n{len(filled.ours):,} cells compared with what was produced, after each run; none wrong")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=int, default=10_000_000, help="live results at the end")
    parser.add_argument("--schools", type=int, default=9_000)
    parser.add_argument(
        "--order", choices=ORDERS, default=ORDERS[0], help="districts in weeks of their own, or all at once"
    )
    parser.add_argument("--producers", type=int, default=2, help="processes that fill Kafka")
    parser.add_argument("--runs", type=int, default=1, help="replays of what was produced once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--redis",
        default=shutil.which("redis-server"),
        help="server program; the embedded one if there is none",
    )
    parser.add_argument(
        "--append-only", action="store_true", help="Redis writes its append-only file, as in production"
    )
    return parser.parse_args()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _fill(kafka: LocalKafka, options: argparse.Namespace, bar: Progress) -> FilledTopic:
    address = kafka.bootstrap_servers
    expected = options.results + options.results // RESCORED_ONE_IN
    task = bar.add_task("producing", total=expected, rate="")
    produce_directory(address, options.schools)
    start = time.monotonic()

    def show(sent: int) -> None:
        rate = sent / (time.monotonic() - start)
        bar.update(task, completed=sent, rate=f"{rate:,.0f}/s")

    records, counts = produce_season(
        address,
        options.results,
        options.schools,
        options.seed,
        SECRET.encode(),
        options.order,
        producers=options.producers,
        on_progress=show,
    )
    seconds = time.monotonic() - start
    last = ends(address, EXAM_RESULTS)
    if sum(last.values()) != records:
        raise SystemExit(f"Kafka has {sum(last.values()):,} records of the {records:,} that it acknowledged")
    print(
        f"{records:,} events of {options.results:,} exams of {options.schools:,} schools produced, {options.order}, in {seconds:.0f} s",
        flush=True,
    )
    cells = expected_cells(options.schools, Templates(options.seed), counts)
    return FilledTopic(address, kafka.pid, EXAM_RESULTS, last, {}, cells, {})


def _replay(filled: FilledTopic, store: EmbeddedRedis, folder: Path, bar: Progress) -> Replayed:
    probe = OurTables(store.url, filled)
    folder.mkdir()
    worker = OURS.start(filled, store.url, folder, "replay")
    try:
        marks = _watch(worker, store, filled, probe, bar)
        worker_peak = peak_memory(worker.pid)
    finally:
        worker.stop(10)
    wrong = probe.wrong()
    if wrong.cells:
        raise SystemExit(f"{len(filled.ours):,} cells compared with what was produced; wrong: {wrong}")
    with Redis.from_url(store.url) as redis:
        info = redis.info("memory")
        used, dataset = int(info["used_memory"]), int(info["used_memory_dataset"])
        return Replayed(marks, Memory(worker_peak, peak_memory(store.pid), used, dataset, kinds(redis)))


def _seconds(run: Replayed) -> float:
    return run.marks[-1].seconds - run.marks[0].seconds


def _watch(
    worker: Child, store: EmbeddedRedis, filled: FilledTopic, probe: OurTables, bar: Progress
) -> list[Mark]:
    """The state of affairs at the first applied event, and after each tenth of all."""
    task = bar.add_task("replaying", total=filled.events, rate="")
    limit = time.monotonic() + _START_SECONDS
    marks: list[Mark] = []
    done = 0
    while not marks or done < filled.events:
        time.sleep(_LOOK_SECONDS)
        if not worker.running:
            raise SystemExit(f"the worker has ended:\n{worker.last_lines(150)}")
        now = time.monotonic()
        if (applied := probe.applied()) == done:
            if now > limit:
                raise SystemExit(
                    f"nothing was applied any more after {done:,} events:\n{worker.last_lines(30)}"
                )
            continue
        done, limit = applied, now + _STUCK_SECONDS
        if not marks or done >= filled.events * len(marks) // SLICES:
            marks.append(Mark(done, now, costs(worker.pid, store.pid, filled.kafka_pid)))
            last = marks[-2] if len(marks) > 1 else marks[-1]
            rate = (done - last.events) / max(0.001, now - last.seconds)
            bar.update(task, rate=f"{rate:,.0f}/s in the last tenth")
        bar.update(task, completed=done)
    return marks


if __name__ == "__main__":
    main()
