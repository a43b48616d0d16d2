"""How long does a replay of a state's season take, what does it cost, and does the cost stay the same?

    python -m bench.replay [--results 10000000] [--schools 9000] [--producers 2] [--append-only]

Exams of a fictional state (58 counties, a district for each nine schools), a tenth of them rescored, are put into a
real Kafka first. Then ``scores streams`` starts on an empty Redis, and is watched from its first applied event until
positions reach the end: events a second and CPU of each tenth, peak memory, and bytes of Redis per live result and
cell. At the end every figure of every cell is compared with what the producers have counted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from redis import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.filled_topic import SECRET, FilledTopic, local_kafka
from bench.measuring import Costs, costs, peak_memory, table
from bench.probes import OurTables
from bench.recount_log import ends
from bench.redis_memory import kinds
from bench.replay_expectation import expected_cells
from bench.replay_producers import produce_directory, produce_season
from bench.replay_season import RESCORED_ONE_IN, Templates
from bench.roster import OURS
from cli.stack.child import Child
from cli.stack.local_kafka import LocalKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.topics import EXAM_RESULTS

_SLICES: Final = 10
_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0
_STUCK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Mark:
    """What the clock and the meters showed when so many events were applied."""

    events: int
    seconds: float
    spent: Costs


def main() -> None:
    """The command."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="scores-replay-"))
    try:
        with local_kafka(folder) as kafka, _progress() as bar:
            filled = _fill(kafka, options, bar)
            settings = {"appendonly": "yes", "appendfsync": "everysec"} if options.append_only else None
            with EmbeddedRedis(binary=options.redis, settings=settings) as store:
                print(
                    f"Redis: {Path(options.redis).name if options.redis else 'the embedded server'}",
                    flush=True,
                )
                _replay(filled, store, folder, options.results, bar)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=int, default=10_000_000, help="live results at the end")
    parser.add_argument("--schools", type=int, default=9_000)
    parser.add_argument("--producers", type=int, default=2, help="processes that fill Kafka")
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
        producers=options.producers,
        on_progress=show,
    )
    seconds = time.monotonic() - start
    last = ends(address, EXAM_RESULTS)
    if sum(last.values()) != records:
        raise SystemExit(f"Kafka has {sum(last.values()):,} records of the {records:,} that it acknowledged")
    print(f"{records:,} events of {options.results:,} exams produced in {seconds:.0f} s", flush=True)
    cells = expected_cells(options.schools, Templates(options.seed), counts)
    return FilledTopic(address, kafka.pid, EXAM_RESULTS, last, {}, cells, {})


def _replay(filled: FilledTopic, store: EmbeddedRedis, folder: Path, results: int, bar: Progress) -> None:
    probe = OurTables(store.url, filled)
    run = folder / "worker"
    run.mkdir()
    worker = OURS.start(filled, store.url, run, "replay")
    try:
        marks = _watch(worker, store, filled, probe, bar)
        memory = peak_memory(worker.pid)
    finally:
        worker.stop(10)
    print(_over_time(marks))
    with Redis.from_url(store.url) as redis:
        print(_memory(redis, store, memory, results), flush=True)
    wrong = probe.wrong()
    print(f"\n{len(filled.ours):,} cells compared with what was produced; wrong: {wrong}")
    if wrong.cells:
        raise SystemExit(1)


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
        if not marks or done >= filled.events * len(marks) // _SLICES:
            marks.append(Mark(done, now, costs(worker.pid, store.pid, filled.kafka_pid)))
            last = marks[-2] if len(marks) > 1 else marks[-1]
            rate = (done - last.events) / max(0.001, now - last.seconds)
            bar.update(task, rate=f"{rate:,.0f}/s in the last tenth")
        bar.update(task, completed=done)
    return marks


def _over_time(marks: list[Mark]) -> str:
    rows = [
        _slice_row(f"{number * 100 // _SLICES}%", before, after)
        for number, (before, after) in enumerate(pairwise(marks), start=1)
    ]
    rows.append(_slice_row("all", marks[0], marks[-1]))
    headings = [
        "until",
        "seconds",
        "events/s",
        "worker CPU us/event",
        "Redis CPU us/event",
        "Kafka CPU us/event",
    ]
    return "\n" + table(headings, rows)


def _slice_row(name: str, before: Mark, after: Mark) -> list[str]:
    events, seconds = max(1, after.events - before.events), after.seconds - before.seconds
    spent = after.spent.since(before.spent)
    per_event = [f"{cpu / events * 1e6:.1f}" for cpu in (spent.worker, spent.redis, spent.kafka)]
    return [name, f"{seconds:.1f}", f"{events / max(0.001, seconds):,.0f}", *per_event]


def _memory(redis: Redis, store: EmbeddedRedis, worker_bytes: int, results: int) -> str:
    info = redis.info("memory")
    found = kinds(redis)
    rows = [
        ["worker, peak RSS", f"{worker_bytes / 1e6:,.0f} MB", ""],
        ["Redis, peak RSS", f"{peak_memory(store.pid) / 1e6:,.0f} MB", ""],
        ["Redis, used_memory", *_per_result(int(info["used_memory"]), results)],
        ["Redis, used_memory_dataset", *_per_result(int(info["used_memory_dataset"]), results)],
        ["exam rows", *_per_result(found["exams"].total_bytes, results)],
        ["cells", *_per_result(found["cells"].total_bytes, results)],
    ]
    shape = ", ".join(
        f"{kind}: {it.keys:,} hashes of {it.fields / max(1, it.keys):.1f} fields, {it.bytes_a_field:.1f} bytes each"
        for kind, it in found.items()
    )
    return "\n" + table(["memory", "", "bytes per live result"], rows) + f"\n\n{shape}"


def _per_result(total_bytes: int, results: int) -> tuple[str, str]:
    return f"{total_bytes / 1e6:,.0f} MB", f"{total_bytes / results:.1f}"


if __name__ == "__main__":
    main()
