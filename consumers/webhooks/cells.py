"""Reading what is to be told: cells as a visibility class sees them at this moment, for many endpoints at once.

As on a live page: exact classes see the tables' own cells, and above the districts the sum over those districts whose rows
they see; the masked class sees what is published. What a class does not see is not in the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from consumers.webhooks.connection import RedisClient
from consumers.webhooks.rules import Rules
from schemas.access.permissions import VisibilityClass
from schemas.access.visibility import Rows, is_above_districts
from schemas.aggregates import LEVELS, Cell, CellField, cell_name
from schemas.assessments import Assessment, AssessmentLookup, unnamed_assessment
from schemas.disclosure.published import PublishedCell
from schemas.errors import UnknownAssessment
from schemas.figures import Figures, figures, masked_figures
from schemas.identifiers import OrganizationId
from schemas.keys import published_cells
from schemas.merged_cells import (
    MergedCell,
    ask_cells,
    ask_organizations,
    ask_published_cells,
    found_published_cells,
    merged_cells,
    merged_organizations,
)

_HIGHEST_LEVELS: Final = 2

View = tuple[OrganizationId, VisibilityClass]
Wanted = Mapping[View, AbstractSet[CellField] | None]  # None: all cells


class Seen(NamedTuple):
    """One cell as a class sees it now.

    Attributes:
        cell: None when it is published without figures (suppressed).
        summed: over some districts; other districts make another sum, so that an earlier version may be the later one.
    """

    version: int
    changed_ms: int
    cell: Cell | None
    masked: bool
    summed: bool = False


class CellReader:
    """Reads from the serving tables, and from those that are published."""

    def __init__(self, redis: RedisClient, rules: Rules, assessments: AssessmentLookup) -> None:
        self._redis = redis
        self._rules = rules
        self._assessments = assessments

    async def read(self, wanted: Wanted) -> dict[View, dict[CellField, Seen]]:
        """The wanted cells that each class sees; by the rules as they were refreshed last."""
        exact = {view: names for view, names in wanted.items() if view[1] is not VisibilityClass.MASKED}
        masked = {view: names for view, names in wanted.items() if view[1] is VisibilityClass.MASKED}
        found = await self._exact(exact) if exact else {}
        if masked:
            found |= await self._masked(masked)
        return found

    def figures(self, field: CellField, seen: Seen) -> Figures:
        """A cell's figures."""
        name, assessment = cell_name(field), self._assessment(field)
        if seen.masked:
            return masked_figures(seen.cell, assessment, name, seen.version, seen.changed_ms)
        assert seen.cell is not None
        return figures(seen.cell, assessment, name, seen.changed_ms)

    def share(self, field: CellField, seen: Seen) -> float | None:
        """The percentage of students at the two highest levels; None when it is not shown, or nobody has a score."""
        if seen.cell is None:
            return None
        highest = min(len(self._assessment(field).levels), LEVELS)
        counts = seen.cell.level_counts()[:highest]
        total = sum(counts)
        if not total or (seen.masked and sum(map(bool, counts)) < 2):
            return None
        return 100 * sum(counts[-_HIGHEST_LEVELS:]) / total

    async def _exact(self, wanted: Wanted) -> dict[View, dict[CellField, Seen]]:
        own = await self._own(wanted)
        visibility = self._rules.visibility
        found: dict[View, dict[CellField, Seen]] = {}
        summed: dict[View, dict[CellField, frozenset[OrganizationId]]] = {}
        for view, names in wanted.items():
            organization, kind = view
            shown = found[view] = {}
            for field, merged in own[organization].items():
                if names is not None and field not in names:
                    continue
                if not is_above_districts(organization):
                    if visibility.sees(kind, organization, field):
                        shown[field] = _seen(merged)
                    continue
                rows = visibility.rows(kind, organization, field)
                if rows is Rows.ALL:
                    shown[field] = _seen(merged)
                elif rows is Rows.SOME:
                    summed.setdefault(view, {})[field] = visibility.districts(kind, organization, field)
        if summed:
            for view, sums in (await self._added_up(summed)).items():
                found[view] |= sums
        return found

    async def _own(self, wanted: Wanted) -> dict[OrganizationId, dict[CellField, MergedCell]]:
        """The organizations' own cells: all of them, where anybody wants all."""
        whole = {organization for (organization, _), names in wanted.items() if names is None}
        some: dict[OrganizationId, set[CellField]] = {}
        for (organization, _), names in wanted.items():
            if organization not in whole:
                some.setdefault(organization, set()).update(names or ())
        found = await self._named(some)
        if whole:
            serving, order = self._rules.serving, sorted(whole)
            pipe: Any = self._redis.pipeline(transaction=False)
            ask_organizations(pipe, serving, order)
            found |= zip(order, merged_organizations(serving, order, await pipe.execute()), strict=True)
        return found

    async def _named(
        self, wanted: Mapping[OrganizationId, Iterable[CellField]]
    ) -> dict[OrganizationId, dict[CellField, MergedCell]]:
        names = [(organization, sorted(fields)) for organization, fields in wanted.items()]
        names = [(organization, fields) for organization, fields in names if fields]
        found: dict[OrganizationId, dict[CellField, MergedCell]] = {one: {} for one in wanted}
        if names:
            serving = self._rules.serving
            pipe: Any = self._redis.pipeline(transaction=False)
            ask_cells(pipe, serving, names)
            read = merged_cells(serving, names, await pipe.execute())
            found |= zip((organization for organization, _ in names), read, strict=True)
        return found

    async def _added_up(
        self, sums: Mapping[View, Mapping[CellField, frozenset[OrganizationId]]]
    ) -> dict[View, dict[CellField, Seen]]:
        districts: dict[OrganizationId, set[CellField]] = {}
        for fields in sums.values():
            for field, counted in fields.items():
                for district in counted:
                    districts.setdefault(district, set()).add(field)
        cells = await self._named(districts)
        found: dict[View, dict[CellField, Seen]] = {}
        for view, fields in sums.items():
            shown = found[view] = {}
            for field, counted in fields.items():
                parts = [merged for district in counted if (merged := cells[district].get(field)) is not None]
                if parts:
                    total = Cell()
                    for part in parts:
                        total.merge(part.cell)
                    changed_ms = max(part.changed_ms for part in parts)
                    shown[field] = Seen(total.version, changed_ms, total, masked=False, summed=True)
        return found

    async def _masked(self, wanted: Wanted) -> dict[View, dict[CellField, Seen]]:
        visibility = self._rules.visibility
        published = await self._published(wanted)
        return {
            (organization, kind): {
                field: Seen(cell.version, cell.changed_ms, cell.cell, masked=True)
                for field, cell in published[organization].items()
                if visibility.sees(kind, organization, field)
            }
            for organization, kind in wanted
        }

    async def _published(self, wanted: Wanted) -> dict[OrganizationId, dict[CellField, PublishedCell]]:
        pipe: Any = self._redis.pipeline(transaction=False)
        named = [
            (organization, sorted(names)) for (organization, _), names in wanted.items() if names is not None
        ]
        named = [(organization, names) for organization, names in named if names]
        whole = [organization for (organization, _), names in wanted.items() if names is None]
        found: dict[OrganizationId, dict[CellField, PublishedCell]] = {one: {} for one, _ in wanted}
        if named:
            ask_published_cells(pipe, named)
            read = found_published_cells(named, await pipe.execute())
            found |= zip((organization for organization, _ in named), read, strict=True)
        for organization in whole:
            fields: Any = await self._redis.hkeys(published_cells(organization))
            names = [(organization, [CellField(field.decode()) for field in fields])]
            if fields:
                pipe = self._redis.pipeline(transaction=False)
                ask_published_cells(pipe, names)
                [found[organization]] = found_published_cells(names, await pipe.execute())
        return found

    def _assessment(self, field: CellField) -> Assessment:
        name = cell_name(field)
        try:
            return self._assessments(name.school_year, name.test, name.grade)
        except UnknownAssessment:
            # A worker with a newer registry wrote it: the figures are right, only their names are not known here yet.
            return unnamed_assessment(name)


def _seen(merged: MergedCell) -> Seen:
    return Seen(merged.cell.version, merged.changed_ms, merged.cell, masked=False)
