"""A verdict that does not come and go with every sample."""

from __future__ import annotations

from typing import Final

from schemas.operations import Verdict

_GOOD_SAMPLES: Final = 2


class Held:
    """What was found last; an alarm is left only after two good samples in a row.

    That nothing could be told (``INCOMPLETE``) is no good sample: an alarm outlives the outage of a source.
    """

    __slots__ = ("_good", "since_ms", "verdict")

    def __init__(self) -> None:
        self.verdict = Verdict.INCOMPLETE
        self.since_ms = 0  # of this verdict
        self._good = 0

    def take(self, found: Verdict, at_ms: int) -> Verdict:
        """What holds after this one."""
        if self.verdict.alarming and not found.alarming:
            self._good = self._good + 1 if found is not Verdict.INCOMPLETE else 0
            if self._good < _GOOD_SAMPLES:
                return self.verdict
        self._good = 0
        if found is not self.verdict or not self.since_ms:
            self.verdict = found
            self.since_ms = at_ms
        return found
