"""The research file of one test and year, read from the published tables a few organizations at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.problems import RETRY_AFTER_SECONDS
from gateway.research_file import ListedOrganization, ResearchLayout
from gateway.spreadsheets import csv_rows
from gateway.tables import Tables
from schemas.access.permissions import VisibilityClass
from schemas.access.visibility import Visibility
from schemas.aggregates import CellField, cell_field, cell_name
from schemas.assessments import Assessment, AssessmentLookup
from schemas.disclosure.published import PublishedCell
from schemas.errors import InvalidInput, UnknownAssessment
from schemas.figures import Figures, masked_figures
from schemas.identifiers import (
    GRADES,
    STATE,
    OrganizationId,
    OrganizationLevel,
    TestCode,
    district_of,
    level_of,
)
from schemas.organization_list import OrganizationList

_ORGANIZATIONS_AT_ONCE: Final = 200
# Statewide a file has some megabytes, and anybody may ask for one, and then not read it.
_FILES_AT_ONCE: Final = 2
_FILE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class ResearchFile:
    """What a file is about, and by which release states and names it is written."""

    school_year: int
    assessments: Mapping[CellField, Assessment]  # by cell: of each grade in which the test is given
    organizations: OrganizationList
    visibility: Visibility

    @classmethod
    def of(
        cls,
        school_year: int,
        test: TestCode,
        lookup: AssessmentLookup,
        organizations: OrganizationList,
        visibility: Visibility,
    ) -> ResearchFile:
        """The file of a test.

        Raises:
            InvalidInput: the test is not given in that year.
        """
        assessments: dict[CellField, Assessment] = {}
        for grade in GRADES:
            try:
                assessments[cell_field(school_year, test, grade)] = lookup(school_year, test, grade)
            except UnknownAssessment:
                continue
        if not assessments:
            raise InvalidInput(
                f"no test '{test}' is given in {school_year}; name one that is, such as ELA-SUM"
            )
        return cls(school_year, assessments, organizations, visibility)

    async def lines(self, tables: Tables) -> AsyncIterator[bytes]:
        """The file, a few organizations at a time, by code: so each stands right before those below it."""
        layout = ResearchLayout(next(iter(self.assessments.values())))
        yield csv_rows([layout.header()]).encode()
        listed = self.organizations.under(STATE)
        for first in range(0, len(listed), _ORGANIZATIONS_AT_ONCE):
            some = listed[first : first + _ORGANIZATIONS_AT_ONCE]
            found = await tables.read_published_cells([(one, list(self.assessments)) for one in some])
            rows = [
                row
                for one, cells in zip(some, found, strict=True)
                for row in layout.rows(self._listed(one), self._figures(one, cells))
            ]
            if rows:
                yield csv_rows(rows).encode()

    def _listed(self, organization: OrganizationId) -> ListedOrganization:
        known = self.organizations
        level = level_of(organization)
        if level is OrganizationLevel.SCHOOL:
            district = known.summary(district_of(organization)).name
            return ListedOrganization(
                organization, district, known.summary(organization).name, known.charter(organization)
            )
        is_district = level is OrganizationLevel.DISTRICT
        return ListedOrganization(organization, known.summary(organization).name if is_district else "", "")

    def _figures(
        self, organization: OrganizationId, cells: Mapping[CellField, PublishedCell]
    ) -> list[Figures]:
        return [
            masked_figures(cell.cell, self.assessments[name], cell_name(name), cell.version, cell.changed_ms)
            for name, cell in cells.items()
            # The publisher may be behind what was taken back just now.
            if self.visibility.sees(VisibilityClass.MASKED, organization, name)
        ]


class FileSlots:
    """How many files are written at once; who comes when all are taken is told to come again."""

    def __init__(self, slots: int = _FILES_AT_ONCE) -> None:
        self._free = slots

    def take(self) -> None:
        """Take one.

        Raises:
            HTTPException: all are taken.
        """
        if not self._free:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "others are being given research files just now; ask again in a few seconds",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._free -= 1

    def give_back(self) -> None:
        """It is free again."""
        self._free += 1


class FileResponse(StreamingResponse):
    """A file as it is written, for as long as its reader may take; breaks off after that, so that it looks unfinished."""

    def __init__(self, slots: FileSlots, lines: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(lines, media_type="text/csv; charset=utf-8", headers=headers)
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._slots.take()
        try:
            async with asyncio.timeout(_FILE_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._slots.give_back()
