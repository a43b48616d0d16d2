"""Shows how far a rebuild is: bars on a terminal, a line now and then elsewhere, nothing for a program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from streams.rebuild_state import Progress

_LINE_EVERY_SECONDS: Final = 10.0


class Display:
    """What the operator sees while it runs; everything goes to standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._lags = Text()
        self._on_terminal = self._console.is_terminal and not quiet
        self._task = self._bars.add_task("", total=None, note="")
        self._told = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it lasts, bars are drawn on a terminal."""
        if not self._on_terminal:
            yield
            return
        with Live(Group(self._bars, self._lags), console=self._console, transient=True):
            yield

    def say(self, line: str, *, loud: bool = False) -> None:
        """A line that stays."""
        self._console.print(Text(line, style="bold red" if loud else ""), soft_wrap=True)

    def filling(self, progress: Progress) -> None:
        """How far the log is read."""
        total = progress.applied + progress.left
        note = f"{progress.rate:,.0f}/s, {estimate(progress)}"
        self._bars.update(
            self._task, description="Filling", total=total, completed=progress.applied, note=note
        )
        lags = lags_of(progress)
        self._lags.plain = "Behind, by partition: " + "  ".join(
            f"{number}: {lag:,}" for number, lag in sorted(lags.items())
        )
        self._now_and_then(f"Filling: {progress.applied:,} of {total:,} events, {note}")

    def verifying(self, done: float, partitions: int) -> None:
        """How many partitions are compared; a part of one is a part of one."""
        self._lags.plain = ""
        self._bars.update(
            self._task, description="Verifying", total=partitions, completed=int(done), note="partitions"
        )
        self._now_and_then(f"Verifying: {done:.1f} of {partitions} partitions")

    def removing(self, removed: int) -> None:
        """How many keys of tables that do not serve are gone; how many there are nobody knows."""
        self._bars.update(
            self._task, description="Removing", total=max(1, removed), completed=removed, note="keys"
        )
        self._now_and_then(f"Removing: {removed:,} keys")

    def _now_and_then(self, line: str) -> None:
        if not self._on_terminal and time.monotonic() - self._told > _LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self.say(line)


def estimate(progress: Progress) -> str:
    """How long the filling still takes, as a text."""
    if not progress.left:
        return "caught up"
    if progress.rate < 1:
        return "no estimate yet"
    return f"{timedelta(seconds=round(progress.left / progress.rate))} left"


def lags_of(progress: Progress) -> dict[int, int]:
    """Events that each partition is behind its limit."""
    return {number: max(0, limit - position) for number, (position, limit) in progress.partitions.items()}
