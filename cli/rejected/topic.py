"""Reads the rejected topic: all of it, or the records at known places. Shows how far it is when that takes long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

from cli.rejected.index import Index, Judge, Row, build_index
from cli.rejected.records import RejectedRecord, Retried, read_rejected
from cli.topic_progress import shown_progress
from schemas.topics import REJECTED
from streams.topic_reading import read_topic


def read_index(kafka: str, judge: Judge = lambda record: None, *, quiet: bool) -> Index:
    """Every rejected record once.

    Raises:
        InvalidInput: there is no rejected topic.
        DependencyUnavailable: Kafka does not answer.
    """
    return build_index(read_all(kafka, quiet=quiet), judge)


def read_all(kafka: str, *, quiet: bool) -> Iterator[RejectedRecord | Retried]:
    """The topic from its beginning to its end."""
    with shown_progress("Reading", quiet=quiet) as (total, advance):
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
    with shown_progress(what, quiet=quiet) as (total, advance):
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
