"""From cells to the bytes that stand for them: each cell encoded once a change, for everybody who sees it alike.

A *view* is an organization as one visibility class sees it through one filter; all who share it get the very same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from gateway import sse
from gateway.cell_filter import ALL_CELLS, CellFilter
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import CellField, cell_name
from schemas.assessments import Assessment, AssessmentLookup, unnamed_assessment
from schemas.disclosure.published import PublishedCell
from schemas.errors import UnknownAssessment
from schemas.figures import figures, masked_figures, rfc3339
from schemas.identifiers import GRADE_NUMBER, OrganizationId
from schemas.merged_cells import MergedCell
from schemas.organization_list import OrganizationSummary

logger = logging.getLogger(__name__)

_encode: Final = msgspec.json.Encoder().encode


class View(NamedTuple):
    """An organization as one visibility class sees it, through a filter."""

    organization: OrganizationId
    visibility: VisibilityClass
    cells: CellFilter = ALL_CELLS


class CellImage(NamedTuple):
    """One cell, encoded."""

    version: int
    changed_ms: int
    shown: bool  # it has results, or says that they are suppressed
    encoded: bytes

    def supersedes(self, other: CellImage | None) -> bool:
        """Whether this is later than ``other``.

        Either sign will do: versions grow with every change, but a rollback of Redis can hand one out twice; times grow
        unless a clock was set back.
        """
        return other is None or self.version > other.version or self.changed_ms > other.changed_ms


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A view as a whole; whatever changed up to ``cursor`` is in it."""

    cursor: sse.Cursor
    cells: Mapping[CellField, CellImage]
    organization: OrganizationSummary
    stale: bool = False  # older results were still missing from the tables

    def shown(self, wanted: Callable[[CellField], bool] = ALL_CELLS) -> list[CellImage]:
        """The wanted cells that have something to show, in order."""
        return shown_cells({name: image for name, image in self.cells.items() if wanted(name)})


class Renderer:
    """Encodes cells; knows the assessments."""

    def __init__(self, assessments: AssessmentLookup) -> None:
        self._assessments = assessments
        self._strange: set[CellField] = set()

    def image(self, field_name: CellField, merged: MergedCell) -> CellImage:
        """A cell as those see it who see exact figures; whether they may is not decided here."""
        said = figures(merged.cell, self._assessment(field_name), cell_name(field_name), merged.changed_ms)
        return CellImage(said.version, merged.changed_ms, said.shown, _encode(said))

    def masked_image(self, field_name: CellField, published: PublishedCell) -> CellImage:
        """A published cell, as everybody else sees it; also one that is suppressed."""
        version, changed_ms, cell = published
        name = cell_name(field_name)
        said = masked_figures(cell, self._assessment(field_name), name, version, changed_ms)
        return CellImage(version, changed_ms, said.shown, _encode(said))

    def _assessment(self, field_name: CellField) -> Assessment:
        name = cell_name(field_name)
        try:
            return self._assessments(name.school_year, name.test, name.grade)
        except UnknownAssessment:
            # A worker with a newer registry wrote it. The figures are right; only their names are not known here yet.
            if field_name not in self._strange:
                self._strange.add(field_name)
                logger.warning("cell of an assessment that this registry does not have cell=%s", field_name)
            return unnamed_assessment(name)


def whole_fragment(organization: OrganizationSummary, shown: Iterable[CellImage]) -> bytes:
    """``{"id", "name", "level", "cells": [...]}``"""
    return b'%s,"cells":[%s]}' % (_encode(organization)[:-1], b",".join(image.encoded for image in shown))


def patch_fragment(organization: OrganizationId, cells: Mapping[CellField, CellImage]) -> bytes:
    """``{"id": ..., "cells": [...]}``"""
    in_order = (image.encoded for _, image in sorted(cells.items(), key=_order))
    return b'{"id":"%s","cells":[%s]}' % (organization.encode(), b",".join(in_order))


def shown_cells(cells: Mapping[CellField, CellImage]) -> list[CellImage]:
    """The cells that have something to show, in order."""
    some = ((name, image) for name, image in cells.items() if image.shown)
    return [image for _, image in sorted(some, key=_order)]


def put_data(fragments: Sequence[bytes], cursor: sse.Cursor, *, stale: bool) -> bytes:
    """The body of a put, and of the answer to a plain GET."""
    return b'{%s,"generation":"%s","as_of":"%s","organizations":[%s]}' % (
        _caution(stale),
        cursor.generation.encode(),
        rfc3339(cursor.milliseconds).encode(),
        b",".join(fragments),
    )


def patch_data(fragments: Iterable[bytes], cursor: sse.Cursor, *, stale: bool) -> bytes:
    """The body of a patch."""
    return b'{%s,"as_of":"%s","organizations":[%s]}' % (
        _caution(stale),
        rfc3339(cursor.milliseconds).encode(),
        b",".join(fragments),
    )


def _caution(stale: bool) -> bytes:
    """What every message with figures begins with."""
    return b'"preliminary":true,"stale":true' if stale else b'"preliminary":true'


def _order(item: tuple[CellField, CellImage]) -> tuple[int, str, int]:
    """The latest year first, then by test and grade."""
    name = cell_name(item[0])
    return -name.school_year, name.test, GRADE_NUMBER.get(name.grade, -1)
