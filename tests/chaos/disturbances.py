"""What is done to the processes, and in which order: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final


class Kind(Enum):
    """A disturbance; the value is what reports call it."""

    KILL = "worker killed"
    KILL_ALL = "all workers killed at once"
    DIE_BEFORE_SCRIPT = "worker dies before the script"
    DIE_AFTER_SCRIPT = "worker dies after the script"
    DIE_AFTER_REJECTED = "worker dies after the rejected topic"
    DIE_AFTER_CLAIM = "worker dies after the claim"
    NAP = "worker stopped for a moment"
    SLEEP = "worker stopped beyond its session"
    LEAVE = "worker leaves and comes back"
    JOIN = "another worker joins and leaves"
    REDIS_KILL = "Redis killed"
    REDIS_LOSES_TAIL = "Redis killed, tail of the log lost"
    REDIS_CUT = "connections to Redis cut"
    REDIS_ANSWER_LOST = "answer of Redis lost"
    REDIS_SILENT = "Redis silent for one worker"
    KAFKA_CUT = "connections to Kafka cut"
    KAFKA_SILENT = "Kafka silent for one worker beyond its session"
    KAFKA_RESTART = "Kafka killed and restarted"
    KAFKA_ERRORS = "errors injected into Kafka"
    KAFKA_DOWN = "Kafka down"


FAIL_POINTS: Final = {
    Kind.DIE_BEFORE_SCRIPT: "before the script",
    Kind.DIE_AFTER_SCRIPT: "after the script",
    Kind.DIE_AFTER_REJECTED: "after the rejected topic",
    Kind.DIE_AFTER_CLAIM: "after the claim",
}
# Nothing can settle before these are over.
OUTAGES: Final = frozenset(
    {Kind.REDIS_KILL, Kind.REDIS_LOSES_TAIL, Kind.KAFKA_RESTART, Kind.KAFKA_ERRORS, Kind.KAFKA_DOWN}
)
# Which of them a kind of broker can suffer: a proxy needs the addresses that only real Kafka can advertise.
ON_REAL_KAFKA_ONLY: Final = frozenset({Kind.KAFKA_CUT, Kind.KAFKA_SILENT, Kind.KAFKA_RESTART})
ON_EMBEDDED_KAFKA_ONLY: Final = frozenset({Kind.KAFKA_ERRORS, Kind.KAFKA_DOWN})

_OVERLAPPING: Final = 0.4  # share that comes before the system has settled from the one before
_STEADY_SECONDS: Final = (0.2, 1.5)  # pause before the next, when it has settled
_HASTY_SECONDS: Final = (0.2, 3.0)  # pause before the next, when it has not


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One disturbance as planned; each kind uses of it what it needs."""

    number: int
    kind: Kind
    worker: int
    seconds: float  # how long it lasts, where it lasts
    share: float  # 0 to 1: how much of something, such as of the log's tail
    waits: bool  # for the system to settle from what was before
    pause_seconds: float  # before it, after that


def planned(
    seed: int, workers: int, session_seconds: float, kinds: Sequence[Kind] = tuple(Kind)
) -> Iterator[Disturbance]:
    """Disturbances without end. Every kind comes once before any comes again."""
    rng = Random(f"chaos {seed}")
    number = 0
    while True:
        deck = list(kinds)
        rng.shuffle(deck)
        for kind in deck:
            number += 1
            waits = rng.random() >= _OVERLAPPING
            yield Disturbance(
                number,
                kind,
                worker=rng.randrange(workers),
                seconds=_seconds(kind, session_seconds, rng),
                share=rng.random(),
                waits=waits,
                pause_seconds=rng.uniform(*(_STEADY_SECONDS if waits else _HASTY_SECONDS)),
            )


def kinds_for(*, real_kafka: bool) -> list[Kind]:
    """What can be done with such a broker."""
    impossible = ON_EMBEDDED_KAFKA_ONLY if real_kafka else ON_REAL_KAFKA_ONLY
    return [kind for kind in Kind if kind not in impossible]


def _seconds(kind: Kind, session_seconds: float, rng: Random) -> float:
    match kind:
        case Kind.SLEEP | Kind.KAFKA_SILENT:
            return session_seconds + rng.uniform(1, 4)
        case Kind.NAP:
            return rng.uniform(0.3, 0.8) * session_seconds
        case Kind.JOIN:
            return rng.uniform(0.5, 1.5) * session_seconds + 3  # a process needs about two to start
        case _:
            return rng.uniform(0.2, 4)
