"""A deployment's roles file: what it may say, what is refused and why, and how a change of it gets about."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from schemas.access.permissions import Grant, GroupGrant, GroupKind, Permission, VisibilityClass
from schemas.access.role_book import RoleBook
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, ROLE_LEVELS, Group, Roles
from schemas.access.roles_file import parse_roles, read_roles
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel

DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
NORTH = f'[groups.districts]\nnorth = ["{DISTRICT}"]'


def test_an_empty_file_changes_nothing() -> None:
    assert parse_roles("") == BUILT_IN_ROLES


def test_a_role_of_a_known_name_replaces_it_and_the_others_stay() -> None:
    roles = parse_roles('[roles]\nPII = ["CUSTOM_AGGREGATE_READ"]\nClerk = []')
    assert roles.rights([Grant("PII", DISTRICT)]).visibility(SCHOOL) is VisibilityClass.MASKED
    assert roles.permissions["Clerk"] == frozenset()
    assert roles.permissions["DevOps"] == BUILT_IN_ROLES.permissions["DevOps"]


def test_a_replaced_role_keeps_its_levels_unless_others_are_given() -> None:
    kept = parse_roles('[roles]\nSuperintendent = ["CUSTOM_AGGREGATE_READ"]')
    assert kept.levels["Superintendent"] == ROLE_LEVELS["Superintendent"]
    given = parse_roles('[levels]\nSuperintendent = ["county"]')
    assert given.levels["Superintendent"] == {OrganizationLevel.COUNTY}


def test_the_known_roles_can_be_dropped() -> None:
    roles = parse_roles('built_in_roles = false\n[roles]\nClerk = ["CUSTOM_AGGREGATE_READ"]')
    assert set(roles.permissions) == {"Clerk"}
    assert not roles.rights([Grant(READER_ROLE, DISTRICT)]).scopes


def test_groups_are_of_districts_of_schools_and_of_students() -> None:
    roles = parse_roles(
        f'[groups.districts]\nnorth = ["{DISTRICT}"]\n'
        '[groups.schools]\narts = ["19-99001-0000101"]\n'
        f'[groups.students]\nreading = ["{SCHOOL}"]'
    )
    assert roles.groups == {
        "north": Group(GroupKind.DISTRICTS, frozenset({DISTRICT})),
        "arts": Group(GroupKind.SCHOOLS, frozenset({SCHOOL})),
        "reading": Group(GroupKind.STUDENTS, frozenset({SCHOOL})),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("roles = [", "not TOML", id="not TOML"),
        pytest.param("[role]\nClerk = []", "`role`", id="an unknown table"),
        pytest.param("[groups.counties]\neast = []", "counties", id="groups of something else"),
        pytest.param('[roles]\nClerk = "PII"', "array", id="no list of permissions"),
        pytest.param('built_in_roles = "no"', "bool", id="no switch"),
        pytest.param('[roles]\nClerk = ["READ_ALL"]', "'READ_ALL'.*DATA_WRITE", id="an unknown permission"),
        pytest.param(
            '[roles]\nClerk = ["GROUP_READ", "GROUP_READ"]', "'GROUP_READ' twice", id="a permission twice"
        ),
        pytest.param("[roles]\nClerk = []\nClerk = []", "once only", id="a role twice"),
        pytest.param(
            '[roles]\nClerk = []\n"clerk " = []', "'clerk '.*'Clerk'", id="a role twice, differently"
        ),
        pytest.param("[roles]\npii = []", "'pii'.*'PII'", id="a known role in other letters"),
        pytest.param('[roles]\n"" = []', "not a role", id="a role without a name"),
        pytest.param('[levels]\nClerk = ["school"]', "'Clerk'.*not a role", id="levels of no role"),
        pytest.param('[levels]\nPII = ["class"]', "'class'.*school", id="an unknown level"),
        pytest.param("[levels]\nPII = []", "no level", id="a role for nowhere"),
        pytest.param(
            '[groups.districts]\nnorth = ["1999001"]', "'1999001' is not a CDS code", id="no CDS code"
        ),
        pytest.param(
            f'[groups.districts]\nnorth = ["{SCHOOL}"]',
            f"school {SCHOOL}.*districts",
            id="a school as a district",
        ),
        pytest.param(
            f'[groups.schools]\narts = ["{DISTRICT}"]',
            f"district {DISTRICT}.*schools",
            id="a district as a school",
        ),
        pytest.param(
            '[groups.schools]\narts = ["00000000000000"]', "state 00000000000000", id="the state as a school"
        ),
        pytest.param(
            f'[groups.students]\nreading = ["{DISTRICT}"]',
            f"district {DISTRICT}",
            id="students of a district",
        ),
        pytest.param(
            f'[groups.schools]\narts = ["{SCHOOL}", "{SCHOOL}"]', f"'{SCHOOL}' twice", id="a member twice"
        ),
        pytest.param("[groups.schools]\na = []\n[groups.students]\na = []", "'a'", id="one id, two groups"),
    ],
)
def test_a_faulty_file_is_refused_with_the_value_and_the_remedy(text: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse_roles(text)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "roles.toml"
    file.write_text('[roles]\nClerk = ["READ_ALL"]\n[groups.schools]\narts = ["12"]')
    with pytest.raises(InvalidInput, match=r"(?s)SCORES_ROLES_FILE .*roles\.toml.*READ_ALL.*'12'"):
        read_roles(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"SCORES_ROLES_FILE .*none\.toml"):
        RoleBook(tmp_path / "none.toml").load()


def test_without_a_file_the_known_roles_hold() -> None:
    book = RoleBook(None)
    book.load()
    assert book.current is BUILT_IN_ROLES


def written(file: Path, text: str | None) -> None:
    """Replace the file as editors and Kubernetes do: at once, and with another time; or remove it."""
    if text is None:
        file.unlink()
        return
    before = file.stat().st_mtime_ns if file.exists() else 0
    unfinished = file.with_suffix(".new")
    unfinished.write_text(text)
    os.utime(unfinished, ns=(before + 1_000_000_000, before + 1_000_000_000))
    unfinished.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "roles.toml"
    written(place, NORTH)
    return place


@pytest.mark.anyio
async def test_whoever_listens_is_told_of_changed_roles_once(file: Path) -> None:
    book = RoleBook(file)
    book.load()
    told: list[Roles] = []
    book.subscribe(told.append)
    await book.look()
    assert told == []
    written(file, "[groups.districts]\nnorth = []")
    await book.look()
    await book.look()
    assert told == [book.current]
    assert book.changed == ("group north",)
    assert not book.current.rights([GroupGrant(READER_ROLE, "north")]).visibility(DISTRICT)


@pytest.mark.anyio
async def test_a_file_that_says_the_same_in_other_words_is_no_change(file: Path) -> None:
    book = RoleBook(file)
    book.load()
    told: list[Roles] = []
    book.subscribe(told.append)
    written(file, f"# the north\n{NORTH}")
    await book.look()
    assert told == []


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["[roles", None], ids=["faulty", "gone"])
async def test_a_file_that_turns_wrong_changes_nothing_and_is_complained_of_once(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    book = RoleBook(file)
    book.load()
    before = book.current
    written(file, text)
    with caplog.at_level(logging.ERROR):
        await book.look()
        await book.look()
    assert book.current is before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    written(file, '[roles]\nClerk = ["CUSTOM_AGGREGATE_READ"]')
    await book.look()
    assert Permission.CUSTOM_AGGREGATE_READ in book.current.permissions["Clerk"]


@pytest.mark.anyio
async def test_a_listener_that_fails_keeps_no_other_from_hearing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = RoleBook(file)
    book.load()
    told: list[Roles] = []

    def fail(_: Roles) -> None:
        raise ValueError("a fault of ours")

    book.subscribe(fail)
    book.subscribe(told.append)
    written(file, "built_in_roles = false")
    with caplog.at_level(logging.ERROR):
        await book.look()
    assert told == [book.current]
    assert len(caplog.records) == 1
