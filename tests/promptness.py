"""Promises of so many seconds, on a machine that may stand still for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_ATTEMPTS: Final = 5


def assert_within(seconds: float, attempt: Callable[[], float]) -> None:
    """At least one attempt of a few keeps the promise; ``attempt`` returns how many seconds it took.

    What else the machine is busy with makes one attempt late or another. What is slow by itself makes all of them late.
    """
    took: list[float] = []
    while not took or took[-1] >= seconds:
        assert len(took) < _ATTEMPTS, f"promised within {seconds:g} s, took {took}"
        took.append(attempt())
