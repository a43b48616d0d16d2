"""Roles: which permissions each one carries, and what somebody's grants therefore come to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.permissions import Grant, GroupGrant, Permission, Rights
from schemas.identifiers import OrganizationId

READER_ROLE: Final = "PII"
MASKED_READER_ROLE: Final = "CUSTOM_AGGREGATE_REPORTER"
IMPORT_ROLE: Final = "ASMTDATALOAD"

_SANDBOX: Final = frozenset(
    {
        Permission.INDIVIDUAL_PII_READ,
        Permission.GROUP_PII_READ,
        Permission.GROUP_READ,
        Permission.CUSTOM_AGGREGATE_READ,
    }
)

# The names of RDW and TOMS, so that a deployment there has nothing to configure.
ROLE_PERMISSIONS: Final[Mapping[str, frozenset[Permission]]] = {
    IMPORT_ROLE: frozenset({Permission.DATA_WRITE}),
    READER_ROLE: _SANDBOX,
    "PII_GROUP": frozenset({Permission.GROUP_PII_READ, Permission.GROUP_READ}),
    "GROUP_ADMIN": frozenset({Permission.GROUP_READ, Permission.GROUP_WRITE}),
    MASKED_READER_ROLE: frozenset({Permission.CUSTOM_AGGREGATE_READ}),
    "EMBARGO_ADMIN": frozenset({Permission.TEST_DATA_REVIEWING_READ}),
    "EMBARGO_ADMIN_RELEASED": frozenset(
        {Permission.TEST_DATA_REVIEWING_READ, Permission.TEST_DATA_REVIEWING_WRITE}
    ),
    "DevOps": frozenset(
        {
            Permission.TEST_DATA_LOADING_READ,
            Permission.TEST_DATA_LOADING_WRITE,
            Permission.TEST_DATA_REVIEWING_READ,
            Permission.TEST_DATA_REVIEWING_WRITE,
            Permission.OPERATIONS_READ,
        }
    ),
    "SandboxSchoolAdmin": _SANDBOX,
    "SandboxDistrictAdmin": _SANDBOX
    | {
        Permission.GROUP_WRITE,
        Permission.TEST_DATA_REVIEWING_READ,
        Permission.TEST_DATA_REVIEWING_WRITE,
    },
    "PRIVACY_OFFICER": frozenset({Permission.AUDIT_READ, Permission.TOKEN_REVOKE}),
}


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles and groups of a deployment."""

    permissions: Mapping[str, frozenset[Permission]] = field(default_factory=lambda: ROLE_PERMISSIONS)
    groups: Mapping[str, Collection[OrganizationId]] = field(default_factory=dict)

    def rights(self, grants: Iterable[Grant | GroupGrant]) -> Rights:
        """What these grants come to."""
        scopes: dict[Permission, set[OrganizationId]] = {}
        for grant in grants:
            where = (
                self.groups.get(grant.group, ()) if isinstance(grant, GroupGrant) else (grant.organization,)
            )
            for permission in self.permissions.get(grant.role, ()):
                scopes.setdefault(permission, set()).update(where)
        return Rights({permission: frozenset(held) for permission, held in scopes.items()})


BUILT_IN_ROLES: Final = Roles()
