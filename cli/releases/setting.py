"""``scores releases set`` and ``import``: orders, given in parts that show progress, each of which is done or refused whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from cli.releases.client import ReleasesClient
from gateway.releases.answers import ChangedState, ChangesAnswer
from gateway.releases.wanted import COLUMNS
from gateway.spreadsheets import csv_text
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.releases import ReleaseKey, ReleaseState

# Lines of one order: a quarter of a second of a worker's and a gateway's time.
_AT_ONCE: Final = 500
_FILE_BYTES: Final = 4 * 1024 * 1024


def set_releases(
    client: ReleasesClient, keys: Sequence[ReleaseKey], state: ReleaseState, *, as_json: bool
) -> int:
    """Give all of these a state. The exit status is 1 when Kafka has it, but no worker has applied it yet.

    Raises:
        InvalidInput: the token may not; the message names the permission that it lacks.
        DependencyUnavailable: no gateway answers, or it cannot change states now.
    """
    if len(keys) == 1:
        return _report(client.put(keys[0], state), as_json)
    answers: list[ChangesAnswer] = []
    try:
        with _progress(len(keys), quiet=as_json) as advance:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                answers.append(client.send(order_of(part, state)))
                advance(len(part))
    except ScoreStreamError:
        if answers:
            _report(_together(answers), as_json)
        raise
    return _report(_together(answers), as_json)


def import_releases(client: ReleasesClient, file: Path, *, as_json: bool) -> int:
    """Give all that a file names the states that it names, or nothing.

    Raises:
        InvalidInput: the file is not there, has faults (all are named), or names what the token may not change.
        DependencyUnavailable: no gateway answers, or it cannot change states now.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"'{file}' cannot be read: {error.strerror}") from None
    if len(data) > _FILE_BYTES:
        raise InvalidInput(f"'{file}' is larger than 4 MiB; no list of release states is")
    return _report(client.send(data), as_json)


def order_of(keys: Sequence[ReleaseKey], state: ReleaseState) -> bytes:
    """The file that gives all these a state."""
    rows = ((key.school_year, key.district, key.subject, key.report.value, state.word) for key in keys)
    return csv_text(COLUMNS, rows).encode()


def _together(answers: Sequence[ChangesAnswer]) -> ChangesAnswer:
    return ChangesAnswer(
        changed=tuple(change for answer in answers for change in answer.changed),
        unchanged=sum(answer.unchanged for answer in answers),
        applied=all(answer.applied for answer in answers),
        detail=next((answer.detail for answer in answers if answer.detail), ""),
    )


def _report(answer: ChangesAnswer, as_json: bool) -> int:
    status = 0 if answer.applied else 1
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()
        return status
    console = Console()
    ways: dict[tuple[int, str, str, str, str], list[ChangedState]] = {}
    for one in answer.changed:
        ways.setdefault((one.school_year, one.subject, one.report, one.before, one.state), []).append(one)
    for (year, subject, report, before, after), alike in ways.items():
        districts = alike[0].district if len(alike) == 1 else f"{len(alike):,} districts"
        console.print(Text(f"{year} {subject} {report}: {before} to {after}, {districts}"))
    if answer.unchanged:
        console.print(Text(f"{answer.unchanged:,} had that state already."))
    if answer.detail:
        console.print(Text(answer.detail, style="yellow"))
    return status


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True, quiet=quiet)
    if quiet or not console.is_terminal:
        yield lambda number: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("Changing", total=total)
        yield lambda number: bar.advance(task, number)
