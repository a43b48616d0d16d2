"""Reads what the exact tables have of every school: all of it once, then what change notices name, when a round asks for it.

Between two rounds a cell may change a thousand times; it is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from gateway.following import Following, TablesState
from gateway.publisher.totals import SchoolTotals
from gateway.tables import Tables
from schemas.aggregates import CellField
from schemas.disclosure.held import held_of
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, is_canary, level_of
from schemas.merged_cells import MergedCell, Serving
from schemas.organization_list import OrganizationList
from schemas.releases import Releases

logger = logging.getLogger(__name__)

_SCHOOLS_AT_ONCE: Final = 100  # times the partitions, that many reads in one round trip
_CELLS_AT_ONCE: Final = 2_000
_TOLD_EVERY: Final = 1_000  # schools


class SchoolReader:
    """Keeps the schools' totals as the tables have them; listens to ``Following``."""

    def __init__(
        self,
        tables: Tables,
        totals: SchoolTotals,
        *,
        due: Callable[[], None],
        released: Callable[[Releases, Releases], None],
    ) -> None:
        """``due`` is told when there may be something to read at last, ``released`` when release states changed."""
        self.totals = totals
        self.following = Following(tables, self)
        self._tables = tables
        self._due = due
        self._on_release = released
        self._everything = True  # nothing was read yet, or what was read does not count any more
        self._whole: dict[OrganizationId, None] = {}  # schools that were listed since
        self._cells: dict[OrganizationId, set[CellField]] = {}
        self._lost = 0

    # What ``Following`` tells.

    def changed(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Take note of cells of schools; of all above, the sums are made here. Of canaries nothing is published."""
        for name, fields in changes.items():
            organization = OrganizationId(name)
            if level_of(organization) is OrganizationLevel.SCHOOL and not is_canary(organization):
                self._cells.setdefault(organization, set()).update(map(CellField, fields))

    def changed_published(self, changes: Mapping[str, Sequence[str]]) -> None:
        """Nothing: what is published is our own doing."""

    def lost(self) -> None:
        """Read everything anew."""
        self._lost += 1
        self._everything = True
        self._whole.clear()
        self._cells.clear()
        self.totals.forget()

    def renamed(self, known: OrganizationList, current: OrganizationList) -> None:
        """Read schools that are new whole: they may have had results before we heard of them."""
        schools = current.below(STATE, OrganizationLevel.SCHOOL)
        self._whole |= dict.fromkeys(school for school in schools if school not in known)

    def released(self, earlier: Releases, current: Releases) -> None:
        """Pass it on."""
        self._on_release(earlier, current)

    def entered(self, state: TablesState) -> None:
        """A round may go on that waited."""
        self._due()

    def turned_stale(self, stale: bool) -> None:
        """Likewise."""
        self._due()

    # What a round asks for.

    @property
    def whole(self) -> bool:
        """Whether the tables are there, and hold all results that are in the log."""
        following = self.following
        return following.state is TablesState.LIVE and not following.stale()

    @property
    def ready(self) -> bool:
        """Whether the totals are of whole tables, as they were at the last ``catch_up``."""
        return self.whole and not self._everything

    async def catch_up(self) -> bool:
        """Read what changed; whether the totals are those of whole tables now. If not, nothing may be published.

        Raises:
            RedisError, OSError: Redis does not answer; what is still to be read stays noted.
        """
        serving, organizations = self.following.serving, self.following.organizations
        if not self.whole or serving is None or organizations is None:
            return False
        lost = self._lost
        if self._everything:
            schools = organizations.below(STATE, OrganizationLevel.SCHOOL)
            await self._read_whole(serving, schools, lost)
            if lost == self._lost:
                self._everything = False
        while self._whole and lost == self._lost:
            some = list(islice(self._whole, _SCHOOLS_AT_ONCE))
            await self._read_whole(serving, some, lost)
            for school in some:
                self._whole.pop(school, None)
        while self._cells and lost == self._lost:
            await self._read_some_cells(serving, lost)
        return self.ready

    async def _read_whole(self, serving: Serving, schools: Sequence[OrganizationId], lost: int) -> None:
        for first in range(0, len(schools), _SCHOOLS_AT_ONCE):
            some = schools[first : first + _SCHOOLS_AT_ONCE]
            found = await self._tables.read_organizations(serving, some)
            if lost != self._lost:
                return
            for school, cells in zip(some, found, strict=True):
                self._take(school, cells)
            done = first + len(some)
            if done % _TOLD_EVERY == 0 or (done == len(schools) and done > _TOLD_EVERY):
                logger.info("reading all schools read=%d of=%d", done, len(schools))
            await asyncio.sleep(0)

    async def _read_some_cells(self, serving: Serving, lost: int) -> None:
        names: list[tuple[OrganizationId, list[CellField]]] = []
        count = 0
        for school, fields in self._cells.items():
            names.append((school, sorted(fields)))
            count += len(fields)
            if count >= _CELLS_AT_ONCE:
                break
        # No longer noted, so that a change during the read is noted again.
        for school, _ in names:
            del self._cells[school]
        try:
            found = await self._tables.read_cells(serving, names)
        except BaseException:
            self.changed(dict(names))
            raise
        if lost == self._lost:
            for (school, _), cells in zip(names, found, strict=True):
                self._take(school, cells)

    def _take(self, school: OrganizationId, cells: Mapping[CellField, MergedCell]) -> None:
        for name, merged in cells.items():
            self.totals.put(school, name, held_of(merged.cell))
