"""How far other clocks are from the monitor's; pure.

Seconds of lag are this clock minus another one, the broker's. Where the two disagree, they are wrong by as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from consumers.lag.samples import Skew


class Reading(NamedTuple):
    """A time that the broker has set on a record, and between which times of ours it must have done so.

    ``not_before_ms`` is None where it is not known.
    """

    stamped_ms: int
    not_before_ms: int | None
    not_after_ms: int


def clock_of_redis(asked_ms: int, answered_ms: int, told_ms: int) -> Skew:
    """By its answer to "what time is it?", which it gave at some moment between question and answer."""
    middle = (asked_ms + answered_ms) / 2
    return Skew("redis", (told_ms - middle) / 1000, abs(answered_ms - asked_ms) / 2000)


def clock_of_records(topic: str, readings: Iterable[Reading]) -> Skew | None:
    """By the records of a topic whose times the broker sets: how far the worst is out of the time in which it was written.

    None without any record. A lower bound: within that time a clock may be wrong as well.
    """
    worst: float | None = None
    for reading in readings:
        ahead = reading.stamped_ms - reading.not_after_ms
        behind = 0 if reading.not_before_ms is None else reading.not_before_ms - reading.stamped_ms
        seconds = ahead / 1000 if ahead > 0 else -behind / 1000 if behind > 0 else 0.0
        if worst is None or abs(seconds) > abs(worst):
            worst = seconds
    return None if worst is None else Skew(f"records of {topic}", worst)
