"""One canary's journey and what several of them say: which stage took how long, which one lost it; pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.operations import Verdict

# The service's objective: so long from the import to a screen.
LATE_SECONDS: Final = 2.0
_IN_A_ROW: Final = 2  # one late or lost canary is an accident


class Stage(StrEnum):
    """The stages of a journey, and all of it.

    Attributes:
        IMPORT: from the request to the gateway's word that Kafka has it.
        STREAMS: from there to its time of change in Redis; 0 when the worker was faster than the gateway's answer.
        PUSH: from the change to the frame on a stream.
        WEBHOOK: from the change to a delivery; beside the push, so no part of ``TOTAL``.
        TOTAL: from the request to the frame.
    """

    IMPORT = "import"
    STREAMS = "streams"
    PUSH = "push"
    WEBHOOK = "webhook"
    TOTAL = "total"


CAN_LOSE: Final = (Stage.IMPORT, Stage.STREAMS, Stage.PUSH, Stage.WEBHOOK)


@dataclass(slots=True)
class Journey:
    """When one canary passed what; all times are seconds of one monotonic clock."""

    score: int
    sent: float
    accepted: float | None = None
    applied: float | None = None
    pushed: float | None = None

    @property
    def arrived(self) -> bool:
        """Whether a screen has it, and everything before that is known."""
        return None not in (self.accepted, self.applied, self.pushed)

    def latencies(self) -> dict[Stage, float]:
        """The seconds that each stage took, of those that are known."""
        found: dict[Stage, float] = {}
        if self.accepted is not None:
            found[Stage.IMPORT] = max(0.0, self.accepted - self.sent)
        if self.accepted is not None and self.applied is not None:
            found[Stage.STREAMS] = max(0.0, self.applied - self.accepted)
        if self.applied is not None and self.pushed is not None:
            found[Stage.PUSH] = max(0.0, self.pushed - self.applied)
        if self.pushed is not None:
            found[Stage.TOTAL] = max(0.0, self.pushed - self.sent)
        return found

    def lost_at(self) -> Stage | None:
        """The first stage that it did not leave; None when it has arrived.

        A canary that was seen on a stream got through everything before, whatever could not be looked at.
        """
        if self.pushed is not None:
            return None
        if self.accepted is None:
            return Stage.IMPORT
        return Stage.STREAMS if self.applied is None else Stage.PUSH


@dataclass(slots=True)
class Deliveries:
    """The canaries of which a webhook is still to tell. A message has the latest of everything, so it answers for earlier ones."""

    _waiting: dict[int, float] = field(default_factory=dict)  # when it was applied, by score; oldest first
    _unexpected: tuple[int, float] | None = None  # the latest score that nobody waited for, and when it came

    def expect(self, score: int, *, sent: float, applied: float) -> float | None:
        """A webhook is to tell of this score. How long it took, when it was faster than the look at the tables."""
        self._waiting.pop(score, None)
        self._waiting[score] = applied
        if self._unexpected is not None:
            told, came = self._unexpected
            # What came before this canary was sent told of an earlier one with the same score.
            if told == score and came >= sent:
                return self.delivered(score, came)
        return None

    def delivered(self, score: int, now: float) -> float | None:
        """How long it took to tell of this score; None when nobody waits for it."""
        if score not in self._waiting:
            self._unexpected = score, now
            return None
        for earlier in list(self._waiting):
            applied = self._waiting.pop(earlier)
            if earlier == score:
                return max(0.0, now - applied)
        return None

    def overdue(self, now: float, seconds: float) -> int:
        """How many have waited for so long; they are given up."""
        late = [score for score, applied in self._waiting.items() if now - applied > seconds]
        for score in late:
            del self._waiting[score]
        return len(late)


@dataclass(slots=True)
class Record:
    """What the last canaries came to."""

    _fates: deque[Verdict] = field(default_factory=lambda: deque(maxlen=_IN_A_ROW))
    lost: int = 0  # since it started

    def note(self, journey: Journey) -> None:
        """One more has arrived, or is lost."""
        if journey.lost_at() is not None:
            self.lost += 1
            self._fates.append(Verdict.STOP)
        elif journey.latencies()[Stage.TOTAL] > LATE_SECONDS:
            self._fates.append(Verdict.WARN)
        else:
            self._fates.append(Verdict.OK)

    @property
    def verdict(self) -> Verdict:
        """Stop: all of the last were lost; warn: all were lost or late; incomplete before the first."""
        if not self._fates:
            return Verdict.INCOMPLETE
        if len(self._fates) < _IN_A_ROW or Verdict.OK in self._fates:
            return Verdict.OK if Verdict.OK in self._fates else Verdict.INCOMPLETE
        return Verdict.WARN if Verdict.WARN in self._fates else Verdict.STOP
