"""When a message is tried again, and what an answer means. Pure: time and jitter come as arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

_HOUR: Final = 3_600.0

# The schedule of the Standard Webhooks specification: seconds before each attempt, counted from the one before it. In all
# 75 hours and 35 minutes, so that a weekend's outage is bridged.
SCHEDULE_SECONDS: Final[tuple[float, ...]] = (
    0.0,
    5.0,
    300.0,
    1_800.0,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
ATTEMPTS: Final = len(SCHEDULE_SECONDS)
ATTEMPT_SECONDS: Final = 15.0  # one attempt with all that belongs to it; the specification's upper value
DISABLE_AFTER_SECONDS: Final = 120 * _HOUR  # of nothing but failures
LONGEST_RETRY_AFTER_SECONDS: Final = 24 * _HOUR  # a receiver that asks for more would fall silent for ever

# Only ever later: what failed together (a receiver's restart) must not come back together, and never before its time.
_JITTER: Final = 0.2

_WHOLE_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_LONGEST_HEADER: Final = 100  # no HTTP date is longer; date parsing is not for whatever somebody sends


class Verdict(StrEnum):
    """What an answer means for the message, from good to bad."""

    DELIVERED = "delivered"  # any 2xx
    THROTTLED = "throttled"  # 429, 502, 504: the receiver has too much to do; tried again, and less often
    FAILED = "failed"  # no answer, or any other; a redirect too, for nobody has judged where it leads
    GONE = "gone"  # 410: it wants nothing any more


def verdict(status: int | None) -> Verdict:
    """What a status means; None is no answer."""
    if status is None:
        return Verdict.FAILED
    if 200 <= status <= 299:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    return Verdict.THROTTLED if status in {429, 502, 504} else Verdict.FAILED


def delay_after(attempted: int, jitter: float, schedule: Sequence[float] = SCHEDULE_SECONDS) -> float | None:
    """Seconds until the next attempt when so many have been made; None: it is given up.

    Args:
        jitter: from 0 up to 1, at random; puts the attempt off by up to a fifth of the time.
    """
    if attempted >= len(schedule):
        return None
    return schedule[attempted] * (1 + _JITTER * jitter)


def next_attempt_ms(
    attempted: int,
    now_ms: int,
    jitter: float,
    retry_after_s: float | None = None,
    schedule: Sequence[float] = SCHEDULE_SECONDS,
) -> int | None:
    """When the next attempt is due: by the schedule, and not before the receiver has asked for it; None: given up."""
    delay = delay_after(attempted, jitter, schedule)
    if delay is None:
        return None
    return now_ms + int(1000 * max(delay, retry_after_s or 0.0))


def retry_after_seconds(header: str | None, *, now: float) -> float | None:
    """What ``Retry-After`` asks for, seconds or an HTTP date, at most a day; None when it is not there, or is neither.

    Args:
        now: seconds since 1970.
    """
    text = (header or "").strip()
    if not text or len(text) > _LONGEST_HEADER:
        return None
    if _WHOLE_SECONDS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    # Dates that are none, and those whose numbers no calendar has, fail in several ways.
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # An HTTP date is in GMT, whatever it says; without a zone it is read as having none.
    seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
