"""What is done while clients watch, and in which order: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final


class Kind(Enum):
    """A fault; the value is what reports call it."""

    GATEWAY_KILLED = "a gateway killed"
    GATEWAYS_KILLED = "both gateways killed at once"
    ROLLING_RESTART = "rolling restart of both gateways"
    REDIS_KILLED = "Redis killed and started again"
    REDIS_LOSES_TAIL = "Redis killed, tail of its file lost"
    REBUILD = "rebuild: another generation serves"
    CUT = "connections cut"
    STORM = "all connections cut, again and again"
    SILENCE = "connections silent for a moment"


# Streams may end without a word only because of these.
VIOLENT: Final = frozenset({Kind.GATEWAY_KILLED, Kind.GATEWAYS_KILLED, Kind.CUT, Kind.STORM})

_OVERLAPPING: Final = 0.3  # share that comes before everybody has got over the one before
_PAUSE_SECONDS: Final = (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as planned; each kind uses of it what it needs."""

    number: int
    kind: Kind
    node: int
    clients: tuple[int, ...]  # whose connections, at least one
    seconds: float  # how long it lasts, where it lasts
    share: float  # 0 to 1: how much of the tail
    waits: bool  # for all clients to be whole again from what was before
    pause_seconds: float  # before it, after that


def planned(seed: int, nodes: int, clients: int, kinds: Sequence[Kind] = tuple(Kind)) -> Iterator[Fault]:
    """Faults without end. Every kind comes once before any comes again."""
    rng = Random(f"watching {seed}")
    number, before = 0, None
    while True:
        deck = list(kinds)
        rng.shuffle(deck)
        for kind in deck:
            number += 1
            # Of a rolling restart nothing may be seen, so there is nothing else to be seen meanwhile.
            alone = Kind.ROLLING_RESTART in (kind, before)
            waits, before = rng.random() >= _OVERLAPPING or alone, kind
            yield Fault(
                number,
                kind,
                node=rng.randrange(nodes),
                clients=tuple(sorted(rng.sample(range(clients), rng.randint(1, clients)))),
                seconds=rng.uniform(0.3, 4),
                share=rng.random(),
                waits=waits,
                pause_seconds=rng.uniform(*_PAUSE_SECONDS),
            )
