"""The organization directory: which schools, districts and counties there are, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry, level_of


class Directory:
    """Entries by CDS code. Codes are keys, names are not; the hierarchy is in the codes."""

    __slots__ = ("_entries", "_schools")

    def __init__(self, entries: Iterable[OrganizationEntry] = ()) -> None:
        self._entries: dict[str, OrganizationEntry] = {}
        self._schools: set[str] = set()
        for entry in entries:
            self.put(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, organization: object) -> bool:
        return organization in self._entries

    @property
    def entries(self) -> Mapping[str, OrganizationEntry]:
        """All entries by CDS code."""
        return self._entries

    def put(self, entry: OrganizationEntry) -> None:
        """Add an entry, or replace the one with the same code."""
        self._entries[entry.cds] = entry
        if level_of(OrganizationId(entry.cds)) is OrganizationLevel.SCHOOL:
            self._schools.add(entry.cds)

    def name(self, organization: OrganizationId) -> str:
        """The organization's name, or its code when the directory does not have it."""
        entry = self._entries.get(organization)
        if entry:
            return entry.name
        return "State of California" if organization == STATE else organization

    def is_school(self, organization: str) -> bool:
        """Whether results may be attributed to it: it is listed, and a school."""
        return organization in self._schools

    def schools_of(self, organization: OrganizationId) -> list[OrganizationId]:
        """The schools below an organization, by code; a school gives itself."""
        return sorted(
            school for school in map(OrganizationId, self._schools) if organization in ancestry(school)
        )
