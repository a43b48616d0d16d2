"""What may be shown of a rejected record without being asked twice: everything but whose result it is.

Known fields are let through by name. A field that nobody knows may hold anything, a name among it, and bytes that are not
our JSON may be a whole exam report; both stay hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from cli.rejected.records import printable
from schemas.events import ClaimScore, ExamResult, Subgroups
from schemas.rejections import HEADER_RETRY_OF

HIDDEN: Final = "(hidden; --reveal shows it)"

_NESTED: Final[Mapping[str, frozenset[str]]] = {
    "claims": frozenset(ClaimScore.__struct_fields__),
    "subgroups": frozenset(Subgroups.__struct_fields__),
}
_FIELDS: Final = frozenset(ExamResult.__struct_fields__)
# Not ce_subject: some producers name the student there.
_HEADERS: Final = frozenset(
    {
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "content-type",
        "traceparent",
        HEADER_RETRY_OF,
    }
)
_SHORTEST_IDENTIFIER: Final = 4  # a shorter one would mask digits that mean nothing


def shown_body(value: bytes | None, *, reveal: bool) -> object:
    """The body for printing: decoded JSON, or a text about bytes that are none."""
    if value is None:
        return None
    try:
        body = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if reveal:
            return printable(value.decode(errors="backslashreplace"))
        return f"({len(value):,} bytes that are not JSON; --reveal shows them)"
    if reveal:
        return body
    if not isinstance(body, dict):
        return HIDDEN
    shown = {name: _masked(name, content) for name, content in body.items() if name in _FIELDS}
    if unknown := len(body) - len(shown):
        shown[f"({unknown} more fields)"] = HIDDEN  # the name of a field may itself be an identifier
    return without_student(shown, student_of(value))


def shown_headers(headers: Iterable[tuple[str, bytes]], *, reveal: bool) -> list[list[str]]:
    """Names and values for printing; what a producer of its own adds may say anything, and stays hidden."""
    return [
        [
            printable(name),
            printable(content.decode(errors="backslashreplace")) if reveal or name in _HEADERS else HIDDEN,
        ]
        for name, content in headers
    ]


def without_student(shown: Any, student: str | None) -> Any:
    """Texts with the identifier taken out wherever it is repeated, in an assessment's field or a message."""
    if student is None or len(student) < _SHORTEST_IDENTIFIER:
        return shown
    if isinstance(shown, str):
        return shown.replace(student, "(student)")
    if isinstance(shown, dict):
        return {name: without_student(content, student) for name, content in shown.items()}
    if isinstance(shown, list):
        return [without_student(content, student) for content in shown]
    return shown


def student_of(value: bytes | None) -> str | None:
    """The identifier that a body names, for taking it out of everything else that is shown."""
    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    student = body.get("student_id") if isinstance(body, dict) else None
    return str(student) if isinstance(student, str | int) else None


def _masked(name: str, content: object) -> object:
    if name in _NESTED:
        return _only(content, _NESTED[name])
    return content if name != "student_id" and _plain(content) else HIDDEN


def _only(content: object, allowed: frozenset[str]) -> object:
    """Objects, or lists of them, with the allowed fields and plain values only."""
    if isinstance(content, list):
        return [_only(part, allowed) for part in content]
    if not isinstance(content, dict):
        return HIDDEN
    shown = {
        name: part
        for name, part in content.items()
        if name in allowed and all(map(_plain, part if isinstance(part, list) else [part]))
    }
    if hidden := len(content) - len(shown):
        shown[f"({hidden} more fields)"] = HIDDEN
    return shown


def _plain(part: object) -> bool:
    return part is None or isinstance(part, str | int | float | bool)
