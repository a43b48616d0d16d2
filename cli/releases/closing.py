"""``scores releases close``, ``reopen`` and ``closed``: a year's results of a test become final, and what comes later waits.

Guarantee: *the log decides.* A change is one record of the closings topic, and every reader of that topic comes to the same
parked results, whenever it reads. What these commands show is read from there, too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.audit.noting import noted_by_operator
from cli.rejected.records import stamp, utc
from cli.rejected.topic import read_index
from gateway.kafka import KafkaPublisher
from schemas.audit import AuditEvent, AuditKind
from schemas.closings import LEAD_MS, TOLERANCE_MS, Change, ClosedTest, Closings, Interval, fold
from schemas.errors import InvalidInput
from schemas.events import CLOSING_TYPE, ClosingEntry, cloud_event_headers, encode_event, microseconds
from schemas.identifiers import STATE
from schemas.process.outgoing import OutgoingRecord
from schemas.rejections import Reason
from schemas.topics import CLOSINGS
from streams.closings_topic import read_changes

Kind = Literal["closed", "reopened"]

_PRODUCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """What came of closing or reopening a test."""

    about: ClosedTest
    written: bool  # False: it was so already
    intervals: tuple[Interval, ...]
    acknowledged_monotonic: float = 0.0
    slow_seconds: float = 0.0  # how long Kafka took, where that was too long

    def waiting_seconds(self, now_ms: int) -> float:
        """How long until a result that is produced again is taken, after a reopening."""
        if self.written:
            # The brokers' clock decides, and ours may differ from it; how long it is since then we know.
            return max(0.0, self.acknowledged_monotonic + (LEAD_MS + TOLERANCE_MS) / 1000 - time.monotonic())
        ends = [interval.reopened_ms for interval in self.intervals if interval.reopened_ms is not None]
        return max(0.0, (max(ends) + TOLERANCE_MS - now_ms) / 1000) if ends else 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a test stands that was closed at some time."""

    about: ClosedTest
    intervals: tuple[Interval, ...]
    by: str | None  # who changed it last
    waiting: int  # parked results

    @property
    def latest(self) -> Interval | None:
        """None when a closing was called off before it came."""
        return self.intervals[-1] if self.intervals else None

    def state(self, now_ms: int) -> str:
        """In a word."""
        if self.latest is None:
            return "open"
        if now_ms < self.latest.closed_ms:
            return "closes"
        return "closed" if self.latest.reopened_ms is None or now_ms < self.latest.reopened_ms else "reopened"


