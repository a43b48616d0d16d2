"""Tokens of the local stack: who issues them, and the ``scores token`` command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

from cli.state import StateFolder
from gateway.development_issuer import DevelopmentIssuer
from gateway.permissions import Grant
from gateway.roles import ROLE_PERMISSIONS
from gateway.settings import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, organization_id


def development_issuer(state: StateFolder) -> DevelopmentIssuer:
    """The local stack's issuer; its keys are in the state folder."""
    environment = os.environ.get("SCORES_ENVIRONMENT", "development")
    return DevelopmentIssuer(
        state.issuer, issuer=DEVELOPMENT_ISSUER, audience=DEVELOPMENT_AUDIENCE, environment=environment
    )


def issue_token(
    state: StateFolder, *, subject: str, roles: Sequence[str], organizations: Sequence[str], minutes: int
) -> str:
    """A development token: every role for every organization.

    Raises:
        InvalidInput: a role, a CDS code or the lifetime is wrong.
    """
    for role in roles:
        if role not in ROLE_PERMISSIONS:
            raise InvalidInput(
                f"'{role}' is not a role; expected one of {', '.join(sorted(ROLE_PERMISSIONS))}"
            )
    codes: list[OrganizationId] = [organization_id(code) for code in organizations]
    grants = [Grant(role, code) for role in roles for code in codes]
    return development_issuer(state).issue(subject, grants, timedelta(minutes=minutes))
