"""What the commands of the long runs share: their options, a story told while it happens, and logs that stay where they explain something."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeVar

from schemas.errors import ScoreStreamError

KindOf = TypeVar("KindOf", bound=Enum)
Say = Callable[[str], None]


class Ending(NamedTuple):
    """How a run ended."""

    table: str  # closes the story
    failed: bool


def command_parser(name: str, docstring: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m NAME``, with the options that every run has."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=(docstring or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep what a run that went well has left")
    return parser


def add_servers(parser: argparse.ArgumentParser, *, kafka: str, redis: str) -> None:
    """Which servers it runs on; by default these."""
    parser.add_argument("--kafka", choices=["real", "embedded"], default=kafka)
    parser.add_argument("--redis", choices=["system", "embedded"], default=redis)


def add_kinds(parser: argparse.ArgumentParser, kinds: type[Enum]) -> None:
    """Which kinds of faults there are; by default all."""
    parser.add_argument("--only", action="append", choices=[kind.name.lower() for kind in kinds], default=[])


def chosen(kinds: type[KindOf], given: argparse.Namespace) -> list[KindOf]:
    """The kinds that were named, in that order; empty when none was."""
    return [kinds[name.upper()] for name in given.only]


def tell(
    name: str, carry_out: Callable[[Path, Say], Ending], *, keep: bool, left: str, seed: int | None = None
) -> int:
    """Carry it out in a folder of its own; returns the exit status, 1 when it failed or could not be carried out.

    ``left`` says what is then in the folder. What is said is also in its ``story.txt``.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"scores-{name}-"))
    with (folder / "story.txt").open("w") as story:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=story, flush=True)

        try:
            ending = carry_out(folder, say)
        except (ScoreStreamError, AssertionError) as error:
            say(f"The run could not be carried out: {error}\nLogs are in {folder}")
            return 1
        say(ending.table)
    if ending.failed:
        print(f"{'' if seed is None else f'Seed {seed}. '}{left} are in {folder}")
        return 1
    if keep:
        print(f"{left} are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0
