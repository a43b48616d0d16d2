"""Which rows a visibility class sees: by the release states of the districts, and nothing else; pure.

A row is one cell of one district: a school year, test and grade. What a class sees *at and below* the district is decided
by that district's state. *Above* it, it sees what the districts come to of which it sees the row: all of them, some, or
none. Interim results are never withheld. A test that the registry does not have may be anything, so it is withheld from
all but those who see everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from schemas.access.permissions import VisibilityClass
from schemas.aggregates import CellField, cell_name
from schemas.assessments import AssessmentLookup
from schemas.errors import UnknownAssessment
from schemas.identifiers import (
    CANARY_COUNTY,
    STATE,
    OrganizationId,
    OrganizationLevel,
    ancestry,
    county_of,
    district_of,
    is_canary,
    level_of,
)
from schemas.organization_list import OrganizationList
from schemas.releases import Releases, ReleaseState, is_withheld_before_release

_ABOVE: Final = (OrganizationLevel.COUNTY, OrganizationLevel.STATE)
# Classes that see exact figures of some states only, so that their totals may be of some districts only.
SUMMED: Final = (VisibilityClass.EXACT_REVIEWING, VisibilityClass.EXACT_RELEASED)


class Rows(Enum):
    """Of how many of the districts below, a class sees the row."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


class _Withheld(Enum):
    """What decides about a test's results, where no district's state does."""

    NEVER = "never"
    UNKNOWN = "unknown"


def is_above_districts(organization: OrganizationId) -> bool:
    """Whether an organization is a county or the state."""
    return level_of(organization) in _ABOVE


def is_summed(organization: OrganizationId, visibility: VisibilityClass) -> bool:
    """Whether a class's figures of an organization may have to be added up from those of its districts."""
    return visibility in SUMMED and is_above_districts(organization)


class Visibility:
    """What each class sees, under one version of the release states and of the directory."""

    __slots__ = ("_assessments", "_districts", "_known", "_organizations", "_releases", "_subjects")

    def __init__(
        self, releases: Releases, organizations: OrganizationList, assessments: AssessmentLookup
    ) -> None:
        self._releases = releases
        self._organizations = organizations
        self._assessments = assessments
        self._subjects: dict[CellField, str | _Withheld] = {}
        # The districts that there may be rows of; a state may be set before a district is in the directory, or after.
        self._known = sorted(
            {key.district for key, _ in releases}.union(
                organizations.below(STATE, OrganizationLevel.DISTRICT)
            ).union(organizations.below(CANARY_COUNTY, OrganizationLevel.DISTRICT))
        )
        self._districts: dict[
            tuple[OrganizationId, VisibilityClass, int, str], tuple[Rows, frozenset[OrganizationId]]
        ] = {}

    def sees(self, visibility: VisibilityClass, organization: OrganizationId, field: CellField) -> bool:
        """Whether a class sees a cell of a school or district; of a county or the state, whether it sees any of it."""
        if visibility.lowest is ReleaseState.LOADING:
            return True
        subject = self._subject(field)
        if isinstance(subject, _Withheld):
            return subject is _Withheld.NEVER
        if is_above_districts(organization):
            return self.rows(visibility, organization, field) is not Rows.NONE
        year = cell_name(field).school_year
        return self._releases.state(year, district_of(organization), subject) >= visibility.lowest

    def rows(self, visibility: VisibilityClass, organization: OrganizationId, field: CellField) -> Rows:
        """How much of a county's or the state's cell a class sees."""
        return self._part(visibility, organization, field)[0]

    def districts(
        self, visibility: VisibilityClass, organization: OrganizationId, field: CellField
    ) -> frozenset[OrganizationId]:
        """The districts to add up where a class sees the row of some of them; empty where it sees all or none."""
        return self._part(visibility, organization, field)[1]

    def _part(
        self, visibility: VisibilityClass, organization: OrganizationId, field: CellField
    ) -> tuple[Rows, frozenset[OrganizationId]]:
        subject = self._subject(field)
        if visibility.lowest is ReleaseState.LOADING or subject is _Withheld.NEVER:
            return Rows.ALL, frozenset()
        if isinstance(subject, _Withheld):
            return Rows.NONE, frozenset()
        year = cell_name(field).school_year
        key = (organization, visibility, year, subject)
        part = self._districts.get(key)
        if part is None:
            below = self._below(organization)
            seen = frozenset(
                district
                for district in below
                if self._releases.state(year, district, subject) >= visibility.lowest
            )
            # Without any district, it is the state of what is not listed that decides.
            whole = len(seen) == len(below) and (bool(below) or self._releases.unlisted >= visibility.lowest)
            part = (Rows.ALL, frozenset()) if whole else (Rows.SOME, seen) if seen else (Rows.NONE, seen)
            self._districts[key] = part
        return part

    def _below(self, organization: OrganizationId) -> list[OrganizationId]:
        return [district for district in self._known if organization in ancestry(district)]

    def _subject(self, field: CellField) -> str | _Withheld:
        found = self._subjects.get(field)
        if found is None:
            name = cell_name(field)
            try:
                assessment = self._assessments(*name)
            except UnknownAssessment:
                found = _Withheld.UNKNOWN
            else:
                withheld = is_withheld_before_release(assessment)
                found = assessment.subject if withheld else _Withheld.NEVER
            self._subjects[field] = found
        return found


def affected(districts: Iterable[OrganizationId]) -> Callable[[OrganizationId], bool]:
    """Whether an organization is one of these districts, is in one, or has one in it."""
    named = frozenset(districts)
    counties = {county_of(district) for district in named}

    def is_affected(organization: OrganizationId) -> bool:
        if organization == STATE:
            return not all(map(is_canary, named))
        if is_above_districts(organization):
            return organization in counties
        return district_of(organization) in named

    return is_affected
