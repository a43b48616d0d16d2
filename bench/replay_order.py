"""In which order a season's exams come.

*windows*: each district tests in weeks of its own, a tenth of the season, so that what an event meets does not depend on
how many results came before. *mixed*: all schools test all the time, nothing is anywhere near what came just before, and
all cells fill up together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from math import gcd
from typing import Final, Literal

from bench.replay_season import MIXER, SCHOOLS_A_DISTRICT, draw

Order = Literal["windows", "mixed"]
ORDERS: Final[tuple[Order, ...]] = ("windows", "mixed")

DAYS: Final = 100
_WINDOW_DAYS: Final = 10
_RESCORE_DAYS: Final = 5  # with windows: half of those rescored are of schools that test no longer
_RESCORE_AFTER: Final = 50_000  # mixed: results; some minutes of a busy day
_SLOTS_A_DAY: Final = 8  # hours of school
_GOLDEN: Final = 0.618034  # its multiples are spread evenly
_64_BITS: Final = 2**64 - 1


def in_order(order: Order, results: int, schools: int, first: int, step: int) -> Iterator[int]:
    """The numbers of the exams of a producer that takes every ``step``-th place from ``first``."""
    if order == "windows":
        return _by_windows(results, schools, first, step)
    return _mixed(results, first, step)


def rescored_after(order: Order, results: int, step: int) -> int:
    """How many places later an exam is rescored; a multiple of ``step``."""
    after = results * _RESCORE_DAYS // DAYS if order == "windows" else _RESCORE_AFTER
    return after // step * step


def _mixed(results: int, first: int, step: int) -> Iterator[int]:
    """Neighbours far apart."""
    stride = _stride(results)
    return (place * stride % results for place in range(first, results, step))


def _by_windows(results: int, schools: int, first: int, step: int) -> Iterator[int]:
    """In the order of the days on which students take them."""
    districts = -(-schools // SCHOOLS_A_DISTRICT)
    # Spread evenly, so that nearly equally many test at any time.
    begins = [district * _GOLDEN % 1 * (DAYS - _WINDOW_DAYS) * _SLOTS_A_DAY for district in range(districts)]
    slots = [array("I") for _ in range(DAYS * _SLOTS_A_DAY + 1)]
    for number in range(first, results, step):
        district = draw(number, schools).school % districts
        day = (number * MIXER & _64_BITS) >> 40
        slots[int(begins[district]) + day % (_WINDOW_DAYS * _SLOTS_A_DAY)].append(number)
    return chain.from_iterable(slots)


def _stride(results: int) -> int:
    """Visits every exam once, neighbours far apart."""
    stride = max(1, int(results * _GOLDEN))
    while gcd(stride, results) != 1:
        stride += 1
    return stride
