"""The results topic as a value: partitions of records whose offsets have gaps, retention, and an identity."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import Final

from simulation.history import Event, Fact

_offset = attrgetter("offset")
_GAPS: Final = (
    0.15  # share of records before which offsets are missing, as after compaction or a transaction's end
)


class OffsetOutOfRange(Exception):
    """A fetch asked for what the log no longer has, or does not have yet."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A consumed record, and what it truly says."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int
    fact: Fact


@dataclass(slots=True)
class PartitionLog:
    """One partition: all records ever appended, and from which offset on they are still there."""

    records: list[LogRecord] = field(default_factory=list)
    start: int = 0
    end: int = 0  # the next offset


class FakeLog:
    """A topic; ``identity`` changes when it is deleted and created again."""

    def __init__(self, partitions: int, rng: Random, identity: str) -> None:
        self.partitions = [PartitionLog() for _ in range(partitions)]
        self.identity = identity
        self._rng = rng

    def append(self, event: Event, now_ms: int) -> LogRecord:
        """Produce one event."""
        partition = self.partitions[event.partition]
        if self._rng.random() < _GAPS:
            partition.end += self._rng.randint(1, 3)
        record = LogRecord(event.key, event.value, partition.end, now_ms, event.fact)
        partition.records.append(record)
        partition.end += 1
        return record

    def fetch(self, number: int, offset: int, most: int) -> Sequence[LogRecord]:
        """Up to ``most`` records from ``offset`` on.

        Raises:
            OffsetOutOfRange: retention has taken them, or the offset was never reached.
        """
        partition = self.partitions[number]
        if not partition.start <= offset <= partition.end:
            raise OffsetOutOfRange(
                f"partition {number} has offsets {partition.start} to {partition.end}, not {offset}"
            )
        first = bisect_left(partition.records, offset, key=_offset)
        return partition.records[first : first + most]

    def prefix(self, number: int, base: int, position: int) -> Sequence[LogRecord]:
        """The records from ``base`` up to ``position``, retention or not."""
        records = self.partitions[number].records
        first, end = (bisect_left(records, offset, key=_offset) for offset in (base, position))
        return records[first:end]

    def last(self, number: int) -> int:
        """The offset after the last record: where a reader ends up."""
        partition = self.partitions[number]
        return partition.records[-1].offset + 1 if partition.records else 0

    def retain_from(self, number: int, offset: int) -> None:
        """Delete everything before ``offset``."""
        partition = self.partitions[number]
        partition.start = max(partition.start, min(offset, partition.end))
