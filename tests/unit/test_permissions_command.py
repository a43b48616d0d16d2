"""``scores permissions`` says what roles come to, and what is missing for an organization; ``GET /v1/session`` says it of a token."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from cli.permissions import show_permissions
from cli.tokens import grants_for, roles_from
from gateway.routes import api_routes
from gateway.tokens import Principal
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, Group, Roles
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId

DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
OTHER_DISTRICT = OrganizationId("19990020000000")
WITH_GROUPS = Roles(
    groups={
        "north": Group(GroupKind.DISTRICTS, frozenset({DISTRICT, OTHER_DISTRICT})),
        "reading": Group(GroupKind.STUDENTS, frozenset({SCHOOL})),
    }
)


def run(
    *names: str,
    organizations: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    at: str | None = None,
    as_json: bool = True,
) -> int:
    return show_permissions(
        WITH_GROUPS, names, organizations=organizations, groups=groups, at=at, as_json=as_json
    )


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_without_a_role_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    listed = printed(capsys)
    assert set(listed) == set(BUILT_IN_ROLES.permissions)
    assert listed["Superintendent"] == {
        "permissions": ["INDIVIDUAL_PII_READ", "CUSTOM_AGGREGATE_READ"],
        "levels": ["district", "school"],
    }


def test_roles_add_up_and_groups_are_their_members(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("CUSTOM_AGGREGATE_REPORTER", organizations=(SCHOOL,), groups=("north", "reading")) == 0
    assert printed(capsys)["permissions"] == {"CUSTOM_AGGREGATE_READ": [DISTRICT, OTHER_DISTRICT]}


def test_what_is_missing_for_an_organization_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("CUSTOM_AGGREGATE_REPORTER", organizations=(DISTRICT,), at=SCHOOL) == 0
    there = printed(capsys)
    assert (there["shown"], there["held"]) == ("masked", ["CUSTOM_AGGREGATE_READ"])
    assert "INDIVIDUAL_PII_READ" in there["missing"]


def test_an_organization_that_is_not_shown_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("PII", organizations=(DISTRICT,), at=OTHER_DISTRICT) == 1
    assert printed(capsys)["shown"] is None


@pytest.mark.parametrize("at", [None, SCHOOL])
def test_the_table_names_permissions(at: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    run("PII", organizations=(DISTRICT,), at=at, as_json=False)
    assert "CUSTOM_AGGREGATE_READ" in capsys.readouterr().out


def test_the_table_names_the_groups_of_students(capsys: pytest.CaptureFixture[str]) -> None:
    run("Educator, Roster", groups=("reading",), as_json=False)
    out = capsys.readouterr().out
    assert "TEACHER_GROUP_READ" in out
    assert "reading" in out


@pytest.mark.parametrize(
    ("roles", "organizations", "groups", "named"),
    [
        (["HEADMASTER"], [DISTRICT], [], "'HEADMASTER'"),
        (["PII"], ["1999"], [], "'1999'"),
        (["PII"], [], ["south"], "'south'"),
        (["PII"], [], [], "--org"),
        (["Superintendent"], [STATE], [], "district or school"),
    ],
    ids=["no role", "no code", "no group", "for nobody", "where it is not granted"],
)
def test_a_grant_that_cannot_be_is_refused(
    roles: list[str], organizations: list[str], groups: list[str], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        grants_for(WITH_GROUPS, roles, organizations, groups)


def test_an_organization_without_a_role_is_no_question() -> None:
    with pytest.raises(InvalidInput, match="--role"):
        run(at=SCHOOL)


def test_a_roles_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "roles.toml"
    file.write_text('[roles]\nClerk = ["READ_ALL"]')
    with pytest.raises(InvalidInput, match="READ_ALL"):
        roles_from(file)
    assert roles_from(Path("-")) is roles_from(None) is BUILT_IN_ROLES


@pytest.mark.anyio
async def test_the_session_says_what_the_grants_come_to() -> None:
    grants = (Grant(READER_ROLE, SCHOOL), GroupGrant("Educator, Roster", "reading", GroupKind.STUDENTS))
    rights = WITH_GROUPS.rights(grants)
    principal = Principal("somebody", grants, datetime(2026, 11, 22, tzinfo=UTC), "a token", rights)

    class Asking:
        def by_header_or_cookie(self, _: Request) -> Principal:
            return principal

    app = Starlette(routes=api_routes())
    app.state.gateway = SimpleNamespace(credentials=Asking())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        session = (await client.get("/v1/session")).json()
    assert session["grants"] == [
        {"role": READER_ROLE, "org": SCHOOL},
        {"role": "Educator, Roster", "group": "reading", "kind": "students"},
    ]
    assert session["permissions"] == {
        "INDIVIDUAL_PII_READ": [SCHOOL],
        "GROUP_PII_READ": [SCHOOL],
        "GROUP_READ": [SCHOOL],
        "CUSTOM_AGGREGATE_READ": [SCHOOL],
    }
    assert session["student_groups"]["TEACHER_GROUP_READ"] == ["reading"]
