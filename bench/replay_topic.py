"""A real Kafka that holds a replay's season, and the options that say which."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.filled_topic import SECRET, FilledTopic, local_kafka
from bench.recount_log import ends
from bench.replay_expectation import expected_cells
from bench.replay_order import ORDERS
from bench.replay_producers import produce_directory, produce_season
from bench.replay_season import RESCORED_ONE_IN, Templates
from cli.stack.local_kafka import LocalKafka
from schemas.topics import EXAM_RESULTS


def add_season_options(parser: argparse.ArgumentParser) -> None:
    """How large the season is, in which order it comes, and which Redis keeps it."""
    parser.add_argument("--results", type=int, default=10_000_000, help="live results at the end")
    parser.add_argument("--schools", type=int, default=9_000)
    parser.add_argument(
        "--order", choices=ORDERS, default=ORDERS[0], help="districts in weeks of their own, or all at once"
    )
    parser.add_argument("--producers", type=int, default=2, help="processes that fill Kafka")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--redis",
        default=shutil.which("redis-server"),
        help="server program; the embedded one if there is none",
    )


def progress() -> Progress:
    """Bars on a terminal, nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def replay_topic(folder: Path, options: argparse.Namespace, bar: Progress) -> Iterator[FilledTopic]:
    """Kafka below ``folder``, with the season of the options."""
    with local_kafka(folder) as kafka:
        filled = _fill(kafka, options, bar)
        print(f"Redis: {Path(options.redis).name if options.redis else 'the embedded server'}", flush=True)
        yield filled


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
