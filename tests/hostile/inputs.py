"""One hostile input, and the file that it is saved to and replayed from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).with_name("corpus")


class Kind(StrEnum):
    """What an input is sent to."""

    EVENT = "event"  # a record of the results topic, to the worker; and its value as JSON, to the import
    REPORT = "report"  # an XML document, to the import
    REQUEST = "request"  # a whole HTTP request, to the import endpoint
    STREAM = "stream"  # a request for a stream, or a command to one that is open


class Input(NamedTuple):
    """One input and how it was made.

    ``head`` is the record key of an event, the Content-Type of a request to the import, the first lines of one for a
    stream, and None for a report.
    """

    kind: Kind
    origin: str
    head: bytes | None
    body: bytes | None


def save(given: Input, path: Path) -> None:
    """Write an input; a report as it is, others below a line with the head in hexadecimal."""
    if given.kind is Kind.REPORT:
        path.write_bytes(given.body or b"")
        return
    head = b"-" if given.head is None else given.head.hex().encode()
    path.write_bytes(head if given.body is None else head + b"\n" + given.body)


def load(path: Path) -> Input:
    """Read an input back; the file's suffix tells its kind."""
    content = path.read_bytes()
    kind = Kind.REPORT if path.suffix == ".xml" else Kind(path.suffix.removeprefix("."))
    if kind is Kind.REPORT:
        return Input(kind, "file", None, content)
    head, newline, body = content.partition(b"\n")
    return Input(
        kind, "file", None if head == b"-" else bytes.fromhex(head.decode()), body if newline else None
    )


def suffix(kind: Kind) -> str:
    """The suffix of saved inputs of a kind."""
    return ".xml" if kind is Kind.REPORT else f".{kind}"
