"""Tenancy chains: grants as the state's single sign-on writes them.

A chain is 17 fields between pipes: entity id, role, level, then id and name of client, group of states, state, group of
districts, district, group of schools ("institutions") and school. Several chains are joined by commas:

    |CA|ASMTDATALOAD|STATE|1000|ART_DL|||CA|CALIFORNIA|||||||||,|19990010000101|PII|INSTITUTION|...|

A chain that is not of this form is refused with all the others, rather than read in some way that nobody meant. One that
is, but speaks of another state or of a level above states, opens nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from schemas.access.names import plain_name
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, level_of, organization_id

OUR_STATE: Final = "CA"
LONGEST_CHAINS: Final = 65_536  # characters; eight times what a token can carry

_FIELDS: Final = 17
_ROLE, _LEVEL, _STATE_ID = 1, 2, 7


class TenancyLevel(StrEnum):
    """Where a chain grants its role."""

    CLIENT = "CLIENT"
    GROUP_OF_STATES = "GROUP_OF_STATES"
    STATE = "STATE"
    GROUP_OF_DISTRICTS = "GROUP_OF_DISTRICTS"
    DISTRICT = "DISTRICT"
    GROUP_OF_INSTITUTIONS = "GROUP_OF_INSTITUTIONS"
    INSTITUTION = "INSTITUTION"


_ID_FIELD: Final = {level: 3 + 2 * place for place, level in enumerate(TenancyLevel)}

# What the code at a level may name. A charter school that is its own district has a school's code.
_NAMED: Final = {
    TenancyLevel.DISTRICT: frozenset({OrganizationLevel.DISTRICT, OrganizationLevel.SCHOOL}),
    TenancyLevel.INSTITUTION: frozenset({OrganizationLevel.SCHOOL}),
}
_GROUPS: Final = {
    TenancyLevel.GROUP_OF_DISTRICTS: GroupKind.DISTRICTS,
    TenancyLevel.GROUP_OF_INSTITUTIONS: GroupKind.SCHOOLS,
}


def grants_in(chains: str, *, state: str = OUR_STATE) -> tuple[Grant | GroupGrant, ...]:
    """The grants of some chains, each once, in their order.

    Raises:
        InvalidInput: this is not a list of chains, or one of them contradicts itself.
    """
    if len(chains) > LONGEST_CHAINS:
        raise InvalidInput(f"the tenancy chains are longer than {LONGEST_CHAINS} characters")
    return tuple(
        dict.fromkeys(
            grant for fields in _chains(chains) if (grant := _grant(fields, state.casefold())) is not None
        )
    )


def _chains(text: str) -> Iterator[list[str]]:
    text = text.strip()
    if not text:
        return
    if len(text) < 2 or text[0] != "|" or text[-1] != "|":
        raise InvalidInput(f"'{text[:40]}' is not a tenancy chain; expected fields between pipes, |...|")
    for chain in text[1:-1].split("|,|"):
        fields = [field.strip() for field in chain.split("|")]
        if len(fields) != _FIELDS:
            raise InvalidInput(
                f"the tenancy chain '|{chain[:40]}...' has {len(fields)} fields; expected {_FIELDS} between pipes, "
                "and a comma between one chain and the next"
            )
        yield fields


def _grant(fields: list[str], state: str) -> Grant | GroupGrant | None:
    entity, role = fields[0], plain_name(fields[_ROLE], "role")
    if not fields[_LEVEL]:
        return None  # a grant of the client, which is above all states
    try:
        level = TenancyLevel(fields[_LEVEL])
    except ValueError:
        raise InvalidInput(
            f"'{fields[_LEVEL][:40]}' is not a level of tenancy; expected one of {', '.join(TenancyLevel)}"
        ) from None
    if entity != fields[_ID_FIELD[level]] or not entity:
        raise InvalidInput(
            f"the tenancy chain grants '{role}' to '{entity[:40]}', but names "
            f"'{fields[_ID_FIELD[level]][:40]}' at the level {level}; expected the same id"
        )
    if level in (TenancyLevel.CLIENT, TenancyLevel.GROUP_OF_STATES) or fields[_STATE_ID].casefold() != state:
        return None
    if level is TenancyLevel.STATE:
        return Grant(role, STATE)
    if kind := _GROUPS.get(level):
        return GroupGrant(role, plain_name(entity, "group"), kind)
    return Grant(role, _organization(entity, level))


def _organization(entity: str, level: TenancyLevel) -> OrganizationId:
    organization = organization_id(entity)
    # Above all, 14 zeros are the state: at the level of a school they would open everything.
    if level_of(organization) not in _NAMED[level]:
        raise InvalidInput(
            f"the tenancy chain has the {level_of(organization)} code {organization} at the level {level}"
        )
    return organization
