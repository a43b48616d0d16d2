"""``scores entities load``: schools, districts and counties from files into the directory."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from redis import Redis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from cli.stores import opened_store
from gateway.kafka import KafkaPublisher
from schemas.errors import InvalidInput
from schemas.events import (
    ORGANIZATION_TYPE,
    OrganizationEntry,
    cloud_event_headers,
    decode_organization,
    encode_event,
)
from schemas.identifiers import OrganizationLevel
from schemas.keys import ORGANIZATIONS as DIRECTORY
from schemas.organization_files import missing_parents, read_organizations
from schemas.process.outgoing import OutgoingRecord
from schemas.topics import ORGANIZATIONS

_PUBLISHED_AT_ONCE: Final = 1_000
_ASKED_AT_ONCE: Final = 2_000
_ASK_EVERY_SECONDS: Final = 0.2
_FILE_BYTES: Final = 64 * 1024 * 1024  # the state's own, with 11,300 lines, has 1 MB
_WARNINGS_SHOWN: Final = 5

Entries = Mapping[str, OrganizationEntry]
_Advance = Callable[[int], None]


def load_entities(
    files: list[Path], bootstrap: str, redis_url: str, *, as_json: bool = False, wait_seconds: float = 60.0
) -> int:
    """Publish the organizations of the files and wait until a stream worker has put them into the directory.

    The exit status is 1 when no worker did so within ``wait_seconds``. The entries are safe in Kafka then, and are
    taken up as soon as a worker runs.

    Raises:
        InvalidInput: a file is not there, or has faults; nothing was published.
        DependencyUnavailable: Kafka or Redis does not answer.
    """
    entries = _read(files)
    quiet = Console(stderr=True, quiet=as_json)
    for district, schools in (missing := missing_parents(entries))[:_WARNINGS_SHOWN]:
        quiet.print(
            Text(f"District {district} of {_schools(schools)} is not in the files; it will have no name.")
        )
    if len(missing) > _WARNINGS_SHOWN:
        quiet.print(Text(f"{len(missing) - _WARNINGS_SHOWN} more districts are not in the files."))
    with opened_store(redis_url) as redis:
        with _progress(quiet, "Publishing", len(entries)) as advance:
            asyncio.run(_publish(entries, bootstrap, advance))
        with _progress(quiet, "Storing", len(entries)) as advance:
            waiting = _wait(redis, entries, advance, wait_seconds)
    _report(entries, waiting, missing, as_json)
    return 1 if waiting else 0


def _read(files: list[Path]) -> dict[str, OrganizationEntry]:
    """The entries of all files by CDS code; of two files that list one organization the later counts."""
    entries: dict[str, OrganizationEntry] = {}
    problems: list[str] = []
    for file in files:
        try:
            if not file.is_file():
                raise InvalidInput(f"'{file}' is not a file; expected an entity file or a CSV")
            if file.stat().st_size > _FILE_BYTES:
                raise InvalidInput(f"'{file}' is larger than 64 MiB; no list of organizations is")
            entries |= {entry.cds: entry for entry in read_organizations(file.read_bytes(), file.name)}
        except (InvalidInput, OSError) as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput("\n".join(problems))
    return entries


async def _publish(entries: Entries, bootstrap: str, advance: _Advance) -> None:
    publisher = KafkaPublisher(bootstrap, client_id="scores-entities")
    publisher.start()
    now = datetime.now(UTC)
    records = [
        OutgoingRecord(
            ORGANIZATIONS,
            entry.cds.encode(),
            encode_event(entry),
            tuple(
                cloud_event_headers(
                    ORGANIZATION_TYPE, f"{entry.cds}@{now:%Y%m%dT%H%M%S.%f}", "/entities", now
                )
            ),
        )
        for entry in entries.values()
    ]
    try:
        for start in range(0, len(records), _PUBLISHED_AT_ONCE):
            chunk = records[start : start + _PUBLISHED_AT_ONCE]
            await publisher.publish(chunk)
            advance(len(chunk))
    finally:
        await asyncio.to_thread(publisher.close)


def _wait(redis: Redis, entries: Entries, advance: _Advance, seconds: float) -> int:
    """Wait until the directory has all entries as they are here. Returns how many it has not."""
    waiting = list(entries)
    deadline = time.monotonic() + seconds
    while True:
        before = len(waiting)
        waiting = _not_stored(redis, entries, waiting)
        advance(before - len(waiting))
        if len(waiting) < before:
            deadline = time.monotonic() + seconds  # somebody is at work
        if not waiting or time.monotonic() > deadline:
            return len(waiting)
        time.sleep(_ASK_EVERY_SECONDS)


def _not_stored(redis: Redis, entries: Entries, codes: list[str]) -> list[str]:
    missing: list[str] = []
    for start in range(0, len(codes), _ASKED_AT_ONCE):
        chunk = codes[start : start + _ASKED_AT_ONCE]
        stored = redis.hmget(DIRECTORY, chunk)
        missing += [
            code
            for code, entry in zip(chunk, stored, strict=True)
            if entry is None or decode_organization(entry) != entries[code]
        ]
    return missing


@contextmanager
def _progress(console: Console, what: str, total: int) -> Iterator[_Advance]:
    if console.quiet or not console.is_terminal:
        yield lambda number: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.advance(task, number)


def _report(entries: Entries, waiting: int, missing: Sequence[tuple[str, int]], as_json: bool) -> None:
    kinds = Counter(entry.kind for entry in entries.values())
    charters = sum(1 for entry in entries.values() if entry.charter)
    if as_json:
        body = {
            "organizations": {level.value: kinds[level.value] for level in OrganizationLevel},
            "charters": charters,
            "waiting": waiting,
            "missing_districts": [district for district, _ in missing],
        }
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
        return
    console = Console()
    table = Table(title="Organizations loaded", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for level, name in _NAMES.items():
        table.add_row(name, f"{kinds[level.value]:,}")
    table.add_row("of the schools, charters", f"{charters:,}")
    console.print(table)
    if waiting:
        console.print(
            Text(
                f"{waiting:,} of {len(entries):,} are in Kafka, but no stream worker has put them into the directory yet. "
                "Start one (`scores up`, or `scores streams`); nothing needs to be loaded again."
            )
        )


_NAMES: Final = {
    OrganizationLevel.STATE: "state",
    OrganizationLevel.COUNTY: "counties",
    OrganizationLevel.DISTRICT: "districts",
    OrganizationLevel.SCHOOL: "schools",
}


def _schools(number: int) -> str:
    return "one school" if number == 1 else f"{number:,} schools"
