"""What goes wrong in a schedule, and how often; every schedule has a mixture of its own."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

# Class of fault -> how often, in relation to the others, where a schedule has it at all.
HAPPENINGS: Final = {
    "rebalance": 4,
    "kill -9": 3,
    "SIGTERM": 2,
    "stopped for a while": 4,  # and woken up as a zombie
    "store rolled back": 2,
    "store wiped": 1,
    "batch lost on its way": 2,
    "batch delivered twice": 3,
    "read again from before": 3,
    "retention": 1,
    "topic created anew": 0.3,
}
# Class of fault -> share of the calls that it befalls.
ON_CALLS: Final = {
    "request lost": 0.04,
    "answer lost": 0.04,
    "sent twice": 0.06,  # the client's own retry after a lost answer
    "slow": 0.15,
    "late request of a dead worker": 0.6,  # of the requests that are under way when their sender is killed
}
ON_REJECTING: Final = {"rejecting failed": 0.15, "rejecting failed after all": 0.15}
# Told, not chosen.
SEEN: Final = ("zombie", "parked and retried", "worker gave up", "operator started over")

CLASSES: Final = (*HAPPENINGS, *ON_CALLS, *ON_REJECTING, *SEEN)


class Faults:
    """One schedule's mixture, and the count of what happened."""

    def __init__(self, rng: Random) -> None:
        self.counts: Counter[str] = Counter()
        self.off = False
        self._rng = rng
        # Some schedules have a few kinds of faults many times, some all, some none.
        share = rng.choice((0.0, 0.3, 0.5, 1.0))
        self._happenings = {name: weight for name, weight in HAPPENINGS.items() if rng.random() < share}
        factor = rng.choice((0.3, 1.0, 2.0))
        rates = ON_CALLS | ON_REJECTING
        self._rates = {name: min(0.9, rate * factor) for name, rate in rates.items() if rng.random() < share}
        self.rate = rng.choice((0.01, 0.03, 0.08)) if self._happenings else 0.0

    def next(self) -> str:
        """What happens now."""
        [name] = self._rng.choices(list(self._happenings), list(self._happenings.values()))
        return name

    def befalls(self, name: str) -> bool:
        """Whether this fault befalls the call that is being made; counted if so."""
        rate = self._rates.get(name)
        if rate is None or self.off or self._rng.random() >= rate:
            return False
        self.counts[name] += 1
        return True