def closing_time(text: str, now: datetime) -> datetime:
    """The moment that was typed; without a zone it is UTC.

    Raises:
        InvalidInput: it is no time, or it is over: what has been applied stays.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(
            f"--at is '{text[:40]}'; expected a time such as 2026-08-31T17:00-07:00 or 2026-09-01"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment < now:
        raise InvalidInput(
            f"--at is '{text[:40]}', which is over; results that were applied since then would stay. Leave it out to close now"
        )
    return moment


def change_closing(kafka: str, about: ClosedTest, change: Kind, *, at: datetime | None, by: str) -> Done:
    """Close or reopen a test, unless it is so already.

    Raises:
        InvalidInput: there is no closings topic.
        DependencyUnavailable: Kafka does not answer, or did not acknowledge; then `scores releases closed` tells what holds.
    """
    entry = ClosingEntry(school_year=about.school_year, test=about.test, change=change, at=at, by=by)
    before = fold(read_changes(kafka))
    now = datetime.now(UTC)
    if before.after(Change(entry, microseconds(now) // 1000)).intervals(about) == before.intervals(about):
        return Done(about, False, before.intervals(about))
    headers = cloud_event_headers(CLOSING_TYPE, f"{about}.{time.time_ns():x}", "scores/releases", now)
    record = OutgoingRecord(CLOSINGS, str(about).encode(), encode_event(entry), tuple(headers))
    kind = AuditKind.YEAR_CLOSED if change == "closed" else AuditKind.YEAR_REOPENED
    noted = AuditEvent(
        kind=kind,
        subject=by,
        organizations=(f"state/{STATE}",),
        years=(about.school_year,),
        tests=(about.test,),
        detail="" if at is None else f"at {at.isoformat()}",
    )
    seconds = asyncio.run(_produce(kafka, record, noted))
    acknowledged = time.monotonic()
    slow = seconds if seconds > TOLERANCE_MS / 1000 else 0.0
    return Done(about, True, fold(read_changes(kafka)).intervals(about), acknowledged, slow)


def tell_closed(done: Done, *, as_json: bool) -> int:
    """Print since when, or from when on, a test is closed."""
    interval = done.intervals[-1]
    if as_json:
        _print_json({**_shown(done.about, done.intervals), "changed": done.written})
        return 0
    _tell(
        f"{done.about} {'closes' if done.written else 'is closed already, since'} {utc(interval.closed_ms)} UTC. What Kafka "
        "takes down from then on is parked: `scores rejected list --reason closed`."
    )
    _tell_slow(done)
    return 0


def tell_reopened(kafka: str, done: Done, *, retried: bool, as_json: bool) -> int:
    """Print from when on a test is open, and how many parked results wait for that; 1 when they still do."""
    waiting = _waiting(kafka, quiet=as_json)[str(done.about)]
    left = 1 if waiting and not retried else 0
    if as_json:
        if not retried:
            _print_json({**_shown(done.about, done.intervals), "changed": done.written, "waiting": waiting})
        return left
    ends = [interval.reopened_ms for interval in done.intervals if interval.reopened_ms is not None]
    if done.written and ends:
        _tell(f"{done.about} is open again from {utc(max(ends))} UTC on.")
    elif done.written:
        _tell(f"{done.about} stays open: its closing is called off.")
    else:
        _tell(f"{done.about} is open already.")
    _tell_slow(done)
    if waiting == 0:
        _tell("No parked results wait for that.")
    elif retried:
        _tell(f"Parked results that wait for that: {waiting:,}.")
    else:
        _tell(
            f"Parked results that wait for that: {waiting:,}. Then apply them with `scores rejected retry --reason closed`."
        )
    return left


def show_closed(kafka: str, *, as_json: bool) -> int:
    """Print which tests are closed, will be, or were and have parked results left.

    Raises:
        InvalidInput: there is no closings topic, or no rejected topic.
        DependencyUnavailable: Kafka does not answer.
    """
    changes = read_changes(kafka)
    found = standings(changes, _waiting(kafka, quiet=as_json))
    now_ms = time.time_ns() // 1_000_000
    if as_json:
        _print_json(
            {
                "closings": [
                    {
                        **_shown(standing.about, standing.intervals),
                        "state": standing.state(now_ms),
                        "by": standing.by,
                        "waiting": standing.waiting,
                    }
                    for standing in found
                ]
            }
        )
        return 0
    shown = [
        standing for standing in found if standing.waiting or standing.state(now_ms) in {"closed", "closes"}
    ]
    if not shown:
        _tell("No test is closed.")
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("year", "test", "", "since (UTC)", "by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("parked results", justify="right", no_wrap=True)
    for standing in shown:
        state, latest = standing.state(now_ms), standing.latest
        since_ms = None if latest is None else latest.closed_ms
        if latest is not None and state == "reopened":
            since_ms = latest.reopened_ms
        table.add_row(
            str(standing.about.school_year),
            standing.about.test,
            state,
            "–" if since_ms is None else utc(since_ms),
            Text(standing.by or "–"),
            f"{standing.waiting:,}",
        )
    Console().print(table)
    return 0


def standings(changes: Sequence[Change], waiting: Counter[str]) -> list[Standing]:
    """How each test stands that was closed at some time, the latest year first."""
    closings: Closings = fold(changes)
    by = {change.about: change.entry.by for change in changes}
    return [
        Standing(about, closings.intervals(about), by[about], waiting[str(about)])
        for about in sorted(by, key=lambda about: (-about.school_year, about.test))
    ]


def _waiting(kafka: str, *, quiet: bool) -> Counter[str]:
    rows = read_index(kafka, quiet=quiet).rows.values()
    return Counter(row.waits_for or "" for row in rows if row.reason == Reason.CLOSED and not row.retried_ms)


async def _produce(kafka: str, record: OutgoingRecord, noted: AuditEvent) -> float:
    """Produce a change that the audit has; how long Kafka took to take it down, in seconds."""
    publisher = KafkaPublisher(kafka, produce_seconds=_PRODUCE_SECONDS, client_id="scores-releases")
    publisher.start()
    try:
        await noted_by_operator(publisher, [noted])
        started = time.monotonic()
        await publisher.publish([record])
        return time.monotonic() - started
    finally:
        await asyncio.to_thread(publisher.close)


def _shown(about: ClosedTest, intervals: Sequence[Interval]) -> dict[str, object]:
    return {
        "school_year": about.school_year,
        "test": about.test,
        "closed": [
            {
                "from": stamp(interval.closed_ms),
                "to": None if interval.reopened_ms is None else stamp(interval.reopened_ms),
            }
            for interval in intervals
        ],
    }


def _tell_slow(done: Done) -> None:
    if done.slow_seconds:
        _tell(
            f"Kafka took {done.slow_seconds:.1f} s to acknowledge, and workers may have decided results in between without "
            "knowing: `scores rebuild start` puts that right, should it be so."
        )


def _tell(text: str) -> None:
    Console().print(Text(text), soft_wrap=True)


def _print_json(body: dict[str, object]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
    sys.stdout.flush()
