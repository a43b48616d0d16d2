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
import tempfile
import time
from pathlib import Path
from typing import Final

from redis import Redis
from rich.progress import Progress

from bench.filled_topic import FilledTopic
from bench.measuring import costs, peak_memory
from bench.probes import OurTables
from bench.redis_memory import kinds
from bench.replay_report import SLICES, Mark, Memory, Replayed, memory, over_time
from bench.replay_topic import add_season_options, progress, replay_topic
from bench.roster import OURS
from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis

_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0
_STUCK_SECONDS: Final = 60.0


def main() -> None:
    """The command."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="scores-replay-"))
    try:
        with progress() as bar, replay_topic(folder, options, bar) as filled:
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
    add_season_options(parser)
    parser.add_argument("--runs", type=int, default=1, help="replays of what was produced once")
    parser.add_argument(
        "--append-only", action="store_true", help="Redis writes its append-only file, as in production"
    )
    return parser.parse_args()


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
