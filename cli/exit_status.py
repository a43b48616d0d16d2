"""How a command ends: 0 done, 1 done with findings (differences, rejected documents, a process that failed), 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError


def exit_with(command: Callable[[], int]) -> None:
    """Run a command, and end with the exit status that it returns."""
    with errors_as_sentences():
        raise typer.Exit(command())


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End with a line on standard error where there would be a traceback of an error of ours."""
    try:
        yield
    except (InvalidInput, DependencyUnavailable) as error:
        print(f"scores: {error}", file=sys.stderr)
        sys.exit(2)
    except ScoreStreamError as error:
        print(f"scores: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
