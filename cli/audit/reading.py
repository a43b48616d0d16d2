"""Reads the audit: the topic, or the files of a spool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cli.topic_progress import shown_progress
from schemas.audit import AuditEntry, Broken, read_entry
from schemas.errors import InvalidInput
from schemas.process.audit.spool import segment_path, segments
from schemas.topics import AUDIT
from streams.topic_reading import read_topic


def stored_lines(kafka: str, *, quiet: bool) -> Iterator[tuple[bytes, str]]:
    """Every record of the topic with its place; those of a chain in their order.

    Raises:
        InvalidInput: there is no audit topic.
        DependencyUnavailable: Kafka does not answer.
    """
    with shown_progress("Reading the audit", quiet=quiet) as (total, advance):
        for stored in read_topic(kafka, AUDIT, on_start=total):
            yield stored.value or b"", f"{AUDIT}:{stored.partition}:{stored.offset}"
            advance()


def stored_entries(kafka: str, *, quiet: bool) -> Iterator[tuple[AuditEntry, bytes]]:
    """Every entry once, with its bytes; what is no entry is passed over, ``scores audit verify`` names it."""
    seen: dict[str, int] = {}
    for line, _ in stored_lines(kafka, quiet=quiet):
        try:
            entry = read_entry(line)
        except Broken:
            continue
        if entry.number > seen.get(entry.chain, 0):  # shipping may repeat the newest ones
            seen[entry.chain] = entry.number
            yield entry, line


def spooled_lines(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Every whole line of a spool folder with its place, chain after chain.

    Raises:
        InvalidInput: there is no such folder.
    """
    if not folder.is_dir():
        raise InvalidInput(
            f"'{folder}' is no folder; expected what SCORES_AUDIT_DIR names on the machine of a gateway or webhook worker"
        )
    for chain, firsts in segments(folder).items():
        for first in firsts:
            path = segment_path(folder, chain, first)
            with path.open("rb") as segment:
                for number, line in enumerate(segment, 1):
                    if line.endswith(b"\n"):  # else it is just being written, or was when the process ended
                        yield line[:-1], f"{path.name}:{number}"
