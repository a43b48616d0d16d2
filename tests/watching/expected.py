"""What clients must have in the end: every figure of the tables, read straight from Redis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from cli.stored_cells import stored_cells
from schemas.aggregates import cell_name
from schemas.assessments import Registry
from schemas.figures import figures
from schemas.identifiers import OrganizationId
from tests.watching.belief import Cells


def figures_in_tables(
    redis_url: str, organizations: Collection[OrganizationId], registry: Registry
) -> dict[str, Cells]:
    """The cells with results of each organization, as a client has them."""
    found: dict[str, Cells] = {}
    with stored_cells(redis_url) as stored:
        for organization in organizations:
            cells = found[organization] = {}
            for field, changed in stored.of(organization).items():
                name = cell_name(field)
                shown = figures(changed.cell, registry.at(*name), name, changed.changed_ms)
                cells[name] = msgspec.to_builtins(shown)
    return found


def differences(expected: Mapping[str, Cells], found: Mapping[str, Cells]) -> list[str]:
    """Every cell that is missing, too much, or has another figure; empty when all is equal."""
    lines: list[str] = []
    for organization in sorted(expected.keys() | found.keys()):
        due, have = expected.get(organization), found.get(organization)
        if due is None or have is None:
            lines.append(f"{organization} is {'missing' if have is None else 'too much'}")
            continue
        for name in sorted(due.keys() | have.keys()):
            if due.get(name) != have.get(name):
                lines.append(f"{organization} {name}: {_figures(due.get(name), have.get(name))}")
    return lines


def _figures(due: dict[str, Any] | None, have: dict[str, Any] | None) -> str:
    if due is None:
        return "should not be there"
    if have is None:
        return "is missing"
    return ", ".join(
        f"{key} {have.get(key)} instead of {due[key]}" for key in due if due[key] != have.get(key)
    )
