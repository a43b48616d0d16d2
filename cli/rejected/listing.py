"""``scores rejected list``: what was rejected, by reason and by what it waits for, and what to do next."""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.rejected.index import Row
from cli.rejected.records import UNNAMED, stamp, utc
from cli.rejected.selection import Selection
from cli.rejected.topic import read_index
from cli.stored_cells import stored_cells
from schemas.assessments import Registry, load_registry
from schemas.closings import Closings, fold
from schemas.errors import DependencyUnavailable, UnknownAssessment
from schemas.organizations import Directory
from schemas.rejections import Reason
from streams.closings_topic import read_changes

_WAITING_SHOWN: Final = 10  # organizations and assessments of one reason, those that hold up most first
_WIDE: Final = 200  # columns of a table in a file, which has no right edge
_NARROW: Final = 120  # in fewer the assessment is left to the detail
_FOREIGN: Final = "Not a rejection of ours: somebody else writes to the rejected topic. Find out who."

# Whether a parked reason's organization or assessment is known, or its test open, by now; None where that cannot be told.
Known = Callable[[str, str], bool | None]


@dataclass(slots=True)
class Summary:
    """Counts of all selected records, those that were retried apart."""

    retried: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, Counter[str]] = field(default_factory=dict)  # by parked reason, by what it waits for


