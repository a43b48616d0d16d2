"""What ``scores releases close``, ``reopen`` and ``closed`` make of what was typed and of what the log says."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from cli.releases.closing import Done, Standing, closing_time, standings
from schemas.assessments import load_registry
from schemas.closings import Change, ClosedTest, Interval, closable
from schemas.errors import InvalidInput
from schemas.events import ClosingEntry

NOW = datetime(2026, 8, 31, 12, tzinfo=UTC)
ELA = ClosedTest(2026, "ELA-SUM")


@pytest.mark.parametrize("test", ["ELA-SUM", " ela-sum ", "MATH-IAB-G", "ELA-IAB-READLIT", "CAST"])
def test_every_test_of_a_year_can_be_closed(test: str) -> None:
    assert closable(2026, test, load_registry()) == (2026, test.strip().upper())


@pytest.mark.parametrize(
    ("year", "test"),
    [(2026, "SPELLING"), (2026, ""), (2026, "ELPAC-INITIAL"), (2026, "STS-RLA"), (2026, "2026:ELA-SUM")],
)
def test_test_that_is_not_given_that_year_is_refused_with_those_that_are(year: int, test: str) -> None:
    with pytest.raises(InvalidInput, match="ELA-SUM"):
        closable(year, test, load_registry())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-01", datetime(2026, 9, 1, tzinfo=UTC)),
        ("2026-08-31T17:00-07:00", datetime(2026, 9, 1, tzinfo=UTC)),
        ("2026-09-01T00:00:00Z", datetime(2026, 9, 1, tzinfo=UTC)),
    ],
)
def test_moment_of_closing_is_read_with_its_zone_else_as_utc(text: str, moment: datetime) -> None:
    assert closing_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["2026-08-31", "tomorrow", "2026-13-01"])
def test_moment_that_is_over_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        closing_time(text, NOW)


def change(about: ClosedTest, seconds: int, *, reopened: bool = False, by: str = "registrar") -> Change:
    entry = ClosingEntry(
        school_year=about.school_year, test=about.test, change="reopened" if reopened else "closed", by=by
    )
    return Change(entry, int((NOW + timedelta(seconds=seconds)).timestamp() * 1000))


def test_standing_tells_state_who_changed_it_last_and_what_waits() -> None:
    cast = ClosedTest(2027, "CAST")
    found = standings(
        [change(ELA, 0), change(ELA, 60, reopened=True, by="reviewer"), change(cast, 0)],
        Counter({"2026/ELA-SUM": 12}),
    )
    assert [(one.about, one.by, one.waiting) for one in found] == [
        (cast, "registrar", 0),
        (ELA, "reviewer", 12),
    ]
    moments = [int(NOW.timestamp() * 1000) + seconds * 1000 for seconds in (9, 10, 69, 70)]
    assert [found[1].state(moment) for moment in moments] == ["closes", "closed", "closed", "reopened"]
    assert found[0].state(moments[-1]) == "closed"
    called_off = Standing(ELA, (), None, 0)
    assert (called_off.state(moments[0]), called_off.latest) == ("open", None)


def test_retry_waits_until_the_brokers_have_reopened_the_test_whatever_our_clock_says() -> None:
    reopened = (Interval(1_000, 70_000),)
    acknowledged = time.monotonic()
    just_now = Done(ELA, True, reopened, acknowledged_monotonic=acknowledged)
    waiting = just_now.waiting_seconds(now_ms=10**15)
    assert 12 - (time.monotonic() - acknowledged) <= waiting <= 12
    long_ago = Done(ELA, True, reopened, acknowledged_monotonic=time.monotonic() - 60)
    assert long_ago.waiting_seconds(now_ms=0) == 0
    by_another = Done(ELA, False, reopened)
    assert [by_another.waiting_seconds(now_ms) for now_ms in (62_000, 72_000, 80_000)] == [10, 0, 0]
    assert Done(ELA, False, ()).waiting_seconds(0) == 0
