"""What some districts of a county or of the state come to: exact sums, kept while somebody watches them; pure.

A viewer to whom not all districts are open gets the sum over those that are. It is made of their own cells, whole numbers
and histograms, so mean, standard error and quartiles are exact; a district that changes costs one subtraction and one
addition, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet

from schemas.aggregates import Cell, CellField
from schemas.identifiers import OrganizationId
from schemas.merged_cells import MergedCell


class PartialSum:
    """The cells of an organization that are added up from its districts, for one visibility class.

    Versions add up like everything else. They count from anew when other districts are added up; whoever watches is sent a
    put then.
    """

    __slots__ = ("_read", "_shares", "_totals")

    def __init__(self) -> None:
        self._read: dict[CellField, set[OrganizationId]] = {}  # also those that have no such cell
        self._shares: dict[CellField, dict[OrganizationId, MergedCell]] = {}
        self._totals: dict[CellField, MergedCell] = {}

    def __iter__(self) -> Iterator[CellField]:
        """The cells of which there are sums."""
        return iter(self._totals)

    def total(self, field: CellField) -> MergedCell:
        """One sum; the cell goes on changing."""
        return self._totals[field]

    def missing(self, field: CellField, wanted: AbstractSet[OrganizationId]) -> AbstractSet[OrganizationId]:
        """Those of the wanted districts whose cell was not read yet."""
        return wanted - self._read.get(field, set())

    def note_read(self, district: OrganizationId, fields: Iterable[CellField]) -> None:
        """These of a district's cells were read; those that it has were taken."""
        for field in fields:
            self._read.setdefault(field, set()).add(district)

    def take(self, district: OrganizationId, field: CellField, share: MergedCell) -> bool:
        """Count a district's cell in place of what it was; whether it is later than what was counted."""
        shares = self._shares.setdefault(field, {})
        known = shares.get(district)
        if known is not None and not share.supersedes(known):
            return False
        changed_ms, total = self._totals.get(field) or MergedCell(0, Cell())
        if known is not None:
            total.unmerge(known.cell)
        total.merge(share.cell)
        shares[district] = share
        self._totals[field] = MergedCell(max(changed_ms, share.changed_ms), total)
        self.note_read(district, (field,))
        return True

    def keep(self, districts: Callable[[CellField], AbstractSet[OrganizationId]]) -> None:
        """Count only these districts of each field from now on; what was read of them need not be read again."""
        for field in list(self._read):
            wanted = districts(field)
            self._read[field] &= wanted
            shares = self._shares.get(field, {})
            for district in shares.keys() - wanted:
                changed_ms, total = self._totals[field]
                total.unmerge(shares.pop(district).cell)
                self._totals[field] = MergedCell(changed_ms, total)
            if not shares:
                self._shares.pop(field, None)
                self._totals.pop(field, None)
