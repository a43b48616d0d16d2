"""CSV as people open it: in a spreadsheet, which takes some texts for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A CSV file (RFC 4180) with a header, safe to open."""
    return csv_rows([header]) + csv_rows(rows)


def csv_rows(rows: Iterable[Sequence[str | float]]) -> str:
    """Lines of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        writer.writerow([harmless(value) for value in row])
    return text.getvalue()


def harmless(value: str | float) -> str | float:
    """A text that a spreadsheet would take for a formula, made plain; names come from other systems."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
