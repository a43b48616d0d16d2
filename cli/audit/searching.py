"""``scores audit search``: the newest entries that match, as a table or as they are stored."""

from __future__ import annotations

import heapq
import sys
from datetime import UTC, datetime
from itertools import count
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.audit.reading import stored_entries
from cli.audit.selection import Matcher, Selection
from schemas.audit import AuditEntry, AuditEvent

_WIDE: Final = 200  # columns of a table in a file, which has no right edge
_TOPICS_SHOWN: Final = 2


def search(kafka: str, wanted: Selection, *, limit: int, as_json: bool) -> int:
    """Print the newest matching entries, oldest first; how many match in all.

    Raises:
        InvalidInput: there is no audit topic.
        DependencyUnavailable: Kafka does not answer.
    """
    matcher = Matcher(wanted)
    newest: list[tuple[int, int, AuditEntry, bytes]] = []
    found = 0
    order = count()
    for entry, line in stored_entries(kafka, quiet=as_json):
        if not matcher.matches(entry):
            continue
        found += 1
        kept = (entry.at_ms, next(order), entry, line)
        if len(newest) < limit:
            heapq.heappush(newest, kept)
        elif limit:
            heapq.heappushpop(newest, kept)
    newest.sort()
    if as_json:
        for _, _, _, line in newest:
            sys.stdout.write(line.decode() + "\n")
        return 0
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    console.print(_table([entry for _, _, entry, _ in newest]))
    console.print(Text(f"{len(newest):,} of {found:,} entries."), soft_wrap=True)
    return 0


def _table(entries: list[AuditEntry]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("time (UTC)", "what", "who", "token", "about", "shown as", "from", "how it ended", "entry"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        event = entry.event
        cells = (
            moment(entry.at_ms),
            event.kind.value.replace("_", " "),
            event.subject,
            event.token_id,
            _topics(event),
            ", ".join(dict.fromkeys(filter(None, event.classes))),
            event.address,
            _end(event),
            f"{entry.chain}:{entry.number}",
        )
        # Texts, not markup: a subject comes from whoever issued the token.
        table.add_row(*(Text(cell) for cell in cells))
    return table


def moment(at_ms: int) -> str:
    """A time as people read it."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _topics(event: AuditEvent) -> str:
    shown = ", ".join(event.organizations[:_TOPICS_SHOWN])
    more = len(event.organizations) - _TOPICS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _end(event: AuditEvent) -> str:
    said = [event.outcome, event.rule, event.detail]
    if event.seconds:
        said.append(f"after {event.seconds:.0f} s")
    return ", ".join(filter(None, said))
