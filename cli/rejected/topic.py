"""Reads the rejected topic: all of it, or the records at known places. Shows how far it is when that takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.rejected.index import Index, Judge, Row, build_index
from cli.rejected.records import RejectedRecord, Retried, read_rejected
from schemas.topics import REJECTED
from streams.topic_reading import read_topic

_SHOWN_EVERY: Final = 1_000


def read_index(kafka: str, judge: Judge = lambda record: None, *, quiet: bool) -> Index:
    """Every rejected record once.

    Raises:
        InvalidInput: there is no rejected topic.
        DependencyUnavailable: Kafka does not answer.
    """
    return build_index(read_all(kafka, quiet=quiet), judge)


def read_all(kafka: str, *, quiet: bool) -> Iterator[RejectedRecord | Retried]:
    """The topic from its beginning to its end."""
    with _progress("Reading", quiet=quiet) as (total, advance):
        for stored in read_topic(kafka, REJECTED, on_start=total):
            yield read_rejected(stored)
            advance()


def read_places(
    kafka: str, rows: Mapping[str, Row], what: str, *, quiet: bool
) -> Iterator[tuple[str, RejectedRecord]]:
    """The whole records of the rows, by reference. One pass from the first of them to the last; bodies are not kept."""
    places = {(row.partition, row.offset): reference for reference, row in rows.items()}
    starts: dict[int, int] = {}
    for partition, offset in places:
        starts[partition] = min(offset, starts.get(partition, offset))
    if not places:
        return
    with _progress(what, quiet=quiet) as (total, advance):
        total(len(places))
        with closing(read_topic(kafka, REJECTED, starts, partitions=starts)) as topic:
            for stored in topic:
                reference = places.pop((stored.partition, stored.offset), None)
                record = read_rejected(stored) if reference is not None else None
                if reference is not None and isinstance(record, RejectedRecord):
                    yield reference, record
                    advance()
                if not places:
                    return


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
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
