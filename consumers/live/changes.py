"""What a reader is told, and where it waits until the reader comes: the latest of each cell, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consumers.live.frames import Progress
from schemas.aggregates import CellName
from schemas.figures import Figures
from schemas.identifiers import OrganizationId


@dataclass(frozen=True, slots=True)
class CellChanged:
    """A cell came (``before`` is None), changed, or went (``after`` is None)."""

    organization: OrganizationId
    name: CellName
    before: Figures | None
    after: Figures | None


@dataclass(frozen=True, slots=True)
class OrganizationLeft:
    """An organization is no longer among those that were asked for; its cells are forgotten."""

    organization: OrganizationId


Change = CellChanged | OrganizationLeft | Progress


class Mailbox:
    """Changes that the reader has not taken yet; at most one for each cell, so memory is bounded by what is subscribed.

    A slow reader gets the latest of each cell, with the figures that it last knew as ``before``.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[object, Change] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, changes: Sequence[Change]) -> None:
        """Keep these, in the place of earlier ones about the same."""
        left = {change.organization for change in changes if isinstance(change, OrganizationLeft)}
        if left:  # one walk for all of them; what waits can be much
            self._waiting = {
                key: change
                for key, change in self._waiting.items()
                if isinstance(change, Progress) or change.organization not in left
            }
        for change in changes:
            match change:
                case CellChanged():
                    self._add_cell(change)
                case OrganizationLeft(organization):
                    self._waiting[organization] = change
                case Progress():
                    # It speaks of all figures before it, so it goes behind them.
                    self._waiting.pop(Progress, None)
                    self._waiting[Progress] = change

    def take(self) -> Change | None:
        """The one that has waited longest; None when there is none."""
        key = next(iter(self._waiting), None)
        return None if key is None else self._waiting.pop(key)

    def _add_cell(self, change: CellChanged) -> None:
        key = (change.organization, change.name)
        earlier = self._waiting.get(key)
        if isinstance(earlier, CellChanged):
            change = replace(change, before=earlier.before)
            if change.before is None and change.after is None:
                del self._waiting[key]  # it came and went while nobody looked
                return
        self._waiting[key] = change
