"""Promises of so many seconds: one late attempt breaks none, and what is always late breaks them."""

from __future__ import annotations

import pytest
from promptness import assert_within


def test_one_attempt_that_the_machine_held_up_breaks_no_promise() -> None:
    attempts = iter([3.0, 0.4, 9.0])
    assert_within(1.0, lambda: next(attempts))
    assert list(attempts) == [9.0], "nothing is tried once the promise is kept"


def test_what_is_always_late_breaks_the_promise_and_is_told_with_its_times() -> None:
    with pytest.raises(AssertionError, match=r"promised within 1 s, took \[1\.0, 1\.0, 1\.0, 1\.0, 1\.0\]"):
        assert_within(1.0, lambda: 1.0)
