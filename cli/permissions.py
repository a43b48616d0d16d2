"""``scores permissions``: what roles come to, where, and what is missing for an organization."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.tokens import grants_for
from schemas.access.permissions import Permission, Rights, VisibilityClass
from schemas.access.roles import Roles
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel, level_of, organization_id

_SEEN = {
    VisibilityClass.EXACT_LOADING: "exact figures, from the first result on",
    VisibilityClass.EXACT_REVIEWING: "exact figures of what is in review or released",
    VisibilityClass.EXACT_RELEASED: "exact figures of what is released",
    VisibilityClass.MASKED: "figures of what is released, after disclosure control",
    None: "no aggregates",
}


def show_permissions(
    roles: Roles,
    names: Sequence[str],
    *,
    organizations: Sequence[str],
    groups: Sequence[str],
    at: str | None,
    as_json: bool,
) -> int:
    """Print what these roles come to at these organizations and groups; without roles, what each of them carries.

    With ``at``, print what is held at that organization and what is missing there. Then the exit status is 1 when its
    aggregates are not shown.

    Raises:
        InvalidInput: a role, group or code is not one.
    """
    where = organization_id(at) if at is not None else None
    if not names:
        if organizations or groups or where:
            raise InvalidInput("which role? Give --role NAME; `scores permissions` alone lists them all")
        _print(_listed(roles), _roles_table(roles), as_json=as_json)
        return 0
    rights = roles.rights(grants_for(roles, names, organizations, groups))
    if where is None:
        _print(_held(rights), _rights_table(rights), as_json=as_json)
        return 0
    _print(_held_at(rights, where), _table_at(rights, where), as_json=as_json)
    return 0 if rights.visibility(where) is not None else 1


def _listed(roles: Roles) -> dict[str, Any]:
    return {
        role: {
            "permissions": [permission for permission in Permission if permission in held],
            "levels": _levels(roles, role),
        }
        for role, held in roles.permissions.items()
    }


def _levels(roles: Roles, role: str) -> list[OrganizationLevel]:
    levels = roles.levels.get(role, frozenset(OrganizationLevel))
    return [level for level in reversed(OrganizationLevel) if level in levels]


def _roles_table(roles: Roles) -> Table:
    table = _table("Role", "May be granted for", "Permissions")
    for role, entry in _listed(roles).items():
        levels = "anything" if len(entry["levels"]) == len(OrganizationLevel) else ", ".join(entry["levels"])
        table.add_row(Text(role), levels, "\n".join(entry["permissions"]) or "none")
    return table


def _held(rights: Rights) -> dict[str, Any]:
    return {
        "permissions": rights.holdings(),
        "student_groups": {permission: sorted(held) for permission, held in rights.student_groups.items()},
    }


def _rights_table(rights: Rights) -> Table:
    table = _table("Permission", "Holds at and below", "For groups of students")
    holdings = rights.holdings()
    for permission in Permission:
        groups = rights.student_groups.get(permission, frozenset())
        if permission in holdings or groups:
            held = holdings.get(permission, [])
            table.add_row(
                permission,
                "\n".join(f"{level_of(organization)} {organization}" for organization in held),
                Text("\n".join(sorted(groups))),
            )
    if not table.row_count:
        table.add_row("none", "", "")
    return table


def _held_at(rights: Rights, where: OrganizationId) -> dict[str, Any]:
    held = [permission for permission in Permission if rights.covers(permission, where)]
    return {
        "organization": where,
        "shown": rights.visibility(where),
        "held": held,
        "missing": [permission for permission in Permission if permission not in held],
    }


def _table_at(rights: Rights, where: OrganizationId) -> Table:
    table = _table("Permission", f"{level_of(where)} {where}".capitalize())
    for permission in Permission:
        table.add_row(permission, "held" if rights.covers(permission, where) else "missing")
    table.caption = f"Shown there: {_SEEN[rights.visibility(where)]}."
    return table


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption_justify="left")
    for head in heads:
        table.add_column(head)
    return table


def _print(content: dict[str, Any], table: Table, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
    else:
        Console().print(table)
