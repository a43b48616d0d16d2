"""``scores rejected export``: the rejected bytes as JSON lines, for the producer who has to mend them."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from cli.private_file import private_output
from cli.rejected.records import RejectedRecord
from cli.rejected.selection import Selection
from cli.rejected.topic import read_index, read_places

_encode: Final = msgspec.json.Encoder().encode


def export_rejected(kafka: str, wanted: Selection, output: Path | None) -> int:
    """Write every selected record, whole, as one JSON object a line; to standard output when ``output`` is None.

    A file appears complete or not at all, and only its owner can read it.

    Raises:
        InvalidInput: the file cannot be written, or there is no rejected topic.
        DependencyUnavailable: Kafka does not answer.
    """
    rows = dict(read_index(kafka, quiet=False).select(wanted))
    written = 0
    with private_output(output) as out:
        for reference, record in read_places(kafka, rows, "Exporting", quiet=False):
            out.write(_encode(exported(reference, record)) + b"\n")
            written += 1
    warning = (
        "They contain student identifiers: send them only to whom they come from, and delete them afterwards."
    )
    where = "" if output is None else f" to {output}"
    told = f"{written:,} rejected results written{where}. {warning}" if written else "Nothing is rejected."
    Console(stderr=True).print(Text(told), soft_wrap=True)
    return 0


def exported(reference: str, record: RejectedRecord) -> dict[str, object]:
    """One record with all its bytes; bytes that are not UTF-8 are base64 under another name."""
    return {
        "record": reference,
        **record.facts,
        **_bytes("key", record.stored.key),
        **_bytes("value", record.stored.value),
        "headers": [{"name": name, **_bytes("value", content)} for name, content in record.headers],
    }


def _bytes(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(content).decode()}
