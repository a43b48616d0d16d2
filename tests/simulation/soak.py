"""``make soak``: very many schedules, a progress bar, and a table of what they went through.

Exit status: 0 when every schedule matched, 1 when one did not. Each failing seed is printed with the command that replays
it, and the first one with its trace.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from simulation.faults import CLASSES
from simulation.guards import GUARDS, removed
from simulation.schedule import Result, run_schedule

_CHUNK = 50
_FAILURES_TOLD = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the schedules that the arguments ask for."""
    options = _options().parse_args(arguments)
    console = Console(highlight=False)
    if options.trace:
        return _tell(console, options.seed, options.without)
    started = time.monotonic()
    totals: Counter[str] = Counter()
    failed: list[Result] = []
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("schedules,"),
        TextColumn("{task.fields[failed]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("", total=options.schedules, failed="0 mismatches")
        for counts, failures, schedules in _run(
            options.seed, options.schedules, options.jobs, options.without
        ):
            totals.update(counts)
            failed += failures
            progress.update(bar, advance=schedules, failed=f"{len(failed)} mismatches")
    console.print(_table(totals, options.schedules, len(failed), time.monotonic() - started))
    failed.sort(key=lambda result: result.seed)
    for result in failed[:_FAILURES_TOLD]:
        console.print(f"seed {result.seed}: {result.mismatches[0]}", markup=False)
        without = f" --without {options.without}" if options.without else ""
        console.print(f'  replay: make soak ARGS="--seed {result.seed} --trace{without}"', markup=False)
    if failed:
        console.rule(f"seed {failed[0].seed}")
        _tell(console, failed[0].seed, options.without)
    return 1 if failed else 0


def run_some(seeds: range, guard: str | None = None) -> tuple[Counter[str], list[Result], int]:
    """Totals of some schedules, those that failed, and how many there were; without ``guard``, if one is named."""
    totals: Counter[str] = Counter()
    failed = []
    for seed in seeds:
        result = _run_one(seed, guard)
        totals.update(result.counts)
        totals.update(steps=result.steps, events=result.events, batches=result.batches)
        if result.mismatches:
            failed.append(result)
    return totals, failed, len(seeds)


def _run_one(seed: int, guard: str | None, trace: Callable[[str], None] | None = None) -> Result:
    with removed(guard) as without:
        return run_schedule(seed, without=without, trace=trace)


def _run(
    first: int, schedules: int, jobs: int, guard: str | None
) -> Iterator[tuple[Counter[str], list[Result], int]]:
    end = first + schedules
    chunks = [range(start, min(start + _CHUNK, end)) for start in range(first, end, _CHUNK)]
    run = partial(run_some, guard=guard)
    if jobs == 1:
        yield from map(run, chunks)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(run, chunks)


def _table(totals: Counter[str], schedules: int, failed: int, seconds: float) -> Table:
    table = Table(title=f"{schedules:,} schedules in {seconds:.0f} s", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("events", "steps", "batches"):
        table.add_row(f"{name} written" if name == "batches" else name, f"{totals[name]:,}")
    table.add_section()
    for name in CLASSES:
        table.add_row(name, f"{totals[name]:,}")
    table.add_section()
    for name in ("writes fenced", "positions moved"):
        table.add_row(name, f"{totals[name]:,}")
    table.add_section()
    table.add_row("mismatches (schedules)", f"{failed:,}", style="bold red" if failed else "bold green")
    return table


def _tell(console: Console, seed: int, guard: str | None) -> int:
    result = _run_one(seed, guard, partial(console.print, markup=False))
    for mismatch in result.mismatches:
        console.print(mismatch, markup=False)
    console.print(f"seed {result.seed}: {len(result.mismatches)} mismatches in {result.steps} steps")
    return 1 if result.mismatches else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument(
        "--seed", type=int, default=1, help="the first schedule's; the others count on from it"
    )
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes at a time")
    parser.add_argument("--without", choices=GUARDS, help="leave a guard out, to see it found missing")
    parser.add_argument("--trace", action="store_true", help="tell every step of the one schedule --seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
