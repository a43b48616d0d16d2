"""Tokens of the local stack: who issues them, and the ``scores token`` command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cli.state import StateFolder
from gateway.development_issuer import DevelopmentIssuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant, GroupGrant
from schemas.access.roles import BUILT_IN_ROLES, Roles
from schemas.access.roles_file import read_roles
from schemas.errors import InvalidInput
from schemas.identifiers import CANARY_COUNTY, OrganizationId, level_of, organization_id


def development_issuer(state: StateFolder) -> DevelopmentIssuer:
    """The local stack's issuer; its keys are in the state folder."""
    environment = os.environ.get("SCORES_ENVIRONMENT", "development")
    return DevelopmentIssuer(
        state.issuer, issuer=DEVELOPMENT_ISSUER, audience=DEVELOPMENT_AUDIENCE, environment=environment
    )


def issue_token(
    state: StateFolder,
    *,
    subject: str,
    roles: Sequence[str],
    organizations: Sequence[str],
    minutes: int,
    groups: Sequence[str] = (),
    known: Roles = BUILT_IN_ROLES,
) -> str:
    """A development token: every role for every organization and group.

    Raises:
        InvalidInput: a role, a CDS code, a group or the lifetime is wrong.
    """
    grants = grants_for(known, roles, organizations, groups)
    return development_issuer(state).issue(subject, grants, timedelta(minutes=minutes), roles=known)


def grants_for(
    known: Roles, roles: Sequence[str], organizations: Sequence[str], groups: Sequence[str]
) -> list[Grant | GroupGrant]:
    """Every role for every organization and group.

    Raises:
        InvalidInput: a role or group is unknown, a code is none, or a role may not be granted there.
    """
    for role in roles:
        if role not in known.permissions:
            raise InvalidInput(
                f"'{role}' is not a role; expected one of {', '.join(sorted(known.permissions))}"
            )
    for group in groups:
        if group not in known.groups:
            raise InvalidInput(
                f"'{group}' is not a group; expected one of {', '.join(sorted(known.groups)) or 'a roles file'}"
            )
    codes: list[OrganizationId] = [organization_id(code) for code in organizations]
    if not codes and not groups:
        raise InvalidInput("for whom? Give --org CDS or --group ID")
    for role in roles:
        for code in codes:
            if not known.may_be_granted(role, code):
                where = "a " + " or ".join(sorted(known.levels.get(role, ())))
                if known.is_canary(role):
                    where = f"the canary's county, {CANARY_COUNTY}"
                raise InvalidInput(
                    f"'{role}' opens nothing for the {level_of(code)} {code}; it is granted for {where}"
                )
    return [
        *(Grant(role, code) for role in roles for code in codes),
        *(GroupGrant(role, group) for role in roles for group in groups),
    ]


def roles_from(file: Path | None) -> Roles:
    """The roles of a file, or the known ones.

    Raises:
        InvalidInput: something in the file is wrong; all faults at once.
    """
    return BUILT_IN_ROLES if file is None or str(file) == "-" else read_roles(file)
