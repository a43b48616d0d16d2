"""What is done while webhooks are delivered, and in which order: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final


class Kind(Enum):
    """A fault; the value is what reports call it."""

    WORKER_KILLED = "the worker that delivers killed"
    WORKERS_KILLED = "both workers killed at once"
    WORKER_FROZEN = "the worker that delivers stopped beyond its lease"
    REDIS_KILLED = "Redis killed and started again"
    REDIS_LOSES_TAIL = "Redis killed, tail of its file lost"
    KAFKA_DOWN = "Kafka down"
    RELAY_KILLED = "the relay killed"


_PAUSE_SECONDS: Final = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as planned; each kind uses of it what it needs."""

    number: int
    kind: Kind
    seconds: float  # how long it lasts, where it lasts
    share: float  # 0 to 1: how much of the tail
    pause_seconds: float  # before it


def planned(seed: int, kinds: Sequence[Kind] = tuple(Kind)) -> Iterator[Fault]:
    """Faults without end. Every kind comes once before any comes again."""
    rng = Random(f"webhooks {seed}")
    number = 0
    while True:
        deck = list(kinds)
        rng.shuffle(deck)
        for kind in deck:
            number += 1
            yield Fault(
                number,
                kind,
                seconds=rng.uniform(0.3, 3.0),
                share=rng.random(),
                pause_seconds=rng.uniform(*_PAUSE_SECONDS),
            )
