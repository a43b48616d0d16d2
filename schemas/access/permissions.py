"""Who may do what with which organization: pure decisions about a token's grants.

A grant is a role at an organization, or at a group of organizations, and holds for everything below. Grants add up.
Whatever is not granted is refused, and a role that nobody has defined grants nothing (``schemas.access.roles``).

Permissions come at three levels that never stand in for each other: for results of single students, for groups of
students, and for aggregates. ``docs/permissions.md`` shows what follows from all this, as these functions decide it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from msgspec import Struct

from schemas.errors import ScoreStreamError
from schemas.identifiers import OrganizationId, ancestry
from schemas.releases import ReleaseState


class Permission(StrEnum):
    """What a role allows, in the state's names; the last five are this service's own."""

    DATA_WRITE = "DATA_WRITE"
    INDIVIDUAL_PII_READ = "INDIVIDUAL_PII_READ"
    GROUP_PII_READ = "GROUP_PII_READ"
    GROUP_READ = "GROUP_READ"
    GROUP_WRITE = "GROUP_WRITE"
    CUSTOM_AGGREGATE_READ = "CUSTOM_AGGREGATE_READ"
    TEST_DATA_LOADING_READ = "TEST_DATA_LOADING_READ"
    TEST_DATA_LOADING_WRITE = "TEST_DATA_LOADING_WRITE"
    TEST_DATA_REVIEWING_READ = "TEST_DATA_REVIEWING_READ"
    TEST_DATA_REVIEWING_WRITE = "TEST_DATA_REVIEWING_WRITE"
    TEACHER_GROUP_READ = "TEACHER_GROUP_READ"
    TEACHER_GROUP_WRITE = "TEACHER_GROUP_WRITE"
    AUDIT_READ = "AUDIT_READ"
    TOKEN_REVOKE = "TOKEN_REVOKE"
    OPERATIONS_READ = "OPERATIONS_READ"
    WEBHOOKS_MANAGE = "WEBHOOKS_MANAGE"
    OPERATIONS_CANARY = "OPERATIONS_CANARY"


GROUP_LEVEL: Final = frozenset(
    {
        Permission.GROUP_PII_READ,
        Permission.GROUP_READ,
        Permission.GROUP_WRITE,
        Permission.TEACHER_GROUP_READ,
        Permission.TEACHER_GROUP_WRITE,
    }
)
"""What can be held for a group of students alone. It opens no school's aggregates: those are of other students, too."""


class VisibilityClass(StrEnum):
    """What a viewer sees of an organization it may see. Part of the key of every encoded frame.

    *Exact*: figures as they are, live, of what has reached a release state. For whoever may see the individual results
    of all students there. *Masked*: figures of what is released, after disclosure control. For everybody else.
    """

    EXACT_LOADING = "exact-loading"
    EXACT_REVIEWING = "exact-reviewing"
    EXACT_RELEASED = "exact-released"
    MASKED = "masked"

    @property
    def lowest(self) -> ReleaseState:
        """The earliest release state whose results are seen."""
        return _LOWEST[self]


_LOWEST: Final[Mapping[VisibilityClass, ReleaseState]] = {
    VisibilityClass.EXACT_LOADING: ReleaseState.LOADING,
    VisibilityClass.EXACT_REVIEWING: ReleaseState.REVIEWING,
    VisibilityClass.EXACT_RELEASED: ReleaseState.RELEASED,
    VisibilityClass.MASKED: ReleaseState.RELEASED,
}


class Grant(Struct, frozen=True, tag="at"):
    """A role at an organization and everything below it."""

    role: str
    organization: OrganizationId


class GroupKind(StrEnum):
    """What a group is of."""

    DISTRICTS = "districts"
    SCHOOLS = "schools"
    STUDENTS = "students"


class GroupGrant(Struct, frozen=True, tag="for", omit_defaults=True):
    """A role at a group of districts, schools or students.

    With a kind it means a group of that kind only: where two systems name groups, ids are not everybody's.
    """

    role: str
    group: str
    kind: GroupKind | None = None


class Forbidden(ScoreStreamError):
    """Not permitted, or there is no such organization: the answer is the same for both, to the byte."""

    def __init__(self) -> None:
        super().__init__("There is no such organization, or this token does not open it.")


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody's grants come to: for each permission the organizations at whose root it holds.

    Attributes:
        student_groups: for each permission of groups, the groups of students for which it holds beyond that.
    """

    scopes: Mapping[Permission, frozenset[OrganizationId]]
    student_groups: Mapping[Permission, frozenset[str]] = field(default_factory=dict)

    def covers(self, permission: Permission, organization: OrganizationId) -> bool:
        """Whether a permission holds at an organization.

        A district's grant holds for the district and its schools: no other district, and neither county nor state. One for the
        state does not reach the canary's county.
        """
        held = self.scopes.get(permission)
        return held is not None and any(above in held for above in ancestry(organization))

    def touches(self, permission: Permission, organization: OrganizationId) -> bool:
        """Whether a permission holds at an organization, or at any below it."""
        held = self.scopes.get(permission, frozenset())
        return self.covers(permission, organization) or any(organization in ancestry(one) for one in held)

    def anywhere(self, permission: Permission) -> bool:
        """Whether a permission holds at any organization."""
        return bool(self.scopes.get(permission))

    def visibility(self, organization: OrganizationId) -> VisibilityClass | None:
        """How an organization's aggregates are shown; None when not at all.

        Unreleased results count in a county's or the state's figures only for those who hold the permission to see them
        for the whole county or state: so the same rule does for every level.
        """
        if not self.covers(Permission.CUSTOM_AGGREGATE_READ, organization):
            return None
        if not self.covers(Permission.INDIVIDUAL_PII_READ, organization):
            return VisibilityClass.MASKED
        if self.covers(Permission.TEST_DATA_LOADING_READ, organization):
            return VisibilityClass.EXACT_LOADING
        if self.covers(Permission.TEST_DATA_REVIEWING_READ, organization):
            return VisibilityClass.EXACT_REVIEWING
        return VisibilityClass.EXACT_RELEASED

    def holdings(self) -> dict[Permission, list[OrganizationId]]:
        """For each permission held, where: the fewest organizations that say it, in the order of their codes."""
        return {
            permission: sorted(
                organization for organization in held if not held.intersection(ancestry(organization)[1:])
            )
            for permission in Permission
            if (held := self.scopes.get(permission))
        }

    def visible_among(self, organizations: Iterable[OrganizationId]) -> list[OrganizationId]:
        """Those whose aggregates are shown, in the given order."""
        return [
            organization
            for organization in organizations
            if self.covers(Permission.CUSTOM_AGGREGATE_READ, organization)
        ]


NO_RIGHTS: Final = Rights({})
