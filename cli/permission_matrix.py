"""The permission matrix: who may do what where, as the gateway decides it, in tables for ``docs/permissions.md``.

Nothing is stated here. Every cell is an answer of the functions that answer requests, asked about one grant and one
organization: the one of the grant (own), one below it, one above it, one beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from gateway.release_rules import may_change
from gateway.webhooks.permitted import may_manage
from schemas.access.permissions import Grant, GroupGrant, GroupKind, Permission, Rights
from schemas.access.roles import BUILT_IN_ROLES, Group, Roles
from schemas.identifiers import (
    CANARY_COUNTY,
    STATE,
    OrganizationId,
    OrganizationLevel,
    ancestry,
    district_of,
    level_of,
)
from schemas.releases import ReleaseState

NOTHING: Final = "–"

_COUNTY: Final = OrganizationId("19000000000000")
_DISTRICT: Final = OrganizationId("19990010000000")
_SCHOOL: Final = OrganizationId("19990010000101")
_PATH: Final = (STATE, _COUNTY, _DISTRICT, _SCHOOL)
_SIBLINGS: Final = {
    _COUNTY: "37000000000000 37990010000000 37990010000101",
    _DISTRICT: "19990020000000 19990020000101",
    _SCHOOL: "19990010000102",
    CANARY_COUNTY: f"{STATE} {_COUNTY}",
}
_PLACES: Final = {
    STATE: "the state",
    _COUNTY: "a county",
    _DISTRICT: "a district",
    _SCHOOL: "a school",
    CANARY_COUNTY: "the canary's county",
}

# Roles add up; these show how.
_TOGETHER: Final = (
    ("PII", "EMBARGO_ADMIN"),
    ("PII", "DevOps"),
    ("CUSTOM_AGGREGATE_REPORTER", "DevOps"),
    ("LEA CAASPP Coordinator", "EMBARGO_ADMIN_RELEASED"),
    ("DevOps", "EMBARGO_ADMIN_RELEASED"),
)

_Decision = Callable[[Rights, OrganizationId], str]
_Answers = tuple[str, ...]


def matrix(roles: Roles = BUILT_IN_ROLES) -> str:
    """The tables, as Markdown."""
    return "\n".join([*_role_table(roles), *_decision_tables(roles)]) + "\n"


def _seen(state: ReleaseState) -> _Decision:
    def decide(rights: Rights, organization: OrganizationId) -> str:
        seen = rights.visibility(organization)
        if seen is None or state < seen.lowest:
            return NOTHING
        return seen.value.partition("-")[0]

    return decide


def _moved(before: ReleaseState, after: ReleaseState) -> _Decision:
    def decide(rights: Rights, organization: OrganizationId) -> str:
        is_school = level_of(organization) is OrganizationLevel.SCHOOL
        district = (
            district_of(organization) if is_school else organization
        )  # schools have no states of their own
        return _said(may_change(rights, district, before, after).allowed)

    return decide


def _held(permission: Permission) -> _Decision:
    return lambda rights, organization: _said(rights.covers(permission, organization))


def _imported(rights: Rights, organization: OrganizationId) -> str:
    # Whoever imports, imports for the whole state: a file holds many districts.
    real = rights.covers(Permission.DATA_WRITE, STATE) and organization == STATE
    canaries = all(
        rights.covers(one, CANARY_COUNTY) for one in (Permission.DATA_WRITE, Permission.OPERATIONS_CANARY)
    )
    return _said(real or (canaries and organization == CANARY_COUNTY))


def _said(allowed: bool) -> str:
    return "yes" if allowed else NOTHING


_DECISIONS: Final[Mapping[str, _Decision]] = {
    "Aggregates in Loading": _seen(ReleaseState.LOADING),
    "in Reviewing": _seen(ReleaseState.REVIEWING),
    "Released, and interims": _seen(ReleaseState.RELEASED),
    "Import": _imported,
    "Loading ↔ Reviewing": _moved(ReleaseState.LOADING, ReleaseState.REVIEWING),
    "Reviewing ↔ Released": _moved(ReleaseState.REVIEWING, ReleaseState.RELEASED),
    "Audit": _held(Permission.AUDIT_READ),
    "Revoke": _held(Permission.TOKEN_REVOKE),
    "Operations": _held(Permission.OPERATIONS_READ),
    "Others' webhooks": lambda rights, organization: _said(may_manage(rights, [organization])),
}


def _role_table(roles: Roles) -> Iterator[str]:
    yield from ("### What each role carries", "")
    yield from _table(
        ("Role", "May be granted for", "Permissions"),
        (
            (
                f"`{role}`",
                _levels(roles, role),
                ", ".join(f"`{permission}`" for permission in Permission if permission in held) or NOTHING,
            )
            for role, held in roles.permissions.items()
        ),
    )


def _levels(roles: Roles, role: str) -> str:
    if roles.is_canary(role):
        return "the canary's county"
    levels = roles.levels.get(role)
    if levels is None:
        return "anything"
    return ", ".join(level for level in reversed(OrganizationLevel) if level in levels)


def _decision_tables(roles: Roles) -> Iterator[str]:
    for place, name in _PLACES.items():
        yield from ("", f"### Granted for {name}", "")
        held = {
            together: roles.rights([Grant(role, place) for role in together])
            for together in (*_each(roles), *_TOGETHER)
            if all(role in roles.permissions and roles.may_be_granted(role, place) for role in together)
        }
        yield from _decision_table(held, _relations(place))
        barred = [role for role in roles.permissions if not roles.may_be_granted(role, place)]
        if barred:
            yield from ("", f"These open nothing for {name}: {_named((role,) for role in barred)}.")
    yield from ("", "### Granted for a group of students", "")
    with_group = Roles(
        roles.permissions, roles.levels, {"g": Group(GroupKind.STUDENTS, frozenset({_SCHOOL}))}
    )
    held = {together: with_group.rights([GroupGrant(together[0], "g")]) for together in _each(roles)}
    yield from _decision_table(held, {"the group's school": (_SCHOOL,), **_relations(_SCHOOL, own=False)})


def _each(roles: Roles) -> list[tuple[str, ...]]:
    return [(role,) for role in roles.permissions]


def _relations(place: OrganizationId, *, own: bool = True) -> dict[str, tuple[OrganizationId, ...]]:
    relations = {
        "own": (place,) if own else (),
        "below": tuple(one for one in _PATH if place in ancestry(one)[1:]),
        "above": ancestry(place)[1:],
        "sibling": tuple(OrganizationId(code) for code in _SIBLINGS.get(place, "").split()),
    }
    return {relation: organizations for relation, organizations in relations.items() if organizations}


def _decision_table(
    held: Mapping[tuple[str, ...], Rights], relations: Mapping[str, Sequence[OrganizationId]]
) -> Iterator[str]:
    """Who decides alike shares rows, and so do places that are decided alike."""
    alike: dict[tuple[tuple[str, _Answers], ...], list[tuple[str, ...]]] = {}
    for together, rights in held.items():
        answers = tuple(
            (relation, tuple(_answer(decide, rights, where) for decide in _DECISIONS.values()))
            for relation, where in relations.items()
        )
        alike.setdefault(answers, []).append(together)
    rows: list[tuple[str, ...]] = []
    for answers, holders in alike.items():
        places: dict[_Answers, list[str]] = {}
        for relation, answer in answers:
            places.setdefault(answer, []).append(relation)
        for number, (answer, where) in enumerate(places.items()):
            rows.append((_named(holders) if number == 0 else "", ", ".join(where), *answer))
    yield from _table(("Role", "Where", *_DECISIONS), rows)


def _answer(decide: _Decision, rights: Rights, organizations: Iterable[OrganizationId]) -> str:
    return " / ".join(dict.fromkeys(decide(rights, organization) for organization in organizations))


def _named(holders: Iterable[Sequence[str]]) -> str:
    return ", ".join(" + ".join(f"`{role}`" for role in together) for together in holders)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
