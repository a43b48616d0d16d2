"""``scores audit export``: the record of disclosures, which a district may ask for.

A disclosure is what one person was shown through one token: from when to when, of which topic, in which class, and how it
ended; or what one of their webhooks was sent, and with which status that was answered. Those of a district are the ones that contained results of its students: of itself and its schools; and totals of its
county and the state, which its students are part of. The class says whether those were exact or held back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from cli.audit.reading import stored_entries
from cli.audit.selection import ENDS, Reach, concerns, organization_of
from cli.private_file import private_output
from gateway.spreadsheets import csv_rows
from schemas.audit import AuditEntry, AuditEvent, AuditKind
from schemas.figures import rfc3339
from schemas.identifiers import OrganizationId, level_of

# What discloses results, and in which way.
_SHOWN: Final = {
    AuditKind.STREAM_OPENED: "stream",
    AuditKind.STREAM_CHANGED: "stream",
    AuditKind.RESULTS_READ: "request",
    AuditKind.WEBHOOK_SENT: "webhook",
}
_encode: Final = msgspec.json.Encoder().encode


class Disclosure(Struct, frozen=True):
    """One row of the record."""

    begun: str
    ended: str  # empty: not known, or not yet
    how_it_ended: str
    subject: str
    issuer: str
    token_id: str
    address: str
    topic: str
    level: str
    visibility: str
    report: str
    way: str  # stream, request or webhook
    said: str  # of a webhook: its endpoint, what it told of, and whether figures were in it
    tests: str
    grades: str
    years: str
    entry: str


class _Open(NamedTuple):
    entry: AuditEntry
    address: str


def export(
    kafka: str,
    *,
    district: OrganizationId | None,
    since_ms: int,
    until_ms: int | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Write the record of disclosures, as CSV or JSON lines; a file appears complete or not at all.

    Raises:
        InvalidInput: the file cannot be written, or there is no audit topic.
        DependencyUnavailable: Kafka does not answer.
    """
    entries = (entry for entry, _ in stored_entries(kafka, quiet=output is None))
    rows = sorted(
        (row for begun, row in disclosures(entries, district, since_ms, until_ms)),
        key=lambda row: (row.begun, row.entry),
    )
    with private_output(output) as out:
        if as_json:
            for row in rows:
                out.write(_encode(row) + b"\n")
        else:
            out.write(csv_rows([Disclosure.__struct_fields__]).encode())
            out.write(csv_rows(_values(row) for row in rows).encode())
    where = "" if output is None else f" to {output}"
    Console(stderr=True).print(Text(f"{len(rows):,} disclosures written{where}."), soft_wrap=True)
    return 0


def disclosures(
    entries: Iterable[AuditEntry],
    district: OrganizationId | None,
    since_ms: int = 0,
    until_ms: int | None = None,
) -> Iterator[tuple[int, Disclosure]]:
    """Every disclosure of the time that concerns the district (None: any), with when it began.

    Entries of a chain are expected in their order. What nobody saw end is given the end of its chain: the next chain of the
    same folder names it. A webhook that told of no results, but of a release state, is none.
    """
    shown: dict[str, _Open] = {}
    continued: dict[str, int] = {}
    for entry in entries:
        event = entry.event
        if event.kind is AuditKind.CHAIN_STARTED:
            continued.update((head.chain, entry.at_ms) for head in event.heads)
        before = shown.pop(event.stream, None) if event.stream and _ends(event) else None
        if before is not None:
            how = event.outcome if event.kind in ENDS else "changed"
            yield from _rows(before, entry.at_ms, how, district, since_ms, until_ms)
        if event.kind not in _SHOWN or (event.kind is AuditKind.WEBHOOK_SENT and not event.report):
            continue
        address = event.address or (before.address if before else "")
        if event.stream:
            shown[event.stream] = _Open(entry, address)
        else:
            yield from _rows(_Open(entry, address), entry.at_ms, "answered", district, since_ms, until_ms)
    for left in shown.values():
        ended = continued.get(left.entry.chain)
        sender = "worker" if left.entry.event.kind is AuditKind.WEBHOOK_SENT else "gateway"
        how = "" if ended is None else f"the {sender} ended"
        yield from _rows(left, ended, how, district, since_ms, until_ms)


def _ends(event: AuditEvent) -> bool:
    return event.kind in ENDS or event.kind is AuditKind.STREAM_CHANGED


def _rows(
    shown: _Open,
    ended_ms: int | None,
    how: str,
    district: OrganizationId | None,
    since_ms: int,
    until_ms: int | None,
) -> Iterator[tuple[int, Disclosure]]:
    entry, event = shown.entry, shown.entry.event
    if (ended_ms is not None and ended_ms < since_ms) or (until_ms is not None and entry.at_ms >= until_ms):
        return
    for at, topic in enumerate(event.organizations):
        organization = organization_of(topic)
        if organization is None or (district is not None and not concerns(topic, district, Reach.ALL)):
            continue
        yield (
            entry.at_ms,
            Disclosure(
                begun=rfc3339(entry.at_ms),
                ended="" if ended_ms is None else rfc3339(ended_ms),
                how_it_ended=how,
                subject=event.subject,
                issuer=event.issuer,
                token_id=event.token_id,
                address=shown.address,
                topic=topic,
                level=level_of(organization).value,
                visibility=event.classes[at] if at < len(event.classes) else "".join(event.classes[:1]),
                report=event.report,
                way=_SHOWN[event.kind],
                said=event.detail if event.kind is AuditKind.WEBHOOK_SENT else "",
                tests=" ".join(event.tests),
                grades=" ".join(event.grades),
                years=" ".join(map(str, event.years)),
                entry=f"{entry.chain}:{entry.number}",
            ),
        )


def _values(row: Disclosure) -> list[str]:
    return [getattr(row, name) for name in Disclosure.__struct_fields__]
