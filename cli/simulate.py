"""``scores simulate``: a season of a fictional county into Kafka, and the file that says what must come of it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.simulator.expectation import write_expectation
from cli.simulator.options import Kind, SeasonOptions
from cli.simulator.production import Progress, SeasonRun, run_season
from schemas.errors import InvalidInput

_REFRESH_SECONDS: Final = 0.1


def simulate(
    options: SeasonOptions,
    *,
    kafka: str,
    redis_url: str,
    secret: bytes,
    rate: float = 0.0,
    for_seconds: float | None = None,
    expect: Path | None = None,
    as_json: bool = False,
) -> int:
    """Produce a season and say what was produced; the exit status is 1 when Kafka did not acknowledge all of it.

    Ctrl-C ends it early: what was acknowledged by then is still counted and written to ``expect``.

    Raises:
        InvalidInput: an option is out of range, or ``expect`` cannot be written.
        DependencyUnavailable: Kafka or Redis does not answer, or no worker takes the directory.
    """
    if rate < 0:
        raise InvalidInput(f"--rate is {rate:g}; expected events a second, or 0 for as fast as possible")
    if for_seconds is not None and for_seconds <= 0:
        raise InvalidInput(f"--for is {for_seconds:g}; expected seconds above 0")
    if expect is not None and expect.is_dir():
        raise InvalidInput(
            f"--expect is '{expect}', a folder; expected a file, e.g. {expect / 'expected.jsonl.gz'}"
        )
    stop = threading.Event()
    console = Console(stderr=True)
    with _stopped_by_interrupt(stop), _shown(console) as on_progress:
        run = run_season(
            kafka=kafka,
            redis_url=redis_url,
            secret=secret,
            options=options,
            rate=rate,
            stop=stop,
            for_seconds=for_seconds,
            on_progress=on_progress,
        )
    cells = run.recount.cells()
    if expect is not None:
        write_expectation(expect, cells, run.expectation())
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(_summary(run, len(cells), expect)) + b"\n")
        sys.stdout.flush()
    else:
        _print_summary(Console(), run, len(cells), expect)
    if run.lost:
        console.print(
            f"[red]Kafka did not acknowledge {run.lost:,} events; they may be in the topic or not, so the expectation "
            "may not hold. Run it again on an empty stack.[/red]"
        )
        return 1
    return 0


def _summary(run: SeasonRun, cells: int, expect: Path | None) -> dict[str, object]:
    head = run.expectation()
    return {
        "seed": head.seed,
        "events": head.events,
        "lost": run.lost,
        "kinds": head.kinds,
        "outcomes": head.outcomes,
        "cells": cells,
        "seconds": round(run.seconds, 3),
        "latest_seconds": round(run.latest_seconds, 3),
        "expect": None if expect is None else str(expect),
    }


def _print_summary(console: Console, run: SeasonRun, cells: int, expect: Path | None) -> None:
    table = Table(title=f"Simulated season, seed {run.options.seed}", title_justify="left")
    table.add_column("events sent")
    table.add_column("number", justify="right")
    for kind in Kind:
        if run.kinds[kind]:
            table.add_row(kind.value, f"{run.kinds[kind]:,}")
    table.add_section()
    table.add_row("all", f"{run.acknowledged:,}")
    console.print(table)
    pace = run.acknowledged / run.seconds if run.seconds else 0.0
    console.print(f"{pace:,.0f} events/s for {run.seconds:,.1f} s; they must amount to {cells:,} cells.")
    if run.latest_seconds > 1:
        console.print(
            f"The schedule was missed by up to {run.latest_seconds:.1f} s: this rate is too high here."
        )
    if expect is not None:
        console.print(
            f"Compare the live tables with: scores verify --expect {expect} --wait 60", soft_wrap=True
        )


@contextmanager
def _stopped_by_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets ``stop``, the second interrupts; in another thread than the main one, neither."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Progress as one line that changes, on a terminal; elsewhere nothing."""
    if not console.is_terminal:
        yield lambda progress: None
        return
    last = 0.0
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(progress: Progress) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _REFRESH_SECONDS:
                last = now
                live.update(Text(_line(progress)), refresh=True)

        yield show


def _line(progress: Progress) -> str:
    match progress.phase:
        case "organizations":
            return f"Waiting for a stream worker to take the directory, {progress.seconds:.0f} s"
        case "results":
            pace = progress.produced / progress.seconds if progress.seconds else 0.0
            return f"{progress.produced:,} events sent, {pace:,.0f} a second, {progress.seconds:.0f} s"
        case _:
            return f"{progress.produced - progress.acknowledged:,} events wait for Kafka's acknowledgement"
