"""Naming an organization on the command line, and the table of its preliminary results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import cli.show
from cli.show import find_organization, show
from cli.stored_cells import ChangedCell
from schemas.aggregates import Cell, CellField, contribution, levels_code
from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.identifiers import OrganizationId
from schemas.organizations import Directory

SCHOOL, HIGH_SCHOOL, DISTRICT = "61700016000001", "61700016000002", "61700010000000"
DIRECTORY = Directory(
    [
        OrganizationEntry(cds=SCHOOL, name="Briarholt Elementary", kind="school"),
        OrganizationEntry(cds=HIGH_SCHOOL, name="Briarholt High", kind="school"),
        OrganizationEntry(cds=DISTRICT, name="Briarholt", kind="district"),
    ]
)


class FakeTables:
    """A school with two fifth-graders' results; nobody else has any."""

    def directory(self) -> Directory:
        return DIRECTORY

    def of(self, organization: OrganizationId) -> dict[CellField, ChangedCell]:
        cell = Cell()
        cell.apply(contribution(2490, levels_code([2])))
        cell.apply(contribution(2601, levels_code([4])))
        changed = ChangedCell(1_777_888_999_000, cell)
        return {CellField("2026:MATH-SUM:05"): changed} if organization == SCHOOL else {}


@pytest.fixture(autouse=True)
def _tables(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(redis_url: str) -> Iterator[FakeTables]:
        yield FakeTables()

    monkeypatch.setattr(cli.show, "stored_cells", opened)


def shown(organization: str, *, grade: str | None = None, as_json: bool = False) -> int:
    return show(organization, "redis://unused", year=None, test=None, grade=grade, as_json=as_json)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SCHOOL, SCHOOL),
        ("61-70001-6000001", SCHOOL),
        ("elementary", SCHOOL),
        ("  briarholt   HIGH ", HIGH_SCHOOL),
        ("Briarholt", DISTRICT),  # the whole name of one outranks being a part of others'
        ("0" * 14, "0" * 14),
    ],
)
def test_an_organization_is_named_by_code_or_by_part_of_its_name(text: str, code: str) -> None:
    assert find_organization(text, DIRECTORY) == code


def test_a_name_that_several_have_lists_them_with_their_codes() -> None:
    with pytest.raises(
        InvalidInput, match=f"(?s)3 organizations match 'holt'.*{SCHOOL}  Briarholt Elementary"
    ):
        find_organization("holt", DIRECTORY)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Nowhere", "no organization is called 'Nowhere'"),
        ("", "empty"),
        ("61700016000099", "not in the directory"),
    ],
)
def test_an_unknown_organization_gets_a_remedy(text: str, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault):
        find_organization(text, DIRECTORY)


def test_the_table_says_preliminary_and_shows_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(SCHOOL) == 0
    out = capsys.readouterr().out
    assert "Briarholt Elementary (61700016000001): preliminary results" in out
    assert "MATH-SUM" in out and "2546" in out and "2545.5" in out and "0/1/0/1" in out


def test_json_says_preliminary_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(SCHOOL, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["preliminary"] is True and told["figures"][0]["mean"] == 2546


def test_no_results_is_said_and_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(DISTRICT) == 1
    assert "has no results" in capsys.readouterr().out
    assert shown(SCHOOL, grade="4") == 1
    assert "for this choice" in " ".join(capsys.readouterr().out.split())


def test_a_grade_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'13' is not a grade"):
        shown(SCHOOL, grade="13")
