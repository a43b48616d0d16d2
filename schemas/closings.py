"""When a test of a school year was closed: results that Kafka took down in such a time are parked, not applied.

A closing or reopening is a record of the closings topic (``schemas.events.ClosingEntry``), and the topic is the whole truth:
``Closings`` is a fold over its records in their order, and asks no clock. It answers for a *record's time* (the broker's, in
milliseconds), so a replay, a rebuild and a worker that hears of it late decide alike.

That rests on one rule: a change takes effect ``LEAD_MS`` after the time that Kafka gave its record, never earlier. Whoever
has read the topic to its end may therefore decide all results of the ``LEAD_MS`` that follow (``streams.closings``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.aggregates import CellField, cell_field, cell_name
from schemas.assessments import Registry
from schemas.errors import InvalidInput, UnknownAssessment
from schemas.events import ClosingEntry, from_microseconds, microseconds
from schemas.identifiers import GRADES

# The workers look once a second, so ten seconds are an ample head start, and short for somebody who waits for a reopening.
LEAD_MS: Final = 10_000
# By how much the clocks of two brokers may differ, or one broker's clock go back. Clocks that are kept in step differ by a few
# milliseconds.
TOLERANCE_MS: Final = 2_000

_NONE: Final[Mapping[CellField, tuple[int, ...]]] = MappingProxyType({})


class ClosedTest(NamedTuple):
    """What can be closed: one test of one school year, in all its grades."""

    school_year: int
    test: str

    def __str__(self) -> str:
        return f"{self.school_year}/{self.test}"

    @property
    def field(self) -> CellField:
        """By which a result's test is looked up: the name of its cell in the first of all grades."""
        return cell_field(self.school_year, self.test, GRADES[0])


class Change(NamedTuple):
    """One record of the closings topic."""

    entry: ClosingEntry
    recorded_ms: int  # the time that Kafka gave it

    @property
    def about(self) -> ClosedTest:
        """What it closes or reopens."""
        return ClosedTest(self.entry.school_year, self.entry.test)

    @property
    def effective_ms(self) -> int:
        """From which record time on it holds."""
        earliest = self.recorded_ms + LEAD_MS
        return earliest if self.entry.at is None else max(earliest, microseconds(self.entry.at) // 1000)


class Interval(NamedTuple):
    """Closed from the first moment on, up to but without the second; for good when that is None."""

    closed_ms: int
    reopened_ms: int | None


class Closings:
    """All closings up to some record of the topic. It is falsy while there never was any."""

    __slots__ = ("_moments",)

    def __init__(self, moments: Mapping[CellField, tuple[int, ...]] = _NONE) -> None:
        """``moments`` of each test: closed, reopened, closed ... in record time, growing."""
        self._moments = moments

    def __bool__(self) -> bool:
        return bool(self._moments)

    @property
    def fields(self) -> Collection[CellField]:
        """``ClosedTest.field`` of all tests that were closed at some time; cheap to look into."""
        return self._moments.keys()

    def __iter__(self) -> Iterator[tuple[ClosedTest, tuple[Interval, ...]]]:
        for field in self._moments:
            year, test, _ = cell_name(field)
            about = ClosedTest(year, test)
            yield about, self.intervals(about)

    def after(self, change: Change) -> Closings:
        """With one more record of the topic.

        From its moment on the test is closed, or open, whatever was announced before for later. Before that moment nothing
        changes, since results of that time may have been decided already.
        """
        field, moment = change.about.field, change.effective_ms
        earlier = tuple(known for known in self._moments.get(field, ()) if known < moment)
        closed = len(earlier) % 2 == 1
        moments = earlier if closed == (change.entry.change == "closed") else (*earlier, moment)
        others = {name: known for name, known in self._moments.items() if name != field}
        return Closings({**others, field: moments} if moments else others)

    def closed_since(self, field: CellField, record_ms: int) -> int | None:
        """Since when a test was closed at a record's time; None when it was open.

        Args:
            field: ``ClosedTest.field``, as a string; the first of ``streams.reading.Incoming.fields``.
            record_ms: what decides, the time that Kafka gave to the result's record.
        """
        moments = self._moments.get(field)
        if moments is None:
            return None
        passed = bisect_right(moments, record_ms)
        return moments[passed - 1] if passed % 2 else None

    def intervals(self, about: ClosedTest) -> tuple[Interval, ...]:
        """All times in which it was, is or will be closed, the earliest first."""
        moments = self._moments.get(about.field, ())
        ends: tuple[int | None, ...] = (*moments[1::2], None)
        return tuple(Interval(start, end) for start, end in zip(moments[::2], ends, strict=False))


def fold(changes: Iterable[Change], onto: Closings | None = None) -> Closings:
    """The closings after some records of the topic, in their order."""
    closings = Closings() if onto is None else onto
    for change in changes:
        closings = closings.after(change)
    return closings


def closable(school_year: int, test: str, registry: Registry) -> ClosedTest:
    """The test that is meant.

    Raises:
        InvalidInput: there is none such in that year.
    """
    code = test.strip().upper()
    for grade in GRADES:
        try:
            assessment = registry.at(school_year, code, grade)
        except UnknownAssessment:
            continue
        return ClosedTest(assessment.school_year, assessment.test)
    given = sorted({str(assessment.test) for assessment in registry.assessments(school_year)})
    raise InvalidInput(
        f"no test is called '{test[:40]}' in {school_year}; expected one such as {', '.join(given)}"
    )


class StoredClosing(Struct, frozen=True):
    """A test that was closed at some time, as workers write it down for gateways; nothing is decided by it."""

    school_year: int
    test: str
    closed: tuple[tuple[int, int | None], ...]  # as ``Interval``


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[StoredClosing]).decode


def encode_closings(closings: Closings) -> bytes:
    """All closings, for Redis."""
    stored = [StoredClosing(about.school_year, about.test, intervals) for about, intervals in closings]
    return _encode(stored)


def decode_closings(stored: bytes) -> list[StoredClosing]:
    """What ``encode_closings`` wrote.

    Raises:
        msgspec.MsgspecError: it is something else.
    """
    return _decode(stored)


def closed_detail(field: CellField, since_ms: int) -> str:
    """Why a result of a closed test is parked. It begins with the test; ``closed_test_in`` reads it back."""
    year, test, _ = cell_name(field)
    since = from_microseconds(since_ms * 1000).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{ClosedTest(year, test)} is closed since {since}; reopen it and retry"


def closed_test_in(detail: str) -> str | None:
    """The test that such a detail names, as ``2026/ELA-SUM``; None when it is another detail."""
    name, found, _ = detail.partition(" is closed since ")
    return name if found else None
