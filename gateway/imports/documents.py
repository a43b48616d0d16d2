"""Requests taken apart into documents, in memory: reports hold student data, and never touch the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from schemas.errors import InvalidInput

XML: Final = "application/xml"
JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
_XML_TYPES: Final = frozenset({XML, "text/xml"})
# What browsers and tools send for a file whose type they do not know; the first byte decides then.
_UNTOLD: Final = frozenset({"", "application/octet-stream", "text/plain"})
_LONGEST_FILENAME: Final = 200


class TooManyDocuments(InvalidInput):
    """A request holds more documents than one may."""


@dataclass(frozen=True, slots=True)
class Document:
    """One exam report as it was submitted."""

    data: bytes
    content_type: str  # XML or JSON, or what the sender says and we do not take
    filename: str | None = None

    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return sha256(self.data).hexdigest()


def accepted_type(header: str) -> tuple[str, bytes | None]:
    """The kind of body a Content-Type header announces, and the boundary when it is multipart.

    Raises:
        InvalidInput: a type that this endpoint does not take, or multipart without its boundary.
    """
    kind, options = parse_options_header(header)
    name = kind.decode("latin-1").lower()
    if name in _XML_TYPES:
        return XML, None
    if name == JSON:
        return JSON, None
    if name == MULTIPART and options.get(b"boundary"):
        return MULTIPART, options[b"boundary"]
    raise InvalidInput(
        f"Content-Type is '{header[:80]}'; expected application/xml, text/xml, application/json "
        "or multipart/form-data with a boundary"
    )


def split_json(data: bytes, filename: str | None, most: int) -> tuple[list[Document], bool]:
    """The events of a JSON body, and whether it was an array.

    What is not an array is one document, whatever it holds: reading it says what is wrong.

    Raises:
        TooManyDocuments: the array has more than ``most`` events.
    """
    if data.lstrip()[:1] != b"[":
        return [Document(data, JSON, filename)], False
    try:
        events = msgspec.structs.astuple(_array_splitter(most)(data))
    except msgspec.ValidationError:  # the one thing that it can find wrong with an array of anything
        raise _too_many(most) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [Document(data, JSON, filename)], False
    return [Document(bytes(event), JSON, filename) for event in events if event is not msgspec.UNSET], True


def split_multipart(data: bytes, boundary: bytes, most: int) -> list[Document]:
    """The files of a multipart body, in order.

    Raises:
        TooManyDocuments: there are more than ``most``.
        InvalidInput: the body is not what it says, is cut off, or holds a form field that is no file.
    """
    parts = _Parts(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
                "on_header_field": parts.header_field,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_end": parts.finish,
            },
        )
        parser.write(data)
        parser.finalize()
    except FormParserError as error:
        raise InvalidInput(f"the multipart body cannot be read: {error}") from None
    if not parts.finished:
        raise InvalidInput("the multipart body is cut off: its closing boundary is missing; send it again")
    return parts.documents


class _Parts:
    """Gathers one part after the other from the parser's callbacks."""

    def __init__(self, most: int) -> None:
        self.documents: list[Document] = []
        self.finished = False
        self._most = most
        self.begin()

    def begin(self) -> None:
        self._body = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field = bytearray()
        self._value = bytearray()

    def data(self, data: bytes, start: int, end: int) -> None:
        self._body += data[start:end]

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"filename" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise InvalidInput(
                f"the form field '{name[:40]}' is not a file; send each report as a file part, "
                "batch and filename in the query"
            )
        _check_number(len(self.documents) + 1, self._most)
        kind, _ = parse_options_header(self._headers.get(b"content-type", b""))
        filename = options[b"filename"].decode("utf-8", "replace")
        body = bytes(self._body)
        self.documents.append(Document(body, _part_type(kind, body), clean_filename(filename)))

    def finish(self) -> None:
        self.finished = True


def clean_filename(name: str | None) -> str | None:
    """A sender's file name for display only: printable, at most 200 characters, None when blank."""
    if name is None:
        return None
    printable = "".join(c for c in name if c.isprintable()).strip()
    return printable[:_LONGEST_FILENAME] or None


def _part_type(kind: bytes, body: bytes) -> str:
    name = kind.decode("latin-1").lower()
    if name in _XML_TYPES or (name in _UNTOLD and body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"):
        return XML
    if name in _UNTOLD and body.lstrip()[:1] == b"{":
        return JSON
    return name or "application/octet-stream"


@cache
def _array_splitter(most: int) -> Callable[[bytes], Any]:
    # A list would take in the whole array before it could be counted: 64 MiB of "[0,0,0 ..." become 2 GB of objects. The
    # array of a structure's fields ends where its fields do.
    fields = [(f"event_{number}", msgspec.Raw, msgspec.UNSET) for number in range(most)]
    array = msgspec.defstruct("_Array", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(array).decode


def _check_number(documents: int, most: int) -> None:
    if documents > most:
        raise _too_many(most)


def _too_many(most: int) -> TooManyDocuments:
    return TooManyDocuments(f"the request holds more than {most:,} documents; send them in several requests")
