"""The roles that need no configuration: those of the reporting warehouse, those of TOMS, and two of our own.

A role's levels are where it may be granted; a role without an entry there, anywhere. A coordinator's role at the state
is a mistake of whoever granted it, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.access.permissions import Permission
from schemas.identifiers import OrganizationLevel

READER_ROLE: Final = "PII"
MASKED_READER_ROLE: Final = "CUSTOM_AGGREGATE_REPORTER"
IMPORT_ROLE: Final = "ASMTDATALOAD"
RELEASE_ROLE: Final = "DevOps"
CANARY_ROLE: Final = "CANARY"

_SANDBOX: Final = frozenset(
    {
        Permission.INDIVIDUAL_PII_READ,
        Permission.GROUP_PII_READ,
        Permission.GROUP_READ,
        Permission.CUSTOM_AGGREGATE_READ,
    }
)
_REVIEWER: Final = frozenset({Permission.TEST_DATA_REVIEWING_READ, Permission.TEST_DATA_REVIEWING_WRITE})

_WAREHOUSE: Final[Mapping[str, frozenset[Permission]]] = {
    IMPORT_ROLE: frozenset({Permission.DATA_WRITE}),
    READER_ROLE: _SANDBOX,
    "PII_GROUP": frozenset({Permission.GROUP_PII_READ, Permission.GROUP_READ}),
    "GROUP_ADMIN": frozenset({Permission.GROUP_READ, Permission.GROUP_WRITE}),
    MASKED_READER_ROLE: frozenset({Permission.CUSTOM_AGGREGATE_READ}),
    "EMBARGO_ADMIN": frozenset({Permission.TEST_DATA_REVIEWING_READ}),
    "EMBARGO_ADMIN_RELEASED": _REVIEWER,
    "EMBARGO_ADMIN_RELEASE": _REVIEWER,  # the documents have the one name, the code the other
    RELEASE_ROLE: frozenset(
        {
            Permission.TEST_DATA_LOADING_READ,
            Permission.TEST_DATA_LOADING_WRITE,
            Permission.TEST_DATA_REVIEWING_READ,
            Permission.TEST_DATA_REVIEWING_WRITE,
            Permission.OPERATIONS_READ,
            Permission.WEBHOOKS_MANAGE,
        }
    ),
    "SandboxTeacher": frozenset({Permission.GROUP_PII_READ, Permission.GROUP_READ}),
    "SandboxSchoolAdmin": _SANDBOX,
    "SandboxDistrictAdmin": _SANDBOX | _REVIEWER | {Permission.GROUP_WRITE, Permission.WEBHOOKS_MANAGE},
}

_ALL_STUDENTS: Final = frozenset({Permission.INDIVIDUAL_PII_READ, Permission.CUSTOM_AGGREGATE_READ})
_LEA_COORDINATOR: Final = _SANDBOX | {Permission.GROUP_WRITE, Permission.WEBHOOKS_MANAGE}
_ASSIGNED_GROUPS: Final = frozenset(
    {
        Permission.GROUP_PII_READ,
        Permission.GROUP_READ,
        Permission.TEACHER_GROUP_READ,
        Permission.TEACHER_GROUP_WRITE,
    }
)
_NOTHING: Final[frozenset[Permission]] = frozenset()

# A charter school that is its own local educational agency has a school's code, so an LEA's roles can be held there.
_LEA: Final = frozenset({OrganizationLevel.DISTRICT, OrganizationLevel.SCHOOL})
_SITE: Final = frozenset({OrganizationLevel.SCHOOL})

_TOMS: Final[Mapping[str, tuple[frozenset[Permission], frozenset[OrganizationLevel]]]] = {
    "LEA CAASPP Coordinator": (_LEA_COORDINATOR, _LEA),
    "LEA ELPAC Coordinator": (_LEA_COORDINATOR, _LEA),
    "Superintendent": (_ALL_STUDENTS, _LEA),
    "Educator, District": (_ALL_STUDENTS, _LEA),
    "CAASPP Site Coordinator": (_ALL_STUDENTS, _SITE),
    "ELPAC Site Coordinator": (_ALL_STUDENTS, _SITE),
    "Educator, Test Site": (_ALL_STUDENTS, _SITE),
    "CAASPP Test Administrator": (_ASSIGNED_GROUPS, _SITE),
    "ELPAC Test Examiner": (_ASSIGNED_GROUPS, _SITE),
    "Educator, Roster": (_ASSIGNED_GROUPS, _SITE),
    # Named so that a token with one of them is understood, and seen to open nothing.
    "Interim Administrator Only": (_NOTHING, _SITE),
    "Data Entry": (_NOTHING, _LEA),
    "Correspondence": (_NOTHING, _LEA),
}

ROLE_PERMISSIONS: Final[Mapping[str, frozenset[Permission]]] = {
    **_WAREHOUSE,
    **{role: permissions for role, (permissions, _) in _TOMS.items()},
    "PRIVACY_OFFICER": frozenset({Permission.AUDIT_READ, Permission.TOKEN_REVOKE}),
    # Of the canary's own results all that a reporting system can do with them; ``Roles`` lets it be granted nowhere else.
    CANARY_ROLE: frozenset(
        {
            Permission.DATA_WRITE,
            Permission.INDIVIDUAL_PII_READ,
            Permission.CUSTOM_AGGREGATE_READ,
            Permission.WEBHOOKS_MANAGE,
            Permission.OPERATIONS_CANARY,
        }
    ),
}

ROLE_LEVELS: Final[Mapping[str, frozenset[OrganizationLevel]]] = {
    IMPORT_ROLE: frozenset({OrganizationLevel.STATE}),
    CANARY_ROLE: frozenset({OrganizationLevel.COUNTY}),
    **{role: levels for role, (_, levels) in _TOMS.items()},
}
