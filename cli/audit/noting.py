"""Notes what an operator does at the command line, past every gateway: a chain of its own, straight into Kafka.

Guarantee: *noted first.* ``noted_by_operator`` returns when Kafka has it; what it is about is done after that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.audit import NO_HASH, AuditEvent, AuditKind, entry_bytes
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.topics import AUDIT


async def noted_by_operator(publisher: EventPublisher, events: Sequence[AuditEvent]) -> None:
    """Return when Kafka has these events.

    Raises:
        DependencyUnavailable: it has not, within the publisher's budget; do nothing then.
    """
    chain = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-operator-{secrets.token_urlsafe(9)}"
    whole = [AuditEvent(kind=AuditKind.CHAIN_STARTED), *events, AuditEvent(kind=AuditKind.CHAIN_ENDED)]
    records, digest, now_ms = [], NO_HASH, time.time_ns() // 1_000_000
    for number, event in enumerate(whole, 1):
        line, digest = entry_bytes(chain, number, now_ms, event, digest)
        records.append(OutgoingRecord(AUDIT, chain.encode(), line))
    await publisher.publish(records)
