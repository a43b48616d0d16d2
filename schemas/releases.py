"""Release states: how far a district's results of one year and subject have come on their way to the public.

Who sees what in which state is the viewer's permission (``gateway.permissions``); here is only what state there is.
Interim results are never withheld, so there are no states for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from schemas.assessments import Assessment
from schemas.events import CdsCode
from schemas.identifiers import OrganizationId


class ReleaseState(IntEnum):
    """How far results have come; whoever sees those of a state sees those of all later ones."""

    LOADING = 0
    REVIEWING = 1
    RELEASED = 2


class Report(StrEnum):
    """What is released: results of single students, or aggregates. Each has a state of its own."""

    INDIVIDUAL = "individual"
    AGGREGATE = "aggregate"


class ReleaseKey(NamedTuple):
    """What has a release state."""

    school_year: int
    district: OrganizationId
    subject: str
    report: Report


class ReleaseEntry(Struct, frozen=True, gc=False, kw_only=True):
    """One entry of the releases topic: the state from now on; keyed by year, district, subject and report."""

    school_year: Annotated[int, Meta(ge=2000, le=2199)]
    district: CdsCode
    subject: Annotated[str, Meta(min_length=1, max_length=40)]
    report: Literal["individual", "aggregate"]
    state: Literal["loading", "reviewing", "released"]

    @property
    def key(self) -> ReleaseKey:
        """What it is about."""
        return ReleaseKey(self.school_year, OrganizationId(self.district), self.subject, Report(self.report))


class Releases:
    """One version of all release states. What has no entry is in ``unlisted``, by the state's rules Loading."""

    __slots__ = ("_states", "changed_ms", "unlisted", "version")

    def __init__(
        self,
        states: Mapping[ReleaseKey, ReleaseState],
        *,
        version: int = 0,
        changed_ms: int = 0,
        unlisted: ReleaseState = ReleaseState.LOADING,
    ) -> None:
        """``version`` grows with every change; ``changed_ms`` is when the last one was (Redis time)."""
        self._states = dict(states)
        self.version = version
        self.changed_ms = changed_ms
        self.unlisted = unlisted

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[tuple[ReleaseKey, ReleaseState]]:
        return iter(sorted(self._states.items()))

    def state(
        self, school_year: int, district: OrganizationId, subject: str, report: Report = Report.AGGREGATE
    ) -> ReleaseState:
        """The state of one district's results."""
        return self._states.get(ReleaseKey(school_year, district, subject, report), self.unlisted)

    def changed_since(self, earlier: Releases) -> set[ReleaseKey]:
        """What has another state than in an earlier version."""
        keys = self._states.keys() | earlier._states.keys()
        return {key for key in keys if self.state(*key) is not earlier.state(*key)}


NO_RELEASES: Final = Releases({})


def is_withheld_before_release(assessment: Assessment) -> bool:
    """Whether an assessment's results have release states at all: summative ones have, interims have not."""
    return assessment.kind == "SUM"
