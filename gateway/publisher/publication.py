"""One round of one family: what becomes visible, what is hidden, and what is gone; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from schemas.aggregates import CellField
from schemas.disclosure.family import Family
from schemas.disclosure.held import Held
from schemas.identifiers import OrganizationId


class Schools(NamedTuple):
    """The totals of all schools that have a cell of one family."""

    released: dict[OrganizationId, Held]
    withheld: dict[OrganizationId, Held]  # nothing of them is published


class Publication(NamedTuple):
    """What one write changes in the published tables of one family."""

    name: CellField
    family: bytes  # all that the next round has to know
    cells: Mapping[OrganizationId, Held | None]  # None: suppressed
    gone: Collection[OrganizationId]  # nothing of theirs is released any more

    @property
    def visible(self) -> int:
        """How many published cells it changes."""
        return len(self.cells) + len(self.gone)


def publication(name: CellField, family: Family, schools: Schools, now_ms: int) -> Publication:
    """Let a family take in what its schools have, and say what that changes for the public; ``now_ms`` is Redis time."""
    changed, gone = family.publish(schools.released, now_ms, schools.withheld)
    return Publication(name, family.pack(), changed, gone)


def published_anew(name: CellField, family: Family, organizations: Collection[OrganizationId]) -> Publication:
    """All that is published of a family, for tables that have lost some of it; nothing of any other organization."""
    cells = family.published()
    return Publication(name, family.pack(), cells, [one for one in organizations if one not in cells])
