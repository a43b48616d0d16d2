"""Release states: how far a district's results of one year and subject have come on their way to the public.

Who sees what in which state is the viewer's permission (``schemas.access.permissions``); here is only what state there is.
Interim results are never withheld, so there are no states for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple, get_args

import msgspec

from schemas.assessment_definitions import Subject
from schemas.assessments import Assessment
from schemas.events import ReleaseEntry, decode_release
from schemas.identifiers import OrganizationId

SUBJECTS: Final[tuple[str, ...]] = get_args(Subject)


class ReleaseState(IntEnum):
    """How far results have come; whoever sees those of a state sees those of all later ones."""

    LOADING = 0
    REVIEWING = 1
    RELEASED = 2

    @property
    def word(self) -> str:
        """As it is written: ``loading``, ``reviewing``, ``released``."""
        return self.name.lower()


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

    @property
    def path(self) -> str:
        """As the topic's and the table's keys have it: ``2026/19647330000000/Math/aggregate``."""
        return f"{self.school_year}/{self.district}/{self.subject}/{self.report}"


def state_named(name: str) -> ReleaseState:
    """The state that ``loading``, ``reviewing`` or ``released`` names.

    Raises:
        KeyError: it names none.
    """
    return ReleaseState[name.upper()]


def release_entry(key: ReleaseKey, state: ReleaseState) -> ReleaseEntry:
    """The topic's entry that gives a key this state.

    Raises:
        msgspec.ValidationError: the key names no year, district or subject that can have one.
    """
    fields = key._asdict() | {"state": state.word}
    return msgspec.convert(fields, ReleaseEntry)


def decode_release_entry(entry: bytes) -> tuple[ReleaseKey, ReleaseState]:
    """What a stored entry is about, and the state it gives.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: it is no entry.
    """
    read = decode_release(entry)
    key = ReleaseKey(read.school_year, OrganizationId(read.district), read.subject, Report(read.report))
    return key, state_named(read.state)


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

    def withholds(self, lowest: ReleaseState) -> bool:
        """Whether anything is, or could be, in an earlier state than ``lowest``."""
        return self.unlisted < lowest or any(state < lowest for state in self._states.values())

    def changed_since(self, earlier: Releases) -> set[ReleaseKey]:
        """What has another state than in an earlier version."""
        keys = self._states.keys() | earlier._states.keys()
        return {key for key in keys if self.state(*key) is not earlier.state(*key)}


NO_RELEASES: Final = Releases({})


def releases_from(
    entries: Mapping[bytes, bytes], *, version: int, changed_ms: int, unlisted: ReleaseState
) -> Releases:
    """The release states as the table holds them.

    Args:
        entries: the whole hash ``schemas.keys.RELEASES``.
        version: ``schemas.keys.RELEASES_VERSION``, 0 when there is none.
        changed_ms: ``schemas.keys.RELEASES_CHANGED_MS``, 0 when there is none.
        unlisted: the state of what has no entry; a deployment's setting.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: something else than the stream worker has written there. Nothing may be
            shown by it: it might say Released of what is not.
    """
    states = dict(map(decode_release_entry, entries.values()))
    return Releases(states, version=version, changed_ms=changed_ms, unlisted=unlisted)


def is_withheld_before_release(assessment: Assessment) -> bool:
    """Whether an assessment's results have release states at all: summative ones have, interims have not."""
    return assessment.kind == "SUM"
