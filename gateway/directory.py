"""The organizations as the gateway needs them: which there are, what they are called, who is below whom."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId, ancestry, level_of
from schemas.organizations import Directory


class OrganizationSummary(Struct, frozen=True, gc=False):
    """One organization as it leaves the process."""

    id: str
    name: str
    level: str


class OrganizationList:
    """One version of the directory. A district, county or the state is there as soon as anything below it is."""

    __slots__ = ("_directory", "_known", "version")

    def __init__(self, entries: Iterable[OrganizationEntry], version: int) -> None:
        self._directory = Directory(entries)
        self._known = frozenset(
            above for code in self._directory.entries for above in ancestry(OrganizationId(code))
        )
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

    def under(self, organization: OrganizationId) -> list[OrganizationId]:
        """An organization and all below it, by code; so each stands right before those below it."""
        if organization == STATE:
            return sorted(self._known)
        return sorted(known for known in self._known if organization in ancestry(known))
