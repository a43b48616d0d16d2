"""From cells to the bytes that subscribers get: each cell encoded once a change, each organization once a view.

A *view* is an organization as one visibility class sees it; everybody of that class gets the very same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from gateway import sse
from gateway.directory import OrganizationSummary
from gateway.permissions import VisibilityClass
from gateway.tables import MergedCell
from schemas.aggregates import LEVELS, CellField, cell_name
from schemas.assessments import Assessment
from schemas.errors import UnknownAssessment
from schemas.figures import figures, rfc3339
from schemas.identifiers import GRADE_NUMBER, Grade, OrganizationId, TestCode

logger = logging.getLogger(__name__)

# A put of several organizations is cut here, so that no connection needs more than this, and one organization, at once.
PUT_BYTES: Final = 65_536

AssessmentLookup = Callable[[int, TestCode, Grade], Assessment]

_encode: Final = msgspec.json.Encoder().encode


class View(NamedTuple):
    """An organization as one visibility class sees it."""

    organization: OrganizationId
    visibility: VisibilityClass


class CellImage(NamedTuple):
    """One cell, encoded."""

    version: int
    changed_ms: int
    results: int
    encoded: bytes

    def supersedes(self, other: CellImage | None) -> bool:
        """Whether this is later than ``other``.

        Either sign will do: versions grow with every change, but a rollback of Redis can hand one out twice; times grow
        unless a clock was set back.
        """
        return other is None or self.version > other.version or self.changed_ms > other.changed_ms


@dataclass(eq=False, slots=True)
class Batch:
    """All patches of one tick, and the frames made of them: same patches, same bytes."""

    tick: int
    cursor: sse.Cursor
    stale: bool = False  # older results are still missing from the tables
    frames: dict[tuple[Patch, ...], bytes] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Patch:
    """The changed cells of one view in one tick."""

    view: View
    batch: Batch
    cells: Mapping[CellField, CellImage]

    def newer_than(self, known: Mapping[CellField, CellImage]) -> Patch | None:
        """This patch without what ``known`` already has; None when nothing is left."""
        newer = {name: image for name, image in self.cells.items() if image.supersedes(known.get(name))}
        if len(newer) == len(self.cells):
            return self
        return Patch(self.view, self.batch, newer) if newer else None

    def after(self, earlier: Patch) -> Patch:
        """Both patches in one, for a subscriber that was too slow for each."""
        return Patch(self.view, self.batch, {**earlier.cells, **self.cells})

    def fragment(self) -> bytes:
        """``{"id": ..., "cells": [...]}``"""
        in_order = (image.encoded for _, image in sorted(self.cells.items(), key=_order))
        return b'{"id":"%s","cells":[%s]}' % (self.view.organization.encode(), b",".join(in_order))


@dataclass(eq=False, slots=True)
class Snapshot:
    """A view as a whole; whatever changed up to ``cursor`` is in it."""

    view: View
    cursor: sse.Cursor
    tick: int  # ticks up to this one may have read older values
    read_monotonic: float
    cells: Mapping[CellField, CellImage]
    organization: OrganizationSummary
    stale: bool = False  # older results were still missing from the tables
    fragment: bytes = b""

    def __post_init__(self) -> None:
        self.fragment = whole_fragment(self.organization, self.shown())

    def shown(self, wanted: Callable[[CellField], bool] = lambda _: True) -> list[CellImage]:
        """The wanted cells that have results, in order."""
        cells = ((name, image) for name, image in self.cells.items() if image.results and wanted(name))
        return [image for _, image in sorted(cells, key=_order)]

    def changed_after(self, milliseconds: int, batch: Batch) -> Patch | None:
        """What changed after that time, cells that lost their last result included; None when nothing did."""
        cells = {name: image for name, image in self.cells.items() if image.changed_ms > milliseconds}
        return Patch(self.view, batch, cells) if cells else None


class Renderer:
    """Encodes cells; knows the assessments."""

    def __init__(self, assessments: AssessmentLookup) -> None:
        self._assessments = assessments
        self._strange: set[CellField] = set()

    def image(self, field_name: CellField, merged: MergedCell, visibility: VisibilityClass) -> CellImage:
        """A cell as one visibility class sees it."""
        match visibility:
            case VisibilityClass.EXACT:
                name = cell_name(field_name)
                shown = figures(merged.cell, self._assessment(field_name), name, merged.changed_ms)
        return CellImage(merged.cell.version, merged.changed_ms, merged.cell.results, _encode(shown))

    def _assessment(self, field_name: CellField) -> Assessment:
        name = cell_name(field_name)
        try:
            return self._assessments(name.school_year, name.test, name.grade)
        except UnknownAssessment:
            # A worker with a newer registry wrote it. The figures are right; only their names are not known here yet.
            if field_name not in self._strange:
                self._strange.add(field_name)
                logger.warning("cell of an assessment that this registry does not have cell=%s", field_name)
            return Assessment(
                test=name.test,
                name=name.test,
                subject="ELA",
                kind="SUM",
                school_year=name.school_year,
                grades=(name.grade,),
                levels=tuple(f"Level {level}" for level in range(1, LEVELS + 1)),
                cuts=(),
                score_range=None,
            )


def whole_fragment(organization: OrganizationSummary, shown: Iterable[CellImage]) -> bytes:
    """``{"id", "name", "level", "cells": [...]}``"""
    return b'%s,"cells":[%s]}' % (_encode(organization)[:-1], b",".join(image.encoded for image in shown))


def put_frames(snapshots: Sequence[Snapshot]) -> list[bytes]:
    """Everything of these views: one frame, or several when it is much.

    A put replaces all that a subscriber has of the organizations that it names. Only the last frame carries an id: a
    connection that breaks between two has not got everything up to it.
    """
    frames: list[bytes] = []
    stale = any(snapshot.stale for snapshot in snapshots)
    for start, end in _chunks([len(snapshot.fragment) for snapshot in snapshots]):
        some = snapshots[start:end]
        cursor = min((snapshot.cursor for snapshot in snapshots), key=lambda cursor: cursor.milliseconds)
        data = put_data([snapshot.fragment for snapshot in some], cursor, stale=stale)
        frames.append(sse.frame("put", data, event_id=str(cursor) if end == len(snapshots) else None))
    return frames


def put_data(fragments: Sequence[bytes], cursor: sse.Cursor, *, stale: bool) -> bytes:
    """The body of a put, and of the answer to a plain GET."""
    return b'{%s,"generation":"%s","as_of":"%s","organizations":[%s]}' % (
        _caution(stale),
        cursor.generation.encode(),
        rfc3339(cursor.milliseconds).encode(),
        b",".join(fragments),
    )


def patch_frame(patches: Sequence[Patch]) -> bytes:
    """One frame of some patches; subscribers to the same views share its bytes."""
    batch = max((patch.batch for patch in patches), key=lambda batch: batch.tick)
    key = tuple(patches)
    made = batch.frames.get(key)
    if made is None:
        data = b'{%s,"as_of":"%s","organizations":[%s]}' % (
            _caution(batch.stale),
            rfc3339(batch.cursor.milliseconds).encode(),
            b",".join(patch.fragment() for patch in patches),
        )
        made = sse.frame("patch", data, event_id=str(batch.cursor))
        if all(patch.batch is batch for patch in patches):
            batch.frames[key] = made
    return made


def progress_frame(
    complete_ms: int | None, as_of_ms: int | None, *, live: bool, stale: bool = False
) -> bytes:
    """How far the data are complete and how far they were read.

    ``live`` is false while the tables are away; ``stale`` is there, and true, while older results are missing from them.
    """
    data = {
        "complete": None if complete_ms is None else rfc3339(complete_ms),
        "as_of": None if as_of_ms is None else rfc3339(as_of_ms),
        "live": live,
    }
    if stale:
        data["stale"] = True
    return sse.frame("progress", _encode(data))


def _caution(stale: bool) -> bytes:
    """What every message with figures begins with."""
    return b'"preliminary":true,"stale":true' if stale else b'"preliminary":true'


def _chunks(sizes: Sequence[int]) -> Iterable[tuple[int, int]]:
    start = held = 0
    for position, size in enumerate(sizes):
        if held and held + size > PUT_BYTES:
            yield start, position
            start, held = position, 0
        held += size
    yield start, len(sizes)


def _order(item: tuple[CellField, CellImage]) -> tuple[int, str, int]:
    """The latest year first, then by test and grade."""
    name = cell_name(item[0])
    return -name.school_year, name.test, GRADE_NUMBER.get(name.grade, -1)
