"""The organizations as those who show them need them: which there are, what they are called, who is below whom."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from schemas.events import OrganizationEntry
from schemas.identifiers import CANARY_COUNTY, STATE, OrganizationId, OrganizationLevel, ancestry, level_of
from schemas.organizations import Directory

# How many of a code's digits all codes below it begin with.
_SHARED_DIGITS = {
    OrganizationLevel.STATE: 0,
    OrganizationLevel.COUNTY: 2,
    OrganizationLevel.DISTRICT: 7,
    OrganizationLevel.SCHOOL: 14,
}
_AFTER_DIGITS = ":"  # the character after 9


class OrganizationSummary(Struct, frozen=True, gc=False):
    """One organization as it leaves the process."""

    id: str
    name: str
    level: str


class OrganizationList:
    """One version of the directory. A district, county or the state is there as soon as anything below it is.

    Codes are kept in order, so that all below an organization stand side by side: they are found and counted by bisection.
    The canary's county is here, and not below the state.
    """

    __slots__ = ("_by_level", "_directory", "_known", "_sorted", "version")

    def __init__(self, entries: Iterable[OrganizationEntry], version: int) -> None:
        self._directory = Directory(entries)
        self._known = frozenset(
            above for code in self._directory.entries for above in ancestry(OrganizationId(code))
        )
        self._sorted = sorted(self._known)
        self._by_level: dict[OrganizationLevel, list[OrganizationId]] = {
            level: [] for level in OrganizationLevel
        }
        for organization in self._sorted:
            self._by_level[level_of(organization)].append(organization)
        self.version = version

    def __len__(self) -> int:
        return len(self._directory)

    def __contains__(self, organization: object) -> bool:
        return organization in self._known

    def summary(self, organization: OrganizationId) -> OrganizationSummary:
        """An organization's code, name and level; its code is its name while the directory has none."""
        return OrganizationSummary(
            organization, self._directory.name(organization), level_of(organization).value
        )

    def charter(self, organization: OrganizationId) -> Literal["direct", "local"] | None:
        """How a charter school is funded; None for what is no charter school."""
        entry = self._directory.entries.get(organization)
        return None if entry is None else entry.charter

    def under(self, organization: OrganizationId) -> list[OrganizationId]:
        """An organization and all below it, by code; so each stands right before those below it."""
        return _below(self._sorted, organization)

    def below(self, organization: OrganizationId, level: OrganizationLevel) -> Sequence[OrganizationId]:
        """Those of one level below an organization, by code."""
        return _below(self._by_level[level], organization)

    def count_below(self, organization: OrganizationId, level: OrganizationLevel) -> int:
        """How many ``below`` would be, without making the list."""
        codes = self._by_level[level]
        first, after = _part(codes, organization)
        if organization == STATE:
            canary, after_canary = _part(codes, CANARY_COUNTY)
            return after - first - (after_canary - canary)
        return after - first


def _below(codes: Sequence[OrganizationId], organization: OrganizationId) -> list[OrganizationId]:
    if organization == STATE:
        canary, after_canary = _part(codes, CANARY_COUNTY)
        return [*codes[:canary], *codes[after_canary:]]
    first, after = _part(codes, organization)
    return list(codes[first:after])


def _part(codes: Sequence[OrganizationId], organization: OrganizationId) -> tuple[int, int]:
    """Where the codes that begin as an organization's does begin, and where they end."""
    shared = organization[: _SHARED_DIGITS[level_of(organization)]]
    return bisect_left(codes, shared), bisect_left(codes, shared + _AFTER_DIGITS)
