"""A record on its way to Kafka, and whoever brings it there; each process has a client of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """One record to produce; records of the same topic and key stay in order."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class EventPublisher(Protocol):
    """What whoever has records to produce needs of Kafka."""

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Return when every record is acknowledged.

        Raises:
            DependencyUnavailable: at least one is not, within the time budget.
        """
