"""How many events a second does one stream worker apply, beside stock Faust doing the same job?

    python -m bench.worker_throughput [--events 200000] [--runs 5]

Real Apache Kafka (from its Maven artifacts) and a real Redis-compatible server on this machine. One topic, filled
before, read by each engine in turn within each run: ours, stock Faust with a MULTI of increments for each event, stock
Faust with a script for each event. Decoding, version check, retraction, four organization levels and Redis writes are
in every figure. The rate is taken from the first applied event to the last; CPU is the worker process alone, from
its start of applying. Ours must then equal the recount, cell by cell.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.local_kafka import LocalKafka
from cli.stack.redis_server import EmbeddedRedis
from cli.stored_cells import stored_cells
from cli.verify import compare, counted_cells
from schemas.assessments import load_registry
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys
from schemas.topics import EXAM_RESULTS, topics

PARTITIONS = 8
SECRET = "a secret of the benchmark"
STOCK_SECONDS = 12.0  # stock Faust is measured over this long; its rate is steady


@dataclass(frozen=True)
class Measured:
    """One engine's run."""

    events: int
    seconds: float
    cpu_seconds: float
    redis_cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.events * 1e6

    @property
    def redis_us(self) -> float:
        return self.redis_cpu_seconds / self.events * 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(child: Child, redis_pid: int, applied: Callable[[], int], until: int, seconds: float) -> Measured:
    """From the first applied event until ``until`` are, or the time is over."""
    while (first := applied()) == 0:
        if not child.running:
            raise SystemExit(child.last_lines(30))
        time.sleep(0.005)
    start, cpu, redis_cpu = time.monotonic(), cpu_seconds(child.pid), cpu_seconds(redis_pid)
    while (now := applied()) < until and time.monotonic() - start < seconds:
        time.sleep(0.005)
    return Measured(
        now - first,
        time.monotonic() - start,
        cpu_seconds(child.pid) - cpu,
        cpu_seconds(redis_pid) - redis_cpu,
    )


def worker_environment(kafka: str, redis_url: str, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "SCORES_KAFKA": kafka,
        "SCORES_REDIS_URL": redis_url,
        "SCORES_STUDENT_KEY_SECRET": SECRET,
        **more,
    }


def start(name: str, module: list[str], folder: Path, environment: dict[str, str]) -> Child:
    command = [sys.executable, "-m", *module]
    return Child(name, command, cwd=Path.cwd(), log=folder / f"{name}.log", env=environment)


def prepare(kafka: str, events: int, folder: Path) -> SeasonRun:
    """Fill the topic once; a worker takes the directory meanwhile, on a store that is thrown away."""
    with EmbeddedRedis() as store:
        worker = start("prepare", ["cli", "streams"], folder, worker_environment(kafka, store.url))
        try:
            return run_season(
                kafka=kafka,
                redis_url=store.url,
                secret=SECRET.encode(),
                options=SeasonOptions(schools=200, results=int(events / 1.2), rescores=0.1),
                rate=0,
                stop=threading.Event(),
            )
        finally:
            worker.stop(5)


def ours(kafka: str, run: SeasonRun, folder: Path, number: int) -> Measured:
    """Our worker, a fresh store and a fresh group; then the check."""
    with EmbeddedRedis() as store:
        client = Redis.from_url(store.url)

        def applied() -> int:
            generation = client.get(GENERATION)
            if generation is None:
                return 0
            with client.pipeline(transaction=False) as pipe:
                for partition in range(PARTITIONS):
                    keys = PartitionKeys(Generation(generation.decode()), PartitionId(partition))
                    pipe.hget(keys.position, "next")
                return sum(int(value or 0) for value in pipe.execute())

        environment = worker_environment(
            kafka, store.url, SCORES_STREAMS_GROUP=f"ours-{number}-{os.getpid()}"
        )
        worker = start(f"ours-{number}", ["cli", "streams"], folder, environment)
        try:
            measured = measure(worker, store.pid, applied, run.produced, 300)
        finally:
            worker.stop(5)
        with stored_cells(store.url) as stored:
            differences = compare(run.recount.cells(), counted_cells(stored.everywhere(), load_registry()))
        if differences:
            raise SystemExit(f"ours is wrong in {len(differences)} figures, first {differences[0]}")
        client.close()
        return measured


def stock(kafka: str, run: SeasonRun, folder: Path, number: int, way: str) -> Measured:
    """Stock Faust, a fresh store and a fresh group."""
    with EmbeddedRedis() as store:
        client = Redis.from_url(store.url)
        before = [0]

        def applied() -> int:
            # Each event costs exactly one read of its exam row in one of these two commands.
            command = "cmdstat_evalsha" if way == "script" else "cmdstat_hget"
            return int(client.info("commandstats").get(command, {"calls": 0})["calls"]) - before[0]

        environment = worker_environment(
            kafka, store.url, BENCH_WAY=way, BENCH_GROUP=f"stock-{way}-{number}-{os.getpid()}"
        )
        worker = start(f"stock-{way}-{number}", ["bench.stock_faust"], folder, environment)
        try:
            return measure(worker, store.pid, applied, run.produced, STOCK_SECONDS)
        finally:
            worker.stop(3)
            client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scores-bench-"))
    jars = Path(".scores/kafka")
    wanted = {topic.name: (topic.partitions, topic.config) for topic in topics(PARTITIONS)}
    found: dict[str, list[Measured]] = {"ours": [], "stock, increments": [], "stock, script": []}
    with LocalKafka(folder / "kafka", topics=wanted, jars=jars, java_options=("-XX:+UseG1GC",)) as kafka:
        address = kafka.bootstrap_servers
        run = prepare(address, options.events, folder)
        print(f"{EXAM_RESULTS}: {run.produced:,} events, {dict(run.kinds)}")
        for number in range(options.runs):
            found["ours"].append(ours(address, run, folder, number))
            for way in ("increments", "script"):
                found[f"stock, {way}"].append(stock(address, run, folder, number, way))
            print(
                f"run {number + 1}: "
                + "; ".join(f"{name} {runs[-1].rate:,.0f}/s" for name, runs in found.items()),
                flush=True,
            )
    report(found)
    subprocess.run(["rm", "-rf", str(folder)], check=False)


def report(found: dict[str, list[Measured]]) -> None:
    """The table of medians and ratios, in Markdown."""
    base = statistics.median(measured.rate for measured in found["ours"])
    print(
        "\n| engine | events/s, median (min-max) | worker CPU us an event | Redis CPU us an event | ours is |"
    )
    print("|---|---|---|---|---|")
    for name, runs in found.items():
        rates = [measured.rate for measured in runs]
        rate = statistics.median(rates)
        cpu = statistics.median(measured.cpu_us for measured in runs)
        redis_cpu = statistics.median(measured.redis_us for measured in runs)
        print(
            f"| {name} | {rate:,.0f} ({min(rates):,.0f}-{max(rates):,.0f}) | {cpu:.1f} | {redis_cpu:.1f} | {base / rate:.1f}x |"
        )


if __name__ == "__main__":
    main()
