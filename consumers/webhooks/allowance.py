"""How often one endpoint may be sent something: a token bucket, which fills more slowly while its receiver has too much to do."""

from __future__ import annotations

from math import ceil
from typing import Final

from schemas.webhooks.endpoints import Endpoint

# What a throttled endpoint never falls below, of its rate, and by how much each success brings it back: from the bottom to
# its full rate within some 70 deliveries.
_SLOWEST: Final = 1 / 32
_RECOVERY: Final = 1.05
_NEARLY: Final = 1e-6  # of a token: sums of floats fall short of whole numbers


class Allowance:
    """One endpoint's bucket: it holds what may be sent in a second, at least one. Not thread-safe."""

    __slots__ = ("_at_ms", "_share", "_tokens")

    def __init__(self, rate: float, now_ms: int) -> None:
        self._share = 1.0
        self._tokens = max(1.0, rate)
        self._at_ms = now_ms

    def available(self, rate: float, now_ms: int) -> int:
        """How many deliveries may begin now, at ``rate`` a second."""
        speed = rate * self._share
        passed_ms = max(0, now_ms - self._at_ms)
        self._tokens = min(max(1.0, speed), self._tokens + speed * passed_ms / 1000)
        self._at_ms = now_ms
        return max(0, int(self._tokens + _NEARLY))

    def take(self) -> None:
        """One begins."""
        self._tokens -= 1

    def next_ms(self, rate: float, now_ms: int) -> int:
        """When the next one may begin."""
        # Half of what a token may fall short of: ``available`` finds it then for certain, and a rounding costs no millisecond.
        missing = 1 - self._tokens - _NEARLY / 2
        return now_ms if missing <= 0 else now_ms + ceil(1000 * missing / (rate * self._share))

    def throttled(self) -> None:
        """The receiver says that it has too much to do: half as often."""
        self._share = max(_SLOWEST, self._share / 2)

    def delivered(self) -> None:
        """It took something: a little more often, up to its rate."""
        self._share = min(1.0, self._share * _RECOVERY)


class Allowances:
    """One for each endpoint that is sent something."""

    def __init__(self) -> None:
        self._of: dict[str, Allowance] = {}

    def of(self, endpoint: Endpoint, now_ms: int) -> Allowance:
        """An endpoint's."""
        allowance = self._of.get(endpoint.id)
        if allowance is None:
            allowance = self._of[endpoint.id] = Allowance(endpoint.rate, now_ms)
        return allowance

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more."""
        self._of.pop(endpoint, None)
