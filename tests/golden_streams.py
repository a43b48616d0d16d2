"""The golden files of the stream, as events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

GOLDEN = Path(__file__).parent / "contract" / "golden"


class GoldenEvent(NamedTuple):
    """One event of a golden file."""

    file: str
    event: str
    data: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.data)
        return body


def golden_events() -> Iterator[GoldenEvent]:
    """Every event with data, in the order of the files."""
    for path in sorted(GOLDEN.glob("sse-*.txt")):
        yield from events_of(path.read_text(encoding="utf-8"), path.name)


def events_of(text: str, file: str = "") -> Iterator[GoldenEvent]:
    """The events with data of a text in the gateway's own form: one data line, ``\\n`` line ends."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            yield GoldenEvent(file, fields["event"], fields["data"])
