"""How a receiver answers."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Final

_SHARES: Final = 1000

SLOW_SECONDS: Final = 2.5  # within the time limit of an attempt


class Conduct(Enum):
    """What becomes of a request; the value is what reports call it."""

    LIVE = "live"
    REFUSING = "dead, refuses connections"
    FAILING = "dead, answers 500"
    SILENT = "dead, never answers"
    SLOW = f"slow, answers after {SLOW_SECONDS:g} s"
    FLAPPING = "flapping"

    @property
    def dead(self) -> bool:
        """Whether nothing ever gets through."""
        return self in (Conduct.REFUSING, Conduct.FAILING, Conduct.SILENT)


# Of a thousand. 10% are dead, 5% slow, 5% flapping.
_MIXTURE: Final = (
    (Conduct.REFUSING, 40),
    (Conduct.FAILING, 30),
    (Conduct.SILENT, 30),
    (Conduct.SLOW, 50),
    (Conduct.FLAPPING, 50),
)


def mixture(endpoints: int, rng: Random) -> Iterator[Conduct]:
    """The conduct of so many endpoints, in random order; of each kind one at least where there are 20."""
    drawn: list[Conduct] = []
    for conduct, share in _MIXTURE:
        drawn += [conduct] * max(endpoints >= 20, round(endpoints * share / _SHARES))
    drawn += [Conduct.LIVE] * (endpoints - len(drawn))
    rng.shuffle(drawn)
    yield from drawn[:endpoints]
