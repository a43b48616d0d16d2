"""The records of a replay's season, in their order."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.replay_order import DAYS, Order, in_order, rescored_after
from bench.replay_season import (
    CELLS_A_SCHOOL,
    SCHOOL_YEAR,
    Drawn,
    Templates,
    cell_number,
    draw,
    rescored,
    school_code,
)
from cli.simulator.outcomes import QUANTILES
from schemas.identifiers import StudentId
from schemas.pseudonyms import Pseudonymizer

_SEASON_MINUTES: Final = DAYS * 24 * 60
_SEASON_START: Final = datetime(SCHOOL_YEAR, 1, 15, tzinfo=UTC)
_FIRST_STUDENT: Final = 8_000_000_000
_FIRST_OPPORTUNITY: Final = 100_000


class Season:
    """The records of one producer of several, in order; ``counts`` holds what they amount to once all were taken."""

    def __init__(self, results: int, schools: int, seed: int, secret: bytes, order: Order) -> None:
        self._results, self._schools, self._order = results, schools, order
        self._student_key = Pseudonymizer(secret).student_key
        self._templates = Templates(seed)
        self._codes = [school_code(number, schools).encode() for number in range(schools)]
        self.counts = array("H", bytes(2 * schools * CELLS_A_SCHOOL * QUANTILES))

    def part(self, producer: int, producers: int) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each record of every ``producers``-th result, and of the rescores of these."""
        results, schools, counts = self._results, self._schools, self.counts
        again: dict[int, int] = {}  # place at which it is rescored -> number of the exam
        numbers = in_order(self._order, results, schools, producer, producers)
        after = rescored_after(self._order, results, producers)
        dates = _Dates(results)
        for place in range(producer, results + after, producers):
            date = dates.at(place)
            number = again.pop(place, None)
            if number is not None:
                drawn = draw(number, schools)
                yield self._record(number, date, 1, drawn, rescored(drawn.outcome))
            if place >= results:
                continue
            number = next(numbers)
            drawn = draw(number, schools)
            last = drawn.outcome
            if drawn.rescored:
                again[place + after] = number
                last = rescored(last)
            counts[cell_number(drawn.school, drawn.grade, number & 1) * QUANTILES + last] += 1
            yield self._record(number, date, 0, drawn, drawn.outcome)

    def _record(
        self, number: int, date: bytes, version: int, drawn: Drawn, outcome: int
    ) -> tuple[bytes, bytes]:
        student = str(_FIRST_STUDENT + (number >> 1))
        value = self._templates.of(drawn.school, drawn.grade, number & 1)[outcome] % (
            b"%d" % (_FIRST_OPPORTUNITY + number),
            date,
            number * 2 + version,
            student.encode(),
            self._codes[drawn.school],
            date,
        )
        return self._student_key(StudentId(student)).encode(), value


class _Dates:
    """The season's clock, in whole minutes: rescores within one differ from the original in their sequence only."""

    def __init__(self, results: int) -> None:
        self._results = results
        self._minute, self._text = -1, b""

    def at(self, place: int) -> bytes:
        minute = place * _SEASON_MINUTES // self._results
        if minute != self._minute:
            moment = _SEASON_START + timedelta(minutes=minute)
            self._minute, self._text = minute, moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        return self._text
