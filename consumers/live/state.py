"""What the stream has told so far, and whether that is everything: the rules of docs/wire-format.md, without a socket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from consumers.live.changes import CellChanged, Change, OrganizationLeft
from consumers.live.frames import ChangedCells, Frame, Patch, Progress, Put, Subscribed, WholeOrganization
from schemas.aggregates import CellName
from schemas.figures import Figures
from schemas.identifiers import Grade, OrganizationId, TestCode

_Cells = dict[CellName, Figures]


@dataclass(frozen=True, slots=True)
class Organization:
    """One organization as it is now; ``cells`` has those with results, and those of which nothing may be said."""

    id: OrganizationId
    name: str
    level: str
    cells: Mapping[CellName, Figures]


@dataclass(slots=True)
class _Held:
    name: str
    level: str
    # A cell whose last result moved away stays, with 0 results: its version keeps an older patch from bringing it back.
    cells: _Cells


@dataclass(slots=True)
class LiveState:
    """The cells of all organizations subscribed to, and what is still missing.

    A connection may break anywhere: between the frames of a put, or after a change of the subscription. An event id only
    says up to when changes were sent, not of which organizations. So coming back with it is right only while this is
    ``whole``; otherwise everything is asked for anew.
    """

    complete: datetime | None = None
    as_of: datetime | None = None
    stale: bool = False
    moving: bool = False  # the last progress of this connection found the tables there
    stream: str | None = None
    expires: datetime | None = None
    must_start_anew: bool = False  # only a new connection, without an id, can bring what is missing
    _organizations: dict[OrganizationId, _Held] = field(default_factory=dict)
    _expected: int | None = None  # organizations subscribed to
    _subject: tuple[object, ...] | None = None
    unconfirmed: bool = False  # a change was asked for, and the stream has not said that it is made
    _other_filters: bool = False  # and then everything comes again
    _due: set[OrganizationId] = field(default_factory=set)  # held, and a put of them is to come
    _named: set[OrganizationId] = field(
        default_factory=set
    )  # by the puts of this connection, or since a change
    _strangers: set[str] = field(default_factory=set)  # named by a patch before any put
    _resumed: bool = False
    _put_seen: bool = False
    _progress_seen: bool = False

    @property
    def whole(self) -> bool:
        """Whether every organization subscribed to is here, under the present filters."""
        if self.unconfirmed or self._due or self._strangers or self.must_start_anew:
            return False
        if self._expected is None:
            return self._put_seen
        return len(self._organizations) == self._expected

    def opened(self, *, resumed: bool) -> None:
        """A new connection; unless it ``resumed`` by an id, everything comes again."""
        self.stream = None
        self.moving = self.must_start_anew = self.unconfirmed = self._progress_seen = False
        self._strangers.clear()
        self._resumed = resumed
        if not resumed:
            self._put_seen = False
            self._everything_is_due()

    def change_asked(self, *, other_filters: bool) -> None:
        """Another subscription is about to be asked for on this connection."""
        self.unconfirmed, self._other_filters = True, other_filters

    def change_refused(self) -> None:
        """The subscription stays as it was."""
        self.unconfirmed = False

    def apply(self, frame: Frame) -> list[Change]:
        """Take in a frame; returns what is different now."""
        match frame:
            case Put():
                self._read(frame)
                return [change for one in frame.organizations for change in self._put(one)] + self._settled()
            case Patch():
                self._read(frame)
                return [change for one in frame.organizations for change in self._patched(one)]
            case Progress():
                self._progressed(frame)
                return [frame]
            case Subscribed():
                return self._subscribed(frame)
        return []

    def organization(self, cds: str) -> Organization | None:
        """One organization; None while it is not here."""
        held = self._organizations.get(OrganizationId(cds))
        if held is None:
            return None
        shown = {name: cell for name, cell in held.cells.items() if cell.shown}
        return Organization(OrganizationId(cds), held.name, held.level, MappingProxyType(shown))

    def cell(self, cds: str, year: int, test: str, grade: str) -> Figures | None:
        """One cell; None when it has no results."""
        held = self._organizations.get(OrganizationId(cds))
        cell = held.cells.get(CellName(year, TestCode(test), Grade(grade))) if held else None
        return _shown(cell)

    def ids(self) -> tuple[OrganizationId, ...]:
        """The organizations that are here."""
        return tuple(self._organizations)

    def _everything_is_due(self) -> None:
        self._due = set(self._organizations)
        self._named = set()

    def _read(self, frame: Put | Patch) -> None:
        self.stale, self.as_of = frame.stale, frame.as_of

    def _put(self, whole: WholeOrganization) -> Iterable[Change]:
        code = OrganizationId(whole.id)
        held = self._organizations.get(code)
        before: _Cells = held.cells if held else {}
        after = {_name(cell): cell for cell in whole.cells}
        self._organizations[code] = _Held(whole.name, whole.level, after)
        self._put_seen = True
        self._strangers.discard(code)
        self._due.discard(code)
        self._named.add(code)
        for name in before | after:
            old, new = _shown(before.get(name)), _shown(after.get(name))
            if old != new:
                yield CellChanged(code, name, old, new)

    def _patched(self, changed: ChangedCells) -> Iterable[Change]:
        code = OrganizationId(changed.id)
        held = self._organizations.get(code)
        if held is None:
            self._strangers.add(code)  # its put is still to come, and will have it
            return
        for cell in changed.cells:
            name = _name(cell)
            known = held.cells.get(name)
            if not _is_later(cell, known):
                continue
            held.cells[name] = cell
            old, new = _shown(known), _shown(cell)
            if old is not None or new is not None:
                yield CellChanged(code, name, old, new)

    def _progressed(self, progress: Progress) -> None:
        self.stale, self.moving = progress.stale, progress.live
        self.as_of = progress.as_of or self.as_of
        # While the tables are away nothing new is known, and what was complete stays so.
        self.complete = None if progress.stale else progress.complete or self.complete
        # A put comes before the progress that follows the opening. What changed in the directory while this reader was
        # away is in no patch; and a patch of a stranger at the second progress says that a put got lost.
        missed = self._resumed and not self._progress_seen and not self.whole and not self.unconfirmed
        self.must_start_anew |= missed or bool(self._strangers and self._progress_seen)
        self._progress_seen = True

    def _subscribed(self, frame: Subscribed) -> list[Change]:
        # A renewal and a new school also say ``subscribed``, of the subject as it was.
        if self.unconfirmed and frame.subject() != self._subject:
            self.unconfirmed = False
            if self._other_filters:
                self._everything_is_due()
        self._subject = frame.subject()
        self.stream, self.expires, self._expected = frame.stream, frame.expires, frame.organizations
        return self._forget(frame.dropped) + self._settled()

    def _settled(self) -> list[Change]:
        """What is left of an earlier time when everything subscribed to has been put."""
        if self.unconfirmed or self._expected is None or len(self._named) < self._expected:
            return []
        return self._forget(tuple(self._due))

    def _forget(self, codes: Iterable[str]) -> list[Change]:
        changes: list[Change] = []
        for code in map(OrganizationId, codes):
            self._due.discard(code)
            self._named.discard(code)
            self._strangers.discard(code)
            if self._organizations.pop(code, None) is not None:
                changes.append(OrganizationLeft(code))
        return changes


def _is_later(cell: Figures, known: Figures | None) -> bool:
    """Versions grow with every change; times cover a store that went back and hands one out twice."""
    return known is None or cell.version > known.version or cell.changed > known.changed


def _name(cell: Figures) -> CellName:
    return CellName(cell.school_year, TestCode(cell.test), Grade(cell.grade))


def _shown(cell: Figures | None) -> Figures | None:
    return cell if cell is not None and cell.shown else None
