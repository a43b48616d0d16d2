"""The permission matrix of ``docs/permissions.md`` is what the code decides.

A difference means that somebody sees or does something else than before. When that is meant, write the tables anew, read
the difference, and note it in the changelog: ``RENEW_GOLDEN=1 make test ARGS=tests/contract/test_permission_matrix.py``.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from cli.permission_matrix import matrix
from schemas.access.permissions import Permission
from schemas.access.roles import BUILT_IN_ROLES, MASKED_READER_ROLE
from schemas.access.roles_file import parse_roles

DOCUMENT = Path(__file__).parents[2] / "docs" / "permissions.md"
GENERATED = "test_permission_matrix.py -->\n\n"


@pytest.fixture(scope="module")
def prose_and_tables() -> tuple[str, str]:
    prose, mark, tables = DOCUMENT.read_text(encoding="utf-8").partition(GENERATED)
    assert mark, "the document has lost the comment that says what is generated"
    return prose, tables


def test_the_documented_matrix_is_what_the_code_decides(prose_and_tables: tuple[str, str]) -> None:
    prose, tables = prose_and_tables
    if os.environ.get("RENEW_GOLDEN") == "1":
        DOCUMENT.write_text(prose + GENERATED + matrix(), encoding="utf-8")
        return
    assert tables == matrix()


def test_a_role_that_shows_more_shows_in_the_matrix() -> None:
    more = {
        **BUILT_IN_ROLES.permissions,
        MASKED_READER_ROLE: frozenset({Permission.CUSTOM_AGGREGATE_READ, Permission.INDIVIDUAL_PII_READ}),
    }
    assert matrix(replace(BUILT_IN_ROLES, permissions=more)) != matrix()


def test_the_matrix_speaks_of_every_role() -> None:
    tables = matrix()
    assert all(f"`{role}`" in tables for role in BUILT_IN_ROLES.permissions)


def test_every_permission_is_in_the_prose(prose_and_tables: tuple[str, str]) -> None:
    prose, _ = prose_and_tables
    missing = [permission for permission in Permission if f"`{permission}`" not in prose]
    assert missing == []


def test_the_roles_file_of_the_document_is_one(prose_and_tables: tuple[str, str]) -> None:
    prose, _ = prose_and_tables
    example = prose.partition("```toml\n")[2].partition("```")[0]
    roles = parse_roles(example)
    assert set(tomllib.loads(example)["roles"]) <= set(roles.permissions)
    assert len(roles.groups) == 3


@pytest.mark.parametrize("place", ["a county", "a district", "a school"])
def test_nothing_is_open_above_and_beside_a_grant(place: str) -> None:
    section = matrix().partition(f"### Granted for {place}\n")[2].partition("\n### ")[0]
    beside = [line for line in section.splitlines() if "| above, sibling |" in line]
    assert beside
    assert all(set(line.split("above, sibling |")[1]) <= set("| –") for line in beside)


def test_a_group_of_students_opens_no_aggregates() -> None:
    section = matrix().partition("### Granted for a group of students\n")[2]
    assert "exact" not in section
    assert "masked" not in section
    assert "yes" not in section
