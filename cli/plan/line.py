"""One figure of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from cli.plan.measured import Assumed, Measured


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of the plan.

    Attributes:
        name: for programs; it never changes.
        what: for people.
        how: the calculation, with its numbers.
        sources: what the numbers are.
    """

    name: str
    what: str
    value: float
    unit: str
    how: str
    sources: tuple[Measured | Assumed, ...]
