"""What the exact tables say of every school, by family: the cells of one school year, test and grade; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from schemas.aggregates import CellField
from schemas.disclosure.held import Held
from schemas.identifiers import OrganizationId


class SchoolTotals:
    """The actual totals of all schools, and which families changed since they were last taken."""

    def __init__(self) -> None:
        self._families: dict[CellField, dict[OrganizationId, Held]] = {}
        self._changed: set[CellField] = set()

    def put(self, school: OrganizationId, name: CellField, held: Held) -> None:
        """A school's totals, as they stand now."""
        family = self._families.setdefault(name, {})
        if family.get(school) != held:
            family[school] = held
            self._changed.add(name)

    def forget(self) -> None:
        """Nothing that was read counts any more."""
        self._changed |= self._families.keys()
        self._families.clear()

    def touch(self, names: Iterable[CellField]) -> None:
        """Take these families for changed."""
        self._changed.update(names)

    def names(self) -> Collection[CellField]:
        """All families of which a school has a cell."""
        return self._families.keys()

    def changed(self) -> list[CellField]:
        """The families that changed, in order, until ``settled``."""
        return sorted(self._changed)

    def settled(self, name: CellField) -> None:
        """A family as it stands now has been dealt with."""
        self._changed.discard(name)

    def family(self, name: CellField) -> Mapping[OrganizationId, Held]:
        """The totals of all schools that have a cell of this name."""
        return self._families.get(name, {})
