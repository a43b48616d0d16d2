"""The stateful machine with tests that are closed and reopened meanwhile, now or on a day to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import rule

from schemas.events import ClosingEntry
from simulation.cast import YEAR, cast
from simulation.machine import EngineMachine

tests = st.sampled_from(("ELA-SUM", "ELPAC-ALT"))
seconds = st.sampled_from((1, 3, 7, 30))


class ClosingMachine(EngineMachine):
    """Every worker knows of a closing what it has read, and that may be little."""

    @rule(test=tests, change=st.sampled_from(("closed", "closed", "reopened")), later=st.none() | seconds)
    def change_closing(self, test: str, change: Literal["closed", "reopened"], later: int | None) -> None:
        """One record more in the closings topic."""
        assert {test} <= {known.code for known in cast().tests}
        now = datetime.fromtimestamp(self._driver.clock.now_ms() / 1000, UTC)
        at = None if later is None else now + timedelta(seconds=10 + later)
        self._driver.change_closing(ClosingEntry(school_year=YEAR, test=test, change=change, at=at))

    @rule(seconds=seconds)
    def pass_time(self, seconds: int) -> None:
        """Nothing happens for a while, or for longer than a closing takes to hold."""
        self._driver.clock.pass_time(seconds * 1000)
