"""Shows how far reading a topic is, when somebody is watching and it takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SHOWN_EVERY: Final = 1_000


@contextmanager
def shown_progress(what: str, *, quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Two functions: one takes how many records there are, the other counts one."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda total: None, lambda: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if done % _SHOWN_EVERY == 0:
                bar.update(task, completed=done)

        yield lambda total: bar.update(task, total=total), advance
