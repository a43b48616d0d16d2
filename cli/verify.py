"""``scores verify``: are the live aggregates what they must be? Every cell is compared, integer by integer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from cli.simulator.expectation import read_expectation
from cli.simulator.recount import CellId, CountedCell
from cli.stored_cells import StoredCells, stored_cells
from schemas.aggregates import Cell, cell_name
from schemas.assessments import Registry, load_registry
from schemas.errors import UnknownAssessment
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel, ancestry, is_canary, level_of
from schemas.organizations import Directory

_POLL_SECONDS: Final = 0.5  # reading a whole county takes about a tenth of that
_SHOWN: Final = 10  # differences named in full; the first few nearly always tell the cause

Cells = Mapping[CellId, CountedCell]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what it must be."""

    organization: str  # CDS code
    cell: str  # "2026:ELA-SUM:03"
    field: str  # "results", "level 2", "claim SOCK_R level 1", "students with score 2431", ...
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was found out about the tables at one moment."""

    cells: int
    differences: list[Difference]  # from what was expected
    contradictions: list[Difference]  # organizations that are not the sum of those below them

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and not self.contradictions


def verify(expect: Path, redis_url: str, *, wait_seconds: float, as_json: bool) -> int:
    """Compare the serving generation with an expectation; 0 when all is equal, 1 when not.

    With ``wait_seconds`` it compares again and again until all is equal or the time is over: the tables may be catching up.

    Raises:
        InvalidInput: the file is no expectation, or Redis has no tables.
        DependencyUnavailable: Redis does not answer.
    """
    _, expected = read_expectation(expect)
    registry = load_registry()
    console = Console(stderr=True)
    with stored_cells(redis_url) as stored, console.status("Comparing") as status:

        def tell(comparison: Comparison) -> None:
            status.update(f"{len(comparison.differences):,} differences; waiting for the tables to catch up")

        comparison = wait_until_equal(
            stored, expected, registry, wait_seconds=wait_seconds, on_comparison=tell
        )
        directory = stored.directory()
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(_summary(comparison)) + b"\n")
        sys.stdout.flush()
    else:
        print_comparison(Console(), comparison, directory)
    return 0 if comparison.equal else 1


def wait_until_equal(
    stored: StoredCells,
    expected: Cells,
    registry: Registry,
    *,
    wait_seconds: float,
    on_comparison: Callable[[Comparison], None] = lambda comparison: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Compare until all is equal, the time is over, or ``should_stop`` says so."""
    deadline = time.monotonic() + wait_seconds
    while True:
        # A stack's canary sends results that no simulator expects, and that no figure of the state contains.
        cells = {name: cell for name, cell in stored.everywhere().items() if not is_canary(name.cds)}
        found = counted_cells(cells, registry)
        comparison = Comparison(len(expected), compare(expected, found), contradictions(found))
        if comparison.equal or time.monotonic() >= deadline or should_stop():
            return comparison
        on_comparison(comparison)
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def compare(expected: Cells, found: Cells) -> list[Difference]:
    """Every figure that differs, schools first. A cell without results is as good as none."""
    differences = []
    for name in sorted(expected.keys() | found.keys(), key=_schools_first):
        wanted = _figures(expected.get(name, _NOTHING))
        actual = _figures(found.get(name, _NOTHING))
        differences += [
            Difference(name.cds, name.cell, field, wanted.get(field, 0), actual.get(field, 0))
            for field in [*wanted, *(field for field in actual if field not in wanted)]
            if wanted.get(field, 0) != actual.get(field, 0)
        ]
    return differences


def contradictions(found: Cells) -> list[Difference]:
    """Districts, counties and the state that are not the sum of the schools, districts and counties below them."""
    sums: dict[CellId, dict[str, int]] = {}
    for name, cell in found.items():
        above = ancestry(OrganizationId(name.cds))[1:2]
        for parent in above:
            total = sums.setdefault(CellId(parent, name.cell), {})
            for field, number in _figures(cell).items():
                total[field] = total.get(field, 0) + number
    return [
        Difference(name.cds, name.cell, field, total.get(field, 0), actual.get(field, 0))
        for name in sorted(sums, key=_schools_first)
        for total, actual in [(sums[name], _figures(found.get(name, _NOTHING)))]
        for field in [*total, *(field for field in actual if field not in total)]
        if total.get(field, 0) != actual.get(field, 0)
    ]


