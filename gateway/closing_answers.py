"""What ``/v1/closings`` takes and answers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.events import UtcTime


class ClosingOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a change."""

    change: Literal["closed", "reopened"]
    at: UtcTime | None = None


class AcceptedClosing(Struct, frozen=True):
    """What was ordered. It takes effect so long after Kafka took it down, or at ``at`` when that is later."""

    school_year: int
    test: str
    change: str
    at: str | None
    lead_seconds: int


class ClosedTime(Struct, frozen=True, rename={"from_": "from"}):
    """From when to when a test is closed; ``to`` is null while nobody has reopened it."""

    from_: str
    to: str | None


class ListedClosing(Struct, frozen=True):
    """A test that was closed at some time."""

    school_year: int
    test: str
    closed: tuple[ClosedTime, ...]


class ClosingsAnswer(Struct, frozen=True):
    """All of them, the latest year first."""

    closings: tuple[ListedClosing, ...]
