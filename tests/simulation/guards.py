"""The guards that exactness rests on, and the engine without each of them: the simulator must see the difference.

A check that never fails proves nothing, and neither does a simulator that no fault can disturb.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final
from unittest import mock

from schemas.closings import Closings
from simulation.store import EPOCH_GUARD, POSITION_GUARD
from streams import engine, rows, scoring
from streams.closings import KnownClosings
from streams.engine import Decision
from streams.partitions import Batch, OwnedPartition
from streams.rows import Row
from streams.scoring import Outcome

# Each guard, and how many schedules may pass until a mismatch shows that it is missing. (Measured on average: a twentieth.)
GUARDS: Final[Mapping[str, int]] = MappingProxyType(
    {"version": 20, "tombstone": 50, "epoch": 300, "position": 300, "chain": 500}
)


@contextmanager
def removed(guard: str | None) -> Iterator[Collection[str]]:
    """While inside, the engine works without ``guard``; yields what the store has to leave out for that."""
    if guard is None:
        yield ()
        return
    if guard in (EPOCH_GUARD, POSITION_GUARD):
        yield (guard,)
        return
    target, name, replacement = {
        "version": (engine, "supersede", _latest_arrival_wins),
        "tombstone": (engine, "supersede", _forget_what_is_reset),
        "chain": (OwnedPartition, "apply", _wherever_it_starts),
        "closing": (KnownClosings, "up_to", _as_far_as_known),
    }[guard]
    with mock.patch.object(target, name, replacement):
        yield ()


def _latest_arrival_wins(stored: Row, event: Row) -> tuple[Outcome, Row]:
    others = b"".join(
        stored[start:end] for start, end in rows.exams(stored) if not _same_exam(stored, start, event)
    )
    return Outcome.APPLIED, others + event


def _forget_what_is_reset(stored: Row, event: Row) -> tuple[Outcome, Row]:
    live = b"".join(stored[start:end] for start, end in rows.exams(stored) if stored[start] == rows.LIVE)
    return scoring.supersede(live, event)


def _same_exam(row: Row, start: int, event: Row) -> bool:
    end = 1 + rows.EXAM_BYTES
    return row[start + 1 : start + end] == event[1:end]


async def _as_far_as_known(closings: KnownClosings, record_ms: int) -> Closings:
    return closings.now


_apply = OwnedPartition.apply


async def _wherever_it_starts(owned: OwnedPartition, batch: Batch) -> Decision | None:
    return await _apply(
        owned, Batch(batch.topic, batch.partition, min(batch.start, owned.position), batch.records)
    )
