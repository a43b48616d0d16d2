"""Roles: which permissions each one carries, and what somebody's grants therefore come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.access.known_roles import (
    CANARY_ROLE,
    IMPORT_ROLE,
    MASKED_READER_ROLE,
    READER_ROLE,
    RELEASE_ROLE,
    ROLE_LEVELS,
    ROLE_PERMISSIONS,
)
from schemas.access.permissions import GROUP_LEVEL, Grant, GroupGrant, GroupKind, Permission, Rights
from schemas.identifiers import OrganizationId, OrganizationLevel, is_canary, level_of

__all__ = [
    "BUILT_IN_ROLES",
    "CANARY_ROLE",
    "IMPORT_ROLE",
    "MASKED_READER_ROLE",
    "READER_ROLE",
    "RELEASE_ROLE",
    "ROLE_LEVELS",
    "ROLE_PERMISSIONS",
    "Group",
    "Roles",
]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of districts or schools, or of students at these schools.

    Which students is not known here: group files are read by other systems.
    """

    kind: GroupKind
    members: frozenset[OrganizationId]


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles and groups of a deployment.

    A role opens nothing where ``levels`` does not let it be granted, and a group only what its members are.
    """

    permissions: Mapping[str, frozenset[Permission]] = field(default_factory=lambda: ROLE_PERMISSIONS)
    levels: Mapping[str, frozenset[OrganizationLevel]] = field(default_factory=lambda: ROLE_LEVELS)
    groups: Mapping[str, Group] = field(default_factory=dict)

    def rights(self, grants: Iterable[Grant | GroupGrant]) -> Rights:
        """What these grants come to."""
        scopes: dict[Permission, set[OrganizationId]] = {}
        student_groups: dict[Permission, set[str]] = {}
        for grant in grants:
            permissions = self.permissions.get(grant.role, frozenset())
            if isinstance(grant, Grant):
                self._add(scopes, grant.role, permissions, (grant.organization,))
                continue
            group = self.groups.get(grant.group)
            if group is None or grant.kind not in (None, group.kind):
                continue
            if group.kind is not GroupKind.STUDENTS:
                self._add(scopes, grant.role, permissions, group.members)
            elif any(self.may_be_granted(grant.role, school) for school in group.members):
                for permission in permissions & GROUP_LEVEL:
                    student_groups.setdefault(permission, set()).add(grant.group)
        return Rights(
            {permission: frozenset(held) for permission, held in scopes.items()},
            {permission: frozenset(held) for permission, held in student_groups.items()},
        )

    def may_be_granted(self, role: str, organization: OrganizationId) -> bool:
        """Whether a role may be granted at an organization. One that may send canaries, in the canary's county only."""
        if self.is_canary(role) and not is_canary(organization):
            return False
        levels = self.levels.get(role)
        return levels is None or level_of(organization) in levels

    def is_canary(self, role: str) -> bool:
        """Whether a role is one that may send canaries."""
        return Permission.OPERATIONS_CANARY in self.permissions.get(role, ())

    def changed_since(self, earlier: Roles) -> tuple[str, ...]:
        """Which roles and groups are not as they were, one name each."""
        roles = self.permissions.keys() | earlier.permissions.keys()
        groups = self.groups.keys() | earlier.groups.keys()
        return (
            *(f"role {role}" for role in sorted(roles) if self._role(role) != earlier._role(role)),
            *(f"group {one}" for one in sorted(groups) if self.groups.get(one) != earlier.groups.get(one)),
        )

    def _role(self, role: str) -> tuple[frozenset[Permission] | None, frozenset[OrganizationLevel] | None]:
        return self.permissions.get(role), self.levels.get(role)

    def _add(
        self,
        scopes: dict[Permission, set[OrganizationId]],
        role: str,
        permissions: frozenset[Permission],
        organizations: Iterable[OrganizationId],
    ) -> None:
        where = [organization for organization in organizations if self.may_be_granted(role, organization)]
        if where:
            for permission in permissions:
                scopes.setdefault(permission, set()).update(where)


BUILT_IN_ROLES: Final = Roles()
