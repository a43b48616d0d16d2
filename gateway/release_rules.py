"""Who may move a district's release state: pure, and complete in the table of ``tests/unit/test_release_rules.py``."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.access.permissions import Permission, Rights
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, level_of
from schemas.releases import ReleaseState

# Each step between two neighbouring states has one office, in both directions.
_STEPS: Final = (
    (ReleaseState.LOADING, ReleaseState.REVIEWING, Permission.TEST_DATA_LOADING_WRITE),
    (ReleaseState.REVIEWING, ReleaseState.RELEASED, Permission.TEST_DATA_REVIEWING_WRITE),
)
# Whoever has one of these at a district may know how far its results have come.
_KNOWN_TO: Final = (
    Permission.TEST_DATA_LOADING_READ,
    Permission.TEST_DATA_LOADING_WRITE,
    Permission.TEST_DATA_REVIEWING_READ,
    Permission.TEST_DATA_REVIEWING_WRITE,
    Permission.CUSTOM_AGGREGATE_READ,
)


class Verdict(NamedTuple):
    """Whether somebody may make a change, and if not, why.

    Attributes:
        needed: the permissions that this change takes.
        missing: those of them that are not held at the district.
        divided: the caller is a loader and a district's reviewer in one, and such a one changes nothing.
    """

    needed: tuple[Permission, ...]
    missing: tuple[Permission, ...]
    divided: bool

    @property
    def allowed(self) -> bool:
        """Whether the change may be made."""
        return not self.missing and not self.divided


def may_change(
    rights: Rights, district: OrganizationId, before: ReleaseState, after: ReleaseState
) -> Verdict:
    """Whether these rights move a district's results from one state to another.

    Loading and Reviewing are the loader's step, Reviewing and Released the reviewer's, in either direction; Loading and
    Released are both. What is held at a district (or county) holds there and nowhere else. What changes nothing takes
    nothing.
    """
    low, high = sorted((before, after))
    needed = tuple(permission for lower, upper, permission in _STEPS if low <= lower and upper <= high)
    missing = tuple(permission for permission in needed if not rights.covers(permission, district))
    return Verdict(needed, missing, bool(needed) and is_loader_and_district_reviewer(rights))


def is_loader_and_district_reviewer(rights: Rights) -> bool:
    """Whether somebody who loads test data is also the reviewer of single districts, though not of the state.

    Of the two offices one checks the other for the district; the state's own staff hold both.
    """
    reviewed = rights.scopes.get(Permission.TEST_DATA_REVIEWING_WRITE, frozenset())
    return (
        rights.anywhere(Permission.TEST_DATA_LOADING_WRITE)
        and STATE not in reviewed
        and any(level_of(organization) is not OrganizationLevel.SCHOOL for organization in reviewed)
    )


def may_know(rights: Rights, district: OrganizationId) -> bool:
    """Whether a district's release states are shown to somebody."""
    return any(rights.covers(permission, district) for permission in _KNOWN_TO)
