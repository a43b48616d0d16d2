"""The canary: invented results of a reserved county, sent all the time to see how long a change takes to a screen.

That no real figure ever contains one rests on three things, none of which asks anybody to remember anything:

1. The canary's county is no part of the state (``schemas.identifiers.ancestry``): whatever is added up, published, listed or
   granted for the state ends before it.
2. A student's canary exams have a row of their own (``streams.reading``), whatever identifiers they use: they can neither
   displace nor take away a real result, and no real one can take theirs.
3. An event that names one school of each kind is none (``names_canary``): it is refused at import and by the workers.
"""

from __future__ import annotations

from typing import Final, Literal

from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.identifiers import CANARY_COUNTY, OrganizationId, county_of, district_of, is_canary

__all__ = [
    "CANARY_COUNTY",
    "MIXED_SCHOOLS",
    "NUMBERS",
    "canary_entries",
    "canary_school",
    "is_canary",
    "names_canary",
]

NUMBERS: Final = range(1, 100)  # of canaries, each with a school of its own
MIXED_SCHOOLS: Final = "one of its schools is a canary's and the other is not; name two of one kind"

_DISTRICT_DIGITS: Final = "00001"


def canary_school(number: int) -> OrganizationId:
    """The school of one canary; several canaries, in several places, do not disturb each other.

    Raises:
        InvalidInput: there is no such canary.
    """
    if number not in NUMBERS:
        raise InvalidInput(f"canary {number} is none; they are numbered {NUMBERS[0]} to {NUMBERS[-1]}")
    return OrganizationId(f"{CANARY_COUNTY[:2]}{_DISTRICT_DIGITS}{number:07d}")


def canary_entries(number: int) -> tuple[OrganizationEntry, ...]:
    """What the directory has of one canary: its county, its district and its school."""
    school = canary_school(number)
    levels: tuple[tuple[OrganizationId, str, Literal["county", "district", "school"]], ...] = (
        (county_of(school), "Canary County (no real results)", "county"),
        (district_of(school), "Canary District (no real results)", "district"),
        (school, f"Canary School {number} (no real results)", "school"),
    )
    return tuple(OrganizationEntry(cds=cds, name=name, kind=kind) for cds, name, kind in levels)


def names_canary(school: str | None, tested_school: str | None) -> bool:
    """Whether an event with these schools is a canary's.

    Raises:
        InvalidInput: one of them is a canary's, and the other is not.
    """
    named = {is_canary(one) for one in (school, tested_school) if one is not None}
    if len(named) > 1:
        raise InvalidInput(MIXED_SCHOOLS)
    return True in named
