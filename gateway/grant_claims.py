"""What a token's claims grant, and the claim that says so.

The claim ``scores`` holds ``{"grants": [{"role": "PII", "org": "<CDS>"}, {"role": "PII", "group": "<id>"}]}``; the claim
``tenancy`` holds tenancy chains, in one text or several. They add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.tenancy_chains import LONGEST_CHAINS, grants_in
from schemas.access.names import plain_name
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.errors import InvalidInput
from schemas.identifiers import organization_id

MOST_GRANTS: Final = 1_000  # a token of 8,192 characters holds fewer


class _GrantClaim(msgspec.Struct, frozen=True):
    role: str
    org: str | None = None
    group: str | None = None
    kind: GroupKind | None = None


class _ScoresClaim(msgspec.Struct, frozen=True):
    grants: tuple[_GrantClaim, ...] = ()


def grants_of(scores: object, tenancy: object = None) -> tuple[Grant | GroupGrant, ...]:
    """The grants of the claims ``scores`` and ``tenancy``, each once; None stands for a claim that is not there.

    Raises:
        InvalidInput: a claim is not of its form; then nothing of either may be believed.
    """
    grants = dict.fromkeys((*_granted(scores), *_chained(tenancy)))
    if len(grants) > MOST_GRANTS:
        raise InvalidInput(f"there are {len(grants)} grants; expected at most {MOST_GRANTS}")
    return tuple(grants)


def claim_of(grants: Iterable[Grant | GroupGrant]) -> dict[str, Any]:
    """The claim ``scores`` that grants this."""
    return {"grants": [_claimed(grant) for grant in grants]}


def _claimed(grant: Grant | GroupGrant) -> dict[str, str]:
    if isinstance(grant, Grant):
        return {"role": grant.role, "org": grant.organization}
    kind = {} if grant.kind is None else {"kind": grant.kind.value}
    return {"role": grant.role, "group": grant.group, **kind}


def _granted(claim: object) -> Iterable[Grant | GroupGrant]:
    if claim is None:
        return
    try:
        scores = msgspec.convert(claim, _ScoresClaim)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the claim 'scores' is not as expected: {error}") from None
    for grant in scores.grants:
        role = plain_name(grant.role, "role")
        if grant.org is not None and grant.group is None and grant.kind is None:
            yield Grant(role, organization_id(grant.org))
        elif grant.group is not None and grant.org is None:
            yield GroupGrant(role, plain_name(grant.group, "group"), grant.kind)
        else:
            raise InvalidInput(f"the grant of '{role}' is for no organization; expected 'org' or 'group'")


def _chained(claim: object) -> Iterable[Grant | GroupGrant]:
    if claim is None:
        return
    try:
        texts = msgspec.convert([claim] if isinstance(claim, str) else claim, list[str])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the claim 'tenancy' is not as expected: {error}") from None
    if sum(map(len, texts)) > LONGEST_CHAINS:
        raise InvalidInput(f"the claim 'tenancy' is longer than {LONGEST_CHAINS} characters")
    for text in texts:
        yield from grants_in(text)
