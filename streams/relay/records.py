"""The relay's records, ready for Kafka; pure.

An organization's records go to one partition of each topic, by its code, so they have one order. Values are absolute, so
that only the last of each key matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zlib import crc32

from schemas.aggregate_changes import (
    CELL_CHANGE_TYPE,
    PUBLISHED_CHANGE_TYPE,
    RESULT_CHANGE_TYPE,
    CellChange,
    ResultChange,
    encode_change,
)
from schemas.aggregates import CellField, cell_name
from schemas.assessments import AssessmentLookup
from schemas.changes import ResultNote
from schemas.disclosure.published import PublishedCell
from schemas.events import cloud_event_headers
from schemas.figures import Figures, figures, masked_figures
from schemas.identifiers import OrganizationId
from schemas.keys import Generation
from schemas.merged_cells import MergedCell
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES

_SOURCE: Final = "scores/relay"
OF_NO_GENERATION: Final = Generation("")  # published tables outlive every generation


class Outgoing(NamedTuple):
    """One record."""

    topic: str
    organization: OrganizationId
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]

    def partition(self, partitions: Mapping[str, int]) -> int:
        """Of the topic, which has so many."""
        return crc32(self.organization.encode()) % partitions[self.topic]


def exact_record(
    organization: OrganizationId,
    field: CellField,
    merged: MergedCell,
    generation: Generation,
    assessments: AssessmentLookup,
) -> Outgoing:
    """A cell as it is now.

    Raises:
        UnknownAssessment: the registry does not know the cell's test.
    """
    name, cell = cell_name(field), merged.cell
    shown = figures(cell, assessments(*name), name, merged.changed_ms) if cell.results else None
    return _cell_record(
        AGGREGATE_CHANGES, organization, field, generation, cell.version, merged.changed_ms, shown
    )


def published_record(
    organization: OrganizationId, field: CellField, published: PublishedCell, assessments: AssessmentLookup
) -> Outgoing:
    """A published cell as it is now.

    Raises:
        UnknownAssessment: the registry does not know the cell's test.
    """
    version, changed_ms, cell = published
    name = cell_name(field)
    shown = masked_figures(cell, assessments(*name), name, version, changed_ms)
    return _cell_record(PUBLISHED_CHANGES, organization, field, OF_NO_GENERATION, version, changed_ms, shown)


def gone_record(
    topic: str, organization: OrganizationId, field: CellField, generation: Generation, changed_ms: int
) -> Outgoing:
    """A cell that is no more: its figures are null, and it has no version."""
    return _cell_record(topic, organization, field, generation, 0, changed_ms, None)


def result_record(note: ResultNote, partition: int, changed_ms: int) -> Outgoing:
    """An exam whose counted result is another now; ``partition`` is that of its event."""
    change = ResultChange(
        id=f"{partition}-{note.offset}",
        kind=note.kind,
        organization=note.school,
        assessment_id=note.assessment_id,
        opportunity_id=note.opportunity_id,
        school_year=note.school_year,
        status_date=note.status_date,
        changed_ms=changed_ms,
    )
    headers = cloud_event_headers(RESULT_CHANGE_TYPE, change.id, _SOURCE, _moment(changed_ms))
    return Outgoing(RESULT_CHANGES, note.school, note.school.encode(), encode_change(change), headers)


def _cell_record(
    topic: str,
    organization: OrganizationId,
    field: CellField,
    generation: Generation,
    version: int,
    changed_ms: int,
    shown: Figures | None,
) -> Outgoing:
    change = CellChange(
        organization=organization,
        cell=field,
        generation=generation,
        version=version,
        changed_ms=changed_ms,
        figures=shown,
    )
    key = f"{organization}/{field}"
    kind = CELL_CHANGE_TYPE if topic == AGGREGATE_CHANGES else PUBLISHED_CHANGE_TYPE
    headers = cloud_event_headers(kind, f"{key}/{version}.{changed_ms}", _SOURCE, _moment(changed_ms))
    return Outgoing(topic, organization, key.encode(), encode_change(change), headers)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
