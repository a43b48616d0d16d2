"""``scores rejected retry``: produces rejected results again, unchanged, where it can help by now.

Guarantee: *at least once.* A result is noted as retried only after Kafka has acknowledged it, so a crash in between retries
it once more; its version makes the repetition a duplicate. A result that was superseded meanwhile is stale.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from cli.rejected.index import Blocked, Index, Judge, Row
from cli.rejected.judging import unproducible
from cli.rejected.listing import remedy
from cli.rejected.records import RejectedRecord, utc
from cli.rejected.selection import Selection
from cli.rejected.topic import read_index, read_places
from gateway.kafka import KafkaPublisher
from schemas import rejections
from schemas.errors import InvalidInput
from schemas.process.outgoing import OutgoingRecord
from schemas.topics import EXAM_RESULTS, REJECTED

_AT_ONCE: Final = 1_000
_PRODUCE_SECONDS: Final = 30.0  # for that many; a command may wait longer than a request
_SHOWN: Final = 20  # obstacles named in full, those of most results first


@dataclass(slots=True)
class Plan:
    """What a retry does, and what it leaves."""

    chosen: dict[str, Row] = field(default_factory=dict)
    waiting: Counter[Blocked] = field(default_factory=Counter)
    already: list[tuple[str, int]] = field(default_factory=list)  # retried before, and when


def retry_rejected(
    kafka: str, wanted: Selection, judge: Judge | None, *, dry_run: bool, as_json: bool
) -> int:
    """Produce again what a worker would take by now, all that is selected without a ``judge``.

    Returns 0 when nothing is left to do, 1 when something still waits (with ``dry_run``: when there is anything to do).

    Raises:
        InvalidInput: a reference names no rejected record, or there is no rejected topic.
        DependencyUnavailable: Kafka does not answer, or did not acknowledge; what it acknowledged is noted as retried.
    """
    index = read_index(kafka, judge or unproducible, quiet=as_json)
    plan = make_plan(index, wanted, forced=judge is None)
    retried = 0
    if not dry_run and plan.chosen:
        retried = asyncio.run(_produce(kafka, plan.chosen, quiet=as_json))
    _report(plan, retried, dry_run=dry_run, as_json=as_json)
    left = plan.waiting.total() + (len(plan.chosen) if dry_run else 0)
    return 1 if left else 0


def make_plan(index: Index, wanted: Selection, *, forced: bool = False) -> Plan:
    """Choose among the selected rows.

    A parked import is one report: its state and the tombstones that go ahead of it take effect together, or not at all.

    Raises:
        InvalidInput: a reference names no rejected record.
    """
    if missing := sorted(wanted.references - index.rows.keys()):
        raise InvalidInput(
            f"no rejected record is called {', '.join(missing[:10])}; `scores rejected list --retried` shows those there are"
        )
    plan = Plan()
    selected = dict(index.select(wanted))
    imports = {row.parked_import for row in selected.values() if row.parked_import}
    selected |= {
        reference: row
        for reference, row in index.rows.items()
        if row.parked_import in imports and (wanted.retried or not row.retried_ms)
    }
    blocked = {
        row.parked_import: row.blocked for row in selected.values() if row.blocked and row.parked_import
    }
    for reference, row in selected.items():
        obstacle = row.blocked or (blocked.get(row.parked_import) if row.parked_import else None)
        if obstacle is not None:
            plan.waiting[obstacle] += 1
        else:
            plan.chosen[reference] = row
    if wanted.references and not forced:
        plan.already = [
            (reference, index.rows[reference].retried_ms) for reference in sorted(wanted.references)
        ]
        plan.already = [(reference, time_ms) for reference, time_ms in plan.already if time_ms]
    return plan


def retry_records(record: RejectedRecord, now: datetime) -> tuple[OutgoingRecord, OutgoingRecord]:
    """The result as it was, to be produced first, and the marker that notes it as retried."""
    key = record.stored.key or b""  # a record without one is never chosen
    headers = [header for header in record.headers if header[0] != rejections.HEADER_RETRY_OF]
    again = OutgoingRecord(
        EXAM_RESULTS,
        key,
        record.stored.value,
        (*headers, (rejections.HEADER_RETRY_OF, record.reference.encode())),
    )
    marker = OutgoingRecord(
        REJECTED,
        key,
        None,
        (
            (rejections.HEADER_TOPIC, record.origin.topic.encode()),
            (rejections.HEADER_PARTITION, str(record.origin.partition).encode()),
            (rejections.HEADER_OFFSET, str(record.origin.offset).encode()),
            (rejections.HEADER_RETRIED, now.isoformat(timespec="milliseconds").encode()),
        ),
    )
    return again, marker


async def _produce(kafka: str, chosen: dict[str, Row], *, quiet: bool) -> int:
    # Tombstones of parked imports first, or a result would count under two students for a moment.
    ahead = {reference: row for reference, row in chosen.items() if row.parked_import and row.tombstone}
    rest = {reference: row for reference, row in chosen.items() if reference not in ahead}
    retried = 0
    with _publisher(kafka) as publisher:
        for rows in (ahead, rest):
            records = read_places(kafka, rows, "Retrying", quiet=quiet)
            while some := list(islice(records, _AT_ONCE)):
                now = datetime.now(UTC)
                pairs = [retry_records(record, now) for _, record in some]
                await publisher.publish([again for again, _ in pairs])
                await publisher.publish([marker for _, marker in pairs])
                retried += len(pairs)
    return retried


@contextmanager
def _publisher(kafka: str) -> Iterator[KafkaPublisher]:
    publisher = KafkaPublisher(kafka, produce_seconds=_PRODUCE_SECONDS, client_id="scores-retry")
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.close()


def _report(plan: Plan, retried: int, *, dry_run: bool, as_json: bool) -> None:
    gone = 0 if dry_run else len(plan.chosen) - retried
    obstacles = plan.waiting.most_common()
    if as_json:
        body = {
            "retried": retried,
            "would_retry": len(plan.chosen) if dry_run else 0,
            "gone": gone,
            "waiting": [
                {
                    "reason": blocked.reason,
                    "waits_for": blocked.waits_for,
                    "detail": blocked.detail,
                    "results": count,
                }
                for blocked, count in obstacles
            ],
            "retried_before": [reference for reference, _ in plan.already],
        }
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
        return
    console = Console()

    def tell(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    for reference, time_ms in plan.already:
        tell(f"{reference} was retried at {utc(time_ms)} UTC; --force retries it again.")
    if dry_run:
        tell(f"{_results(len(plan.chosen))} would be produced again; nothing was.")
    elif retried or not plan.waiting:
        tell(f"{_results(retried)} produced again.")
    if gone:
        tell(f"{_results(gone)} left the rejected topic meanwhile: its retention is too short.")
    if plan.waiting:
        tell(f"{_results(plan.waiting.total())} still waiting: they would be rejected again.")
        for blocked, count in obstacles[:_SHOWN]:
            tell(f"  {count:,} x {blocked.reason}: {blocked.detail}")
        if len(obstacles) > _SHOWN:
            tell(f"  and {len(obstacles) - _SHOWN:,} more obstacles")
        for reason in sorted({blocked.reason for blocked in plan.waiting}):
            tell(f"{reason}: {remedy(reason)}")
    elif retried:
        tell("What is rejected again appears again in `scores rejected list`, as a retry.")


def _results(number: int) -> str:
    return "One result" if number == 1 else f"{number:,} results"
