"""How a reader of a partition does, from its last samples: rules like Burrow's, and some of ours. Pure.

The order is the contract; the first rule that holds is the verdict:

1.  records are lost, or the log is another one                            -> LOST
2.  several claims within the window                                       -> FENCED
3.  the tables are not complete, though all is read                        -> STALE
4.  nothing can wait, nothing does, or for no longer than is allowed       -> OK (REPLAYING while it catches up)
5.  too few samples (for what follows, and again for 11 to 13)             -> INCOMPLETE
6.  the position went back, and nobody said so                             -> REWIND
7.  nobody owns it, in every one of the last samples                       -> UNASSIGNED
8.  nothing was heard of it for too long                                   -> STOP
9.  the position did not move in half a window, and records waited         -> STALL
10. it catches up, as was announced                                        -> REPLAYING
11. nothing waited for too long in one of the samples of half a window     -> OK
12. the backlog shrinks                                                    -> OK
13. anything else                                                          -> WARN

Of the publisher, who reads no log, 1 and 2 hold as they stand, and then its silence alone: in each of the last samples -> STOP,
in the latest only -> INCOMPLETE, else -> OK. An outage of Redis makes it silent, too, for one sample after its end.

A topic in which nothing happens is thereby fine whatever its reader does, and so is a reader that gets through its backlog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consumers.lag.samples import PartitionSample
from schemas.operations import Verdict

# A sample with the monitor's time at which it was taken.
Reading = tuple[int, PartitionSample]

# Samples; a rebalance may leave a partition without an owner in one or two of them.
_RECENT: Final = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules compare with.

    Attributes:
        window_samples: how many samples a window holds.
        minimum_samples: with fewer nothing is said of a reader that is behind.
        allowed_seconds: a lag up to this is none.
        silent_seconds: after so long without a sign of life a reader has stopped.
        stale_seconds: tables may be complete up to so long ago while the log grows.
        fenced_claims: so many claims of a partition in one window are a fight.
    """

    window_samples: int = 12
    minimum_samples: int = 3
    allowed_seconds: float = 5.0
    silent_seconds: float = 20.0
    stale_seconds: float = 60.0
    fenced_claims: int = 3

    @property
    def stall_samples(self) -> int:
        """In how many samples in a row a position has to be the same."""
        return max(self.minimum_samples, self.window_samples // 2)


def judge(
    window: Sequence[Reading], rules: Rules, *, deserted: bool = False, endless: bool = False
) -> Verdict:
    """The verdict on a window of samples of one partition, the oldest first.

    Args:
        deserted: the group has no members at all; that it owns no partition is then no news.
        endless: what it reads is no log, and has no end that it could be behind; what tells of it are signs of life.
    """
    if not window:
        return Verdict.INCOMPLETE
    _, now = window[-1]
    if now.lost_records or now.log_replaced:
        return Verdict.LOST
    if _claims(window) >= rules.fenced_claims:
        return Verdict.FENCED
    if endless:
        return _alive(window, rules)
    if now.lag_records is None and now.lag_seconds is None:
        return Verdict.INCOMPLETE
    if _waits(now, rules):
        return _behind(window, rules, deserted=deserted)
    if _stale(window, rules):
        return Verdict.STALE
    if now.catch_up is not None and now.lag_records:
        return Verdict.REPLAYING
    return Verdict.OK


def _alive(window: Sequence[Reading], rules: Rules) -> Verdict:
    silent = [_silent(window, rules, at_ms, one.heard_ms) for at_ms, one in window[-_RECENT:]]
    if not silent[-1]:
        return Verdict.OK
    return Verdict.STOP if all(silent) and len(window) >= rules.minimum_samples else Verdict.INCOMPLETE


def _behind(window: Sequence[Reading], rules: Rules, *, deserted: bool) -> Verdict:
    at_ms, now = window[-1]
    if len(window) < rules.minimum_samples:
        return Verdict.INCOMPLETE
    if now.catch_up is None and _went_back(window):
        return Verdict.REWIND
    if not deserted and all(one.owner_known and not one.owner for _, one in window[-_RECENT:]):
        return Verdict.UNASSIGNED
    if _silent(window, rules, at_ms, now.heard_ms):
        return Verdict.STOP
    if _stands_still(window[-rules.stall_samples :], rules):
        return Verdict.STALL
    if now.catch_up is not None:
        return Verdict.REPLAYING
    if len(window) < rules.stall_samples:
        return Verdict.INCOMPLETE
    waited = _waited(window, rules)
    return Verdict.OK if len(waited) < rules.stall_samples or _shrinks(waited) else Verdict.WARN


def _waited(window: Sequence[Reading], rules: Rules) -> Sequence[Reading]:
    """The last samples, in which records waited without interruption: what was before a burst says nothing of how it is read."""
    for number in range(len(window), 0, -1):
        if not _waits(window[number - 1][1], rules):
            return window[number:]
    return window


def _waits(sample: PartitionSample, rules: Rules) -> bool:
    """Whether a record waits for longer than is allowed; of one whose age is not known that is taken for granted."""
    if sample.lag_seconds is not None:
        return sample.lag_seconds > rules.allowed_seconds
    return bool(sample.lag_records)


def _claims(window: Sequence[Reading]) -> int:
    last = window[0][1].epoch
    if last == window[-1][1].epoch:
        return 0  # an epoch only grows, so there was none in between
    count = 0
    for _, sample in window:
        if sample.epoch is not None:
            count += last is not None and sample.epoch != last
            last = sample.epoch
    return count


def _stale(window: Sequence[Reading], rules: Rules) -> bool:
    """All seems to be read, yet the tables are not what they should be."""
    at_ms, now = window[-1]
    if len(window) < rules.stall_samples:
        return False
    if now.catch_up is not None and all(
        one.catch_up is not None and not one.lag_records for _, one in window
    ):
        return True
    if now.complete_ms is None or at_ms - now.complete_ms <= rules.stale_seconds * 1000:
        return False
    ends = [one.end for _, one in window if one.end is not None]
    return bool(ends) and ends[-1] > ends[0]


def _went_back(window: Sequence[Reading]) -> bool:
    highest = -1
    for _, sample in window:
        if sample.position is not None:
            if sample.position < highest:
                return True
            highest = sample.position
    return False


def _silent(window: Sequence[Reading], rules: Rules, at_ms: int, heard_ms: int | None) -> bool:
    # Of a reader that was never heard of nothing is known but that we have been listening since the window began.
    since = window[0][0] if heard_ms is None else heard_ms
    return at_ms - since >= rules.silent_seconds * 1000


def _stands_still(window: Sequence[Reading], rules: Rules) -> bool:
    position = window[-1][1].position
    if len(window) < rules.stall_samples:
        return False
    return all(one.position == position and one.lag_records != 0 for _, one in window)


def _shrinks(window: Sequence[Reading]) -> bool:
    """Whether there was less to read, in records or in seconds, in the later half of the window than in the earlier one.

    One of the two is enough: a burst that is being read grows older until it is through, and a reader that comes forward
    among new records has as many of them before it.
    """
    records = [one.lag_records for _, one in window if one.lag_records is not None]
    seconds = [one.lag_seconds for _, one in window if one.lag_seconds is not None]
    return _falls(records) or _falls(seconds)


def _falls(figures: Sequence[float]) -> bool:
    half = len(figures) // 2
    return half > 0 and sum(figures[-half:]) < sum(figures[:half])
