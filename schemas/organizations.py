"""The organization directory: which schools, districts and counties there are, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry, level_of


class Directory:
    """Entries by CDS code. Codes are keys, names are not; the hierarchy is in the codes."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[OrganizationEntry] = ()) -> None:
        self._entries: dict[str, OrganizationEntry] = {entry.cds: entry for entry in entries}

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

    def name(self, organization: OrganizationId) -> str:
        """The organization's name, or its code when the directory does not have it."""
        entry = self._entries.get(organization)
        if entry:
            return entry.name
        return "State of California" if organization == STATE else organization

    def is_school(self, organization: str) -> bool:
        """Whether results may be attributed to it: it is listed, and a school."""
        return (
            organization in self._entries
            and level_of(OrganizationId(organization)) is OrganizationLevel.SCHOOL
        )

    def schools_of(self, organization: OrganizationId) -> list[OrganizationId]:
        """The schools below an organization, by code; a school gives itself."""
        return sorted(
            school
            for school in map(OrganizationId, self._entries)
            if level_of(school) is OrganizationLevel.SCHOOL and organization in ancestry(school)
        )
