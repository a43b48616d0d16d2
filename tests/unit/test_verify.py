"""Comparing the live tables with an expectation: every figure that is off by one is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

import cli.verify
from cli.simulator.expectation import Expectation, read_expectation, write_expectation
from cli.simulator.recount import CellId, CountedCell
from cli.verify import Difference, compare, contradictions, counted_cells, verify, wait_until_equal
from schemas.aggregates import Cell, contribution, levels_code
from schemas.assessments import Registry, load_registry
from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.organizations import Directory

SCHOOL, OTHER_SCHOOL = "61700016000001", "61700016000002"
DISTRICT, COUNTY, STATE = "61700010000000", "61000000000000", "00000000000000"
MATH = "2026:MATH-SUM:05"
HEAD = Expectation(
    seed=1, school_year=2026, schools=1, events=2, kinds={"scored": 2}, outcomes={"applied": 2}
)


@cache
def registry() -> Registry:
    return load_registry()


def counted(**changes: Any) -> CountedCell:
    """Two scored students and one without a score."""
    cell = CountedCell(
        results=3,
        with_scores=2,
        under_appeal=1,
        score_sum=5000,
        score_sum_sq=2490**2 + 2510**2,
        levels=[0, 2, 0, 0],
        claims={"1": [1, 1, 0], "SOCK_2": [0, 2, 0], "3": [0, 0, 2]},
        histogram={2490: 1, 2510: 1},
    )
    return msgspec.structs.replace(cell, **changes)


def everywhere(cell: CountedCell) -> dict[CellId, CountedCell]:
    """A school with these figures, and all above it."""
    return {CellId(cds, MATH): cell for cds in (SCHOOL, DISTRICT, COUNTY, STATE)}


def stored() -> dict[CellId, Cell]:
    """The same as it stands in Redis."""
    live = Cell()
    live.apply(contribution(2490, levels_code([2, 1, 2, 3])))
    live.apply(contribution(2510, levels_code([2, 2, 2, 3]), under_appeal=True))
    live.apply(contribution(None))
    return {name: live for name in everywhere(counted())}


class FakeTables:
    """Tables whose cells change from reading to reading; the last ones stay."""

    def __init__(self, *readings: dict[CellId, Cell]) -> None:
        self.readings = list(readings)

    def everywhere(self) -> dict[CellId, Cell]:
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def directory(self) -> Directory:
        return Directory([OrganizationEntry(cds=SCHOOL, name="Briarholt Elementary", kind="school")])


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> FakeTables:
    """What ``verify`` finds in Redis: what is expected, unless a test says otherwise."""
    fake = FakeTables(stored())

    @contextmanager
    def opened(redis_url: str) -> Iterator[FakeTables]:
        yield fake

    monkeypatch.setattr(cli.verify, "stored_cells", opened)
    monkeypatch.setattr(cli.verify, "_POLL_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "140")
    return fake


@pytest.fixture
def expectation(tmp_path: Path) -> Path:
    path = tmp_path / "expected.jsonl.gz"
    write_expectation(path, everywhere(counted()), HEAD)
    return path


def test_stored_cells_equal_their_recount() -> None:
    assert compare(everywhere(counted()), counted_cells(stored(), registry())) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"results": 4}, "results"),
        ({"with_scores": 3}, "with scores"),
        ({"under_appeal": 0}, "under appeal"),
        ({"score_sum": 5001}, "sum of scores"),
        ({"score_sum_sq": 2490**2 + 2510**2 - 1}, "sum of squares"),
        ({"levels": [0, 2, 1, 0]}, "level 3"),
        ({"claims": {"1": [1, 1, 0], "SOCK_2": [0, 1, 0], "3": [0, 0, 2]}}, "claim SOCK_2 level 2"),
        ({"histogram": {2490: 2, 2510: 1}}, "students with score 2490"),
        ({"histogram": {2490: 1, 2510: 1, 2511: 1}}, "students with score 2511"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("swapped", [False, True], ids=["found differs", "expected differs"])
def test_a_difference_of_one_is_found_in_every_figure(
    changes: dict[str, Any], field: str, swapped: bool
) -> None:
    right, wrong = everywhere(counted()), everywhere(counted())
    wrong[CellId(SCHOOL, MATH)] = counted(**changes)
    differences = compare(wrong, right) if swapped else compare(right, wrong)
    assert [(d.organization, d.cell, d.field) for d in differences] == [(SCHOOL, MATH, field)]
    assert abs(differences[0].expected - differences[0].found) == 1


def test_a_missing_cell_and_a_surplus_cell_are_both_found() -> None:
    expected = {CellId(SCHOOL, MATH): CountedCell(results=1)}
    found = {CellId(OTHER_SCHOOL, MATH): CountedCell(results=2)}
    assert compare(expected, found) == [
        Difference(SCHOOL, MATH, "results", 1, 0),
        Difference(OTHER_SCHOOL, MATH, "results", 0, 2),
    ]


def test_schools_are_named_before_the_sums_they_spoil() -> None:
    differing = [difference.organization for difference in compare(everywhere(CountedCell(results=1)), {})]
    assert differing == [SCHOOL, STATE, COUNTY, DISTRICT]


def test_a_cell_whose_results_were_all_taken_back_is_as_good_as_none() -> None:
    emptied = Cell()
    part = contribution(2490, levels_code([2, 0, 1]), under_appeal=True)
    emptied.apply(part)
    emptied.retract(part)
    assert compare({}, counted_cells({CellId(SCHOOL, MATH): emptied}, registry())) == []


def test_a_district_that_is_not_the_sum_of_its_schools_is_named() -> None:
    cells = everywhere(counted())
    assert contradictions(cells) == []
    cells[CellId(OTHER_SCHOOL, MATH)] = CountedCell(results=1)
    assert contradictions(cells) == [Difference(DISTRICT, MATH, "results", 4, 3)]
    del cells[CellId(OTHER_SCHOOL, MATH)], cells[CellId(STATE, MATH)]
    assert {difference.organization for difference in contradictions(cells)} == {STATE}


def test_a_cell_of_an_unknown_test_is_named_not_skipped() -> None:
    surplus = {CellId(SCHOOL, "2026:NO-SUCH-TEST:05"): stored()[CellId(SCHOOL, MATH)]}
    assert compare({}, counted_cells(surplus, registry()))[0].cell == "2026:NO-SUCH-TEST:05"


def test_equal_tables_end_with_status_0(
    tables: FakeTables, expectation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(expectation, "redis://unused", wait_seconds=0, as_json=False) == 0
    assert "Equal: 4 cells" in capsys.readouterr().out


def test_differing_tables_end_with_status_1_and_name_the_school(
    tables: FakeTables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expected.jsonl"
    write_expectation(path, {CellId(SCHOOL, MATH): counted(score_sum=5001)}, HEAD)
    assert verify(path, "redis://unused", wait_seconds=0, as_json=False) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "Briarholt" in shown and "5,001" in shown and "the first 10" in shown


def test_json_says_how_many_differences_there_are(
    tables: FakeTables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expected.jsonl"
    write_expectation(path, everywhere(counted()) | {CellId(SCHOOL, MATH): counted(results=4)}, HEAD)
    assert verify(path, "redis://unused", wait_seconds=0, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["differences"], told["contradictions"]) == (False, 1, 0)
    assert told["first_differences"] == [
        {"organization": SCHOOL, "cell": MATH, "field": "results", "expected": 4, "found": 3}
    ]


def test_waiting_ends_as_soon_as_the_tables_have_caught_up(tables: FakeTables, expectation: Path) -> None:
    tables.readings = [{}, {}, stored()]
    assert verify(expectation, "redis://unused", wait_seconds=60, as_json=True) == 0
    assert len(tables.readings) == 1


def test_waiting_ends_when_it_is_told_to_stop() -> None:
    seen: list[int] = []
    settled = wait_until_equal(
        FakeTables({}),  # type: ignore[arg-type]  # as much of StoredCells as is needed
        everywhere(counted()),
        registry(),
        wait_seconds=60,
        on_comparison=lambda comparison: seen.append(len(comparison.differences)),
        should_stop=lambda: True,
    )
    assert not settled.equal and seen == []


@pytest.mark.parametrize("name", ["expected.jsonl", "expected.jsonl.gz"])
def test_an_expectation_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    cells = everywhere(counted()) | {CellId(OTHER_SCHOOL, MATH): CountedCell(results=1)}
    write_expectation(tmp_path / name, cells, HEAD)
    head, read = read_expectation(tmp_path / name)
    assert read == cells
    assert (head.seed, head.events, head.outcomes, head.cells) == (1, 2, {"applied": 2}, 5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read"),
        (b"", "is not an expectation"),
        (b"<TDSReport/>", "is not an expectation"),
        (b'{"format":"other","seed":1,"school_year":2026,"schools":1,"events":1}', "its format is 'other'"),
    ],
    ids=["missing", "empty", "xml", "other format"],
)
def test_a_file_that_is_no_expectation_is_refused(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "expected.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=fault):
        read_expectation(path)


def test_an_expectation_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expected.jsonl"
    write_expectation(path, everywhere(counted()), HEAD)
    path.write_bytes(path.read_bytes().rsplit(b"\n", 2)[0] + b"\n")
    with pytest.raises(InvalidInput, match="3 of 4 cells"):
        read_expectation(path)


def test_a_cut_gzip_file_is_refused(expectation: Path) -> None:
    expectation.write_bytes(expectation.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_expectation(expectation)
