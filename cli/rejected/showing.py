"""``scores rejected show``: one record whole, without saying whose it is unless asked to."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.rejected.listing import remedy
from cli.rejected.masking import HIDDEN, shown_body, shown_headers, student_of, without_student
from cli.rejected.records import RejectedRecord, Retried, printable, stamp
from cli.rejected.topic import read_all
from schemas.errors import InvalidInput
from schemas.rejections import coordinates_of


def show_rejected(kafka: str, reference: str, *, reveal: bool, as_json: bool) -> int:
    """Print one record: where it stood, why it was rejected, its headers and its body.

    Raises:
        InvalidInput: it is no reference, or no such record is in the topic.
        DependencyUnavailable: Kafka does not answer.
    """
    wanted = coordinates_of(reference)
    found: RejectedRecord | None = None
    times = retried_ms = 0
    for record in read_all(kafka, quiet=as_json):
        if record.origin != wanted:
            continue
        if isinstance(record, Retried):
            retried_ms = max(retried_ms, record.time_ms)
        else:
            found, times = record, times + 1
    if found is None:
        raise InvalidInput(
            f"no rejected record is called {wanted.reference}; `scores rejected list --retried` shows those there are"
        )
    shown = describe(found, reveal=reveal) | {
        "times_rejected": times,
        "retried": stamp(retried_ms) if retried_ms else None,
    }
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
        sys.stdout.flush()
    else:
        _print(shown, remedy(found.reason))
    return 0


def describe(record: RejectedRecord, *, reveal: bool) -> dict[str, object]:
    """Everything about a record that may be shown; texts are safe to print."""
    key, value = record.stored.key, record.stored.value
    shown_key = None if key is None else printable(key.decode(errors="backslashreplace"))
    shown: dict[str, object] = {
        "record": record.reference,
        **record.facts,
        "headers": shown_headers(record.headers, reveal=reveal),
        "bytes": len(value or b""),
    }
    if not reveal:
        shown = without_student(without_student(shown, student_of(value)), shown_key)
    return shown | {
        "key": shown_key if reveal or key is None else HIDDEN,
        "body": shown_body(value, reveal=reveal),
    }


def _print(shown: dict[str, object], what_to_do: str) -> None:
    console = Console()
    table = Table(title=f"Rejected result {shown['record']}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    place = f"{shown['topic']}, partition {shown['partition']}, offset {shown['offset']}"
    rows = {
        "reason": shown["reason"],
        "detail": shown["detail"],
        "what to do": what_to_do,
        "stood in": place,
        "rejected": shown["time"],
        "times rejected": shown["times_rejected"] if shown["times_rejected"] != 1 else None,
        "retried": shown["retried"],
        "is a retry of": shown["retry_of"],
        "too large, not kept": ", ".join(map(str, omitted))
        if isinstance(omitted := shown["omitted"], list)
        else "",
        "key": shown["key"] if shown["key"] is not None else "(none)",
    }
    for name, content in rows.items():
        if content:
            table.add_row(name, Text(str(content)))
    headers = shown["headers"]
    if isinstance(headers, list):
        for name, content in headers:
            table.add_row(Text(f"header {name}"), Text(content))
    console.print(table)
    body = shown["body"]
    if body is None:
        console.print("No body.")
    elif isinstance(body, str):
        console.print(Text(body), soft_wrap=True)
    else:
        for line in json.dumps(body, indent=2, ensure_ascii=False).split("\n"):
            console.print(Text(printable(line)), soft_wrap=True)
