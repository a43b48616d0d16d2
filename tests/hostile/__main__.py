"""The command line: ``make fuzz``, and the replay of one input.

python -m hostile [--events 1000000] [--documents 100000] [--streams 100000] [--seed 1] [--jobs 2]
python -m hostile --replay FILE
python -m hostile --window KIND:SEED:NUMBER
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hostile import runner
from hostile.campaign import Campaign, save_failures
from hostile.inputs import Kind, load
from hostile.sound import samples

_REQUESTS = 20  # of so many documents one is sent as a whole request
_FOLDER = Path(".scores/hostile")


def main() -> int:
    """Run, replay, and say 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--documents", type=int, default=100_000, help="every twentieth as a whole request")
    parser.add_argument(
        "--streams", type=int, default=100_000, help="requests for streams, and commands to them"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--save", type=Path, default=_FOLDER, help="where failing inputs go")
    parser.add_argument("--replay", type=Path, help="check one saved input")
    parser.add_argument("--window", help="check all inputs of the window with this one: event:1:123")
    options = parser.parse_args()
    if options.replay is not None:
        return _replay(options.replay)
    if options.window is not None:
        kind, seed, number = options.window.split(":")
        first = int(number) // runner.WINDOW * runner.WINDOW
        return _run([Campaign(Kind(kind), runner.WINDOW, int(seed), 1, first)], options.save)
    requests = options.documents // _REQUESTS
    counts = {
        Kind.EVENT: options.events,
        Kind.REPORT: options.documents - requests,
        Kind.REQUEST: requests,
        Kind.STREAM: options.streams,
    }
    campaigns = [
        Campaign(kind, count, options.seed, options.jobs) for kind, count in counts.items() if count > 0
    ]
    return _run(campaigns, options.save)


def _replay(path: Path) -> int:
    given = load(path)
    with runner.checking(given.kind) as check:
        verdict = check.check(given)
        check.finish()
    Console().print(f"{path}: {verdict}")
    return 0


def _run(campaigns: list[Campaign], folder: Path) -> int:
    console = Console()
    if not samples():
        console.print("No reference data: reports start from fixtures and generated ones only.")
    failed = 0
    for campaign in campaigns:
        begun = time.monotonic()
        total = _watched(campaign, console)
        seconds = time.monotonic() - begun
        _print(campaign, total, seconds, console)
        for path, what in save_failures(campaign, total, folder) if total.failures else ():
            failed += 1
            number = path.stem.rpartition("-")[2]
            console.print(f"[red]{path}[/red]\n{what.strip()}", highlight=False)
            console.print(
                f'again: make fuzz ARGS="--replay {path}", '
                f'or with its neighbours: ARGS="--window {campaign.kind}:{campaign.seed}:{number}"'
            )
    console.print(f"{failed} failures" if failed else "No failures.")
    return 1 if failed else 0


def _watched(campaign: Campaign, console: Console) -> runner.Progress:
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failures]} failures"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{campaign.kind}s", total=campaign.count, failures=0)
        found = 0

        def advance(part: runner.Progress) -> None:
            nonlocal found
            found += len(part.failures)
            bar.update(task, advance=part.inputs, failures=found)

        return Campaign(
            campaign.kind,
            campaign.count,
            campaign.seed,
            campaign.jobs,
            campaign.first,
            campaign.checks,
            advance,
        ).run()


def _print(campaign: Campaign, total: runner.Progress, seconds: float, console: Console) -> None:
    table = Table(
        title=f"{total.inputs:,} mutated {campaign.kind}s, seed {campaign.seed}", title_justify="left"
    )
    table.add_column("made by")
    for heading in ("inputs", "accepted", "rejected"):
        table.add_column(heading, justify="right")
    table.add_column("why")
    everything: Counter[str] = Counter()
    for origin, verdicts in sorted(total.verdicts.items()):
        everything.update(verdicts)
        table.add_row(origin, *_cells(verdicts))
    table.add_section()
    table.add_row("all", *_cells(everything))
    console.print(table)
    console.print(
        f"{total.inputs / seconds:,.0f} a second with {campaign.jobs} processes ({seconds:,.0f} s); "
        f"{total.cpu_seconds / max(1, total.inputs) * 1e6:,.0f} us of CPU each; slowest: number {total.slowest} with "
        f"{total.slowest_seconds * 1000:,.0f} ms; peak memory growth {total.memory_growth / 2**20:,.0f} MiB; "
        f"digest {total.digest:016x}\n",
        highlight=False,
    )


def _cells(verdicts: Mapping[str, int]) -> tuple[str, ...]:
    accepted, everything = verdicts.get("accepted", 0), sum(verdicts.values())
    reasons = sorted(
        ((number, verdict) for verdict, number in verdicts.items() if verdict != "accepted"), reverse=True
    )
    why = ", ".join(f"{verdict.removeprefix('rejected: ')} {number:,}" for number, verdict in reasons)
    return f"{everything:,}", f"{accepted:,}", f"{everything - accepted:,}", why


if __name__ == "__main__":
    sys.exit(main())
