"""Who may see which organization, and who may load results: pure decisions about a token's grants.

A grant is a role at an organization and holds for everything below it. Grants add up. Whatever is not granted is
refused, and a role that is not listed here grants nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.errors import ScoreStreamError
from schemas.identifiers import STATE, OrganizationId, ancestry


class Permission(StrEnum):
    """What a role allows, in the state's names."""

    AGGREGATE_READ = "AGGREGATE_READ"
    DATA_WRITE = "DATA_WRITE"


READER_ROLE: Final = "CUSTOM_AGGREGATE_REPORTER"
IMPORT_ROLE: Final = "ASMTDATALOAD"

ROLE_PERMISSIONS: Final[dict[str, frozenset[Permission]]] = {
    READER_ROLE: frozenset({Permission.AGGREGATE_READ}),
    "PII": frozenset({Permission.AGGREGATE_READ}),
    "SandboxSchoolAdmin": frozenset({Permission.AGGREGATE_READ}),
    "SandboxDistrictAdmin": frozenset({Permission.AGGREGATE_READ}),
    IMPORT_ROLE: frozenset({Permission.DATA_WRITE}),
}


class VisibilityClass(StrEnum):
    """What a viewer sees of an organization it may see. Part of the key of every encoded frame."""

    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role at an organization and everything below it."""

    role: str
    organization: OrganizationId


class Forbidden(ScoreStreamError):
    """Not permitted, or there is no such organization: the answer is the same for both, to the byte."""

    def __init__(self) -> None:
        super().__init__("There is no such organization, or this token does not open it.")


def may_view(grants: Iterable[Grant], organization: OrganizationId) -> bool:
    """Whether these grants open an organization's aggregates.

    A district's grant opens the district and its schools: no other district, and neither county nor state.
    """
    return _granted(grants, Permission.AGGREGATE_READ, organization)


def may_import(grants: Iterable[Grant]) -> bool:
    """Whether these grants allow loading results; that takes a grant at state level."""
    return _granted(grants, Permission.DATA_WRITE, STATE)


def visibility(grants: Iterable[Grant], organization: OrganizationId) -> VisibilityClass | None:
    """How an organization is shown to the holder of these grants; None when not at all."""
    return visibility_by(grants)(organization)


def visibility_by(grants: Iterable[Grant]) -> Callable[[OrganizationId], VisibilityClass | None]:
    """As ``visibility``, for many organizations and the same grants."""
    opened = _organizations_with(grants, Permission.AGGREGATE_READ)
    return lambda organization: VisibilityClass.EXACT if _covered(organization, opened) else None


def visible_among(grants: Iterable[Grant], organizations: Iterable[OrganizationId]) -> list[OrganizationId]:
    """Those of ``organizations`` that these grants open, in the given order."""
    opened = _organizations_with(grants, Permission.AGGREGATE_READ)
    return [organization for organization in organizations if _covered(organization, opened)]


def _granted(grants: Iterable[Grant], permission: Permission, organization: OrganizationId) -> bool:
    return _covered(organization, _organizations_with(grants, permission))


def _organizations_with(grants: Iterable[Grant], permission: Permission) -> frozenset[OrganizationId]:
    return frozenset(
        grant.organization for grant in grants if permission in ROLE_PERMISSIONS.get(grant.role, ())
    )


def _covered(organization: OrganizationId, opened: Collection[OrganizationId]) -> bool:
    return any(above in opened for above in ancestry(organization))