def counted_cells(cells: Mapping[CellId, Cell], registry: Registry) -> dict[CellId, CountedCell]:
    """Stored cells in the form of the recount; the registry says which claim a measure is."""
    return {name: _counted(name, cell, registry) for name, cell in cells.items()}


_NOTHING: Final = CountedCell()


def _schools_first(name: CellId) -> tuple[bool, CellId]:
    # A wrong school makes its district, county and state wrong; the cause should be named before its consequences.
    return level_of(OrganizationId(name.cds)) is not OrganizationLevel.SCHOOL, name


def _counted(name: CellId, cell: Cell, registry: Registry) -> CountedCell:
    year, test, grade = cell_name(name.cell)
    try:
        claims = [claim.code for claim in registry.at(year, test, grade).claims]
    except UnknownAssessment:
        claims = []  # a cell that nobody expects; it will be named all the same
    return CountedCell(
        results=cell.results,
        with_scores=cell.with_scores,
        under_appeal=cell.under_appeal,
        score_sum=cell.score_sum,
        score_sum_sq=cell.score_sum_sq,
        levels=cell.level_counts(),
        claims={code: cell.level_counts(measure) for measure, code in enumerate(claims, start=1)},
        histogram=dict(cell.scores()),
    )


def _figures(cell: CountedCell) -> dict[str, int]:
    """All integers of a cell by name, zeros left out."""
    return {field: number for field, number in _named(cell) if number}


def _named(cell: CountedCell) -> Iterator[tuple[str, int]]:
    yield "results", cell.results
    yield "with scores", cell.with_scores
    yield "under appeal", cell.under_appeal
    yield "sum of scores", cell.score_sum
    yield "sum of squares", cell.score_sum_sq
    for level, number in enumerate(cell.levels, start=1):
        yield f"level {level}", number
    for code in sorted(cell.claims):
        for level, number in enumerate(cell.claims[code], start=1):
            yield f"claim {code} level {level}", number
    for score in sorted(cell.histogram):
        yield f"students with score {score}", cell.histogram[score]


def _summary(comparison: Comparison) -> dict[str, object]:
    return {
        "equal": comparison.equal,
        "cells": comparison.cells,
        "differences": len(comparison.differences),
        "contradictions": len(comparison.contradictions),
        "first_differences": [asdict(difference) for difference in comparison.differences[:_SHOWN]],
        "first_contradictions": [asdict(difference) for difference in comparison.contradictions[:_SHOWN]],
    }


def print_comparison(console: Console, comparison: Comparison, directory: Directory) -> None:
    """Say that all is equal, or show the first differences as tables."""
    if comparison.equal:
        console.print(
            f"Equal: {comparison.cells:,} cells, to the integer; schools add up to districts, counties and the state.",
            soft_wrap=True,
        )
        return
    if comparison.differences:
        title = f"{len(comparison.differences):,} differences from the expectation"
        console.print(differences_table(title, "expected", "found", comparison.differences, directory))
    if comparison.contradictions:
        title = f"{len(comparison.contradictions):,} figures that are not the sum of the organizations below"
        console.print(differences_table(title, "sum below", "found", comparison.contradictions, directory))


def differences_table(
    title: str, wanted: str, found: str, differences: Sequence[Difference], directory: Directory
) -> Table:
    """The first differences, under these headings for what was expected and what was found."""
    first = f"; the first {_SHOWN}" if len(differences) > _SHOWN else ""
    table = Table(title=title + first, title_justify="left")
    for heading in ("organization", "test", "grade", "figure"):
        table.add_column(heading, overflow="fold")
    table.add_column(wanted, justify="right")
    table.add_column(found, justify="right")
    for difference in differences[:_SHOWN]:
        _, test, grade = cell_name(difference.cell)
        organization = OrganizationId(difference.organization)
        shown = directory.name(organization)
        if organization not in {shown, STATE}:
            shown = f"{shown} ({organization})"
        table.add_row(
            shown, test, grade, difference.field, f"{difference.expected:,}", f"{difference.found:,}"
        )
    return table