def list_rejected(kafka: str, wanted: Selection, redis_url: str | None, *, limit: int, as_json: bool) -> int:
    """Print the summary and the newest records; 1 when there is any that was not retried, else 0.

    Redis says which organizations are known by now. It need not be there: the list is most wanted in trouble.

    Raises:
        InvalidInput: there is no rejected topic.
        DependencyUnavailable: Kafka does not answer.
    """
    index = read_index(kafka, quiet=as_json)
    summary = summarize(row for _, row in index.select(replace(wanted, retried=True)))
    newest = heapq.nlargest(limit, index.select(wanted), key=lambda named: named[1].time_ms)
    directory = None
    if redis_url is not None and Reason.UNKNOWN_ORGANIZATION in summary.reasons:
        with suppress(DependencyUnavailable), stored_cells(redis_url) as stored:
            directory = stored.directory()
    closings = fold(read_changes(kafka)) if Reason.CLOSED in summary.reasons else Closings()
    known = _known(directory, load_registry(), closings, time.time_ns() // 1_000_000)
    if as_json:
        _print_json(summary, newest, known)
    else:
        _print(summary, newest, known, asked=directory is not None)
    return 1 if summary.reasons else 0


def summarize(rows: Iterable[Row]) -> Summary:
    """Count rows by reason, and parked ones by what they wait for. What was retried waits no more."""
    summary = Summary()
    for row in rows:
        if row.retried_ms:
            summary.retried += 1
            continue
        summary.reasons[row.reason] += 1
        if row.waits_for is not None:
            summary.waiting.setdefault(row.reason, Counter())[row.waits_for] += 1
    return summary


def _known(directory: Directory | None, registry: Registry, closings: Closings, now_ms: int) -> Known:
    closed = {str(about) for about, _ in closings if closings.closed_since(about.field, now_ms) is not None}

    def known(reason: str, name: str) -> bool | None:
        if reason == Reason.CLOSED:
            return name not in closed
        if reason == Reason.UNKNOWN_ORGANIZATION:
            return directory.is_school(name) if directory is not None else None
        try:
            registry.resolve(name)
        except UnknownAssessment:
            return None  # it may be known together with a school year, which is not kept here
        return True

    return known


def _by_reason(summary: Summary) -> list[tuple[str, int]]:
    order = [reason.value for reason in Reason] + [UNNAMED]
    return [(reason, summary.reasons[reason]) for reason in order if summary.reasons[reason]]


def remedy(reason: str) -> str:
    """What to do next about a reason."""
    return _FOREIGN if reason == UNNAMED else Reason(reason).remedy


def _print(summary: Summary, newest: list[tuple[str, Row]], known: Known, *, asked: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    if summary.reasons:
        console.print(_summary_table(summary, known))
        for reason, _ in _by_reason(summary):
            console.print(Text(f"{reason}: {remedy(reason)}"), soft_wrap=True)
    else:
        console.print("Nothing is rejected.")
    if Reason.UNKNOWN_ORGANIZATION in summary.reasons and not asked:
        told = "Redis did not say which organizations are known by now; --redis says where it is."
        console.print(Text(told), soft_wrap=True)
    shown_retried = any(row.retried_ms for _, row in newest)
    if summary.retried and not shown_retried:
        console.print(Text(f"{summary.retried:,} more were retried; --retried shows them."), soft_wrap=True)
    if newest:
        total = summary.reasons.total() + (summary.retried if shown_retried else 0)
        console.print()
        narrow = console.width < _NARROW
        console.print(_record_table(newest, total, narrow=narrow, with_retried=shown_retried))


def _summary_table(summary: Summary, known: Known) -> Table:
    table = Table(title=f"Rejected results: {summary.reasons.total():,}", title_justify="left")
    table.box, table.pad_edge = box.SIMPLE_HEAD, False
    table.add_column("reason", no_wrap=True)
    table.add_column("results", justify="right", no_wrap=True)
    table.add_column("waits for", overflow="fold")
    for reason, count in _by_reason(summary):
        table.add_row(reason, f"{count:,}", "" if reason in summary.waiting else "–")
        waiting = summary.waiting.get(reason, Counter())
        for name, blocked in waiting.most_common(_WAITING_SHOWN):
            table.add_row("", f"{blocked:,}", Text(_waiting(reason, name, known)))
        if len(waiting) > _WAITING_SHOWN:
            rest = sum(count for _, count in waiting.most_common()[_WAITING_SHOWN:])
            table.add_row("", f"{rest:,}", f"{len(waiting) - _WAITING_SHOWN:,} more")
    return table


def _waiting(reason: str, name: str, known: Known) -> str:
    by_now = known(reason, name)
    if reason == Reason.CLOSED:
        return f"test {name}: {'reopened by now, retry' if by_now else 'still closed'}"
    what = "organization" if reason == Reason.UNKNOWN_ORGANIZATION else "assessment"
    told = {True: ": known by now, retry", False: ": still unknown", None: ""}[by_now]
    return f"{what} {name}{told}"


def _record_table(newest: list[tuple[str, Row]], total: int, *, narrow: bool, with_retried: bool) -> Table:
    more = f"; the newest {len(newest):,}, more with --limit" if len(newest) < total else ""
    table = Table(title=f"Records: {total:,}{more}", title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    for heading in ("record", "rejected (UTC)", "reason", "school"):
        table.add_column(heading, no_wrap=True)
    for heading in ("detail",) if narrow else ("assessment", "detail"):
        table.add_column(heading, overflow="fold")
    if with_retried:
        table.add_column("retried (UTC)", no_wrap=True)
    for reference, row in newest:
        cells = [reference, utc(row.time_ms), row.reason, row.school or "–"]
        if not narrow:
            cells.append(row.assessment or "–")
        cells.append((f"retry of {row.retry_of}: " if row.retry_of else "") + row.detail)
        if with_retried:
            cells.append(utc(row.retried_ms) if row.retried_ms else "")
        table.add_row(*map(Text, cells))
    return table


def _print_json(summary: Summary, newest: list[tuple[str, Row]], known: Known) -> None:
    body = {
        "rejected": summary.reasons.total(),
        "retried": summary.retried,
        "reasons": [
            {
                "reason": reason,
                "results": count,
                "remedy": remedy(reason),
                "waits_for": [
                    {"name": name, "results": blocked, "known": known(reason, name)}
                    for name, blocked in summary.waiting.get(reason, Counter()).most_common()
                ],
            }
            for reason, count in _by_reason(summary)
        ],
        "records": [_shown(reference, row) for reference, row in newest],
    }
    sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
    sys.stdout.flush()


def _shown(reference: str, row: Row) -> dict[str, object]:
    return {
        "record": reference,
        "reason": row.reason,
        "detail": row.detail,
        "time": stamp(row.time_ms),
        "school": row.school,
        "assessment": row.assessment,
        "waits_for": row.waits_for,
        "retry_of": row.retry_of,
        "retried": stamp(row.retried_ms) if row.retried_ms else None,
    }
