"""``scores show``: the preliminary aggregates of one organization as a table."""

from __future__ import annotations

import sys
from typing import Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.stored_cells import StoredCells, stored_cells
from schemas.aggregates import cell_name
from schemas.assessments import Registry, load_registry
from schemas.errors import InvalidIdentifier, InvalidInput
from schemas.figures import Figures, LevelFigure, figures
from schemas.identifiers import GRADE_NUMBER, STATE, Grade, OrganizationId, grade_from, organization_id
from schemas.organizations import Directory

_WIDE: Final = 125  # columns from which on everything fits
_WIDE_BAR: Final = 20  # characters that stand for all students
_NARROW_BAR: Final = 6
_COLORS: Final = ("red", "yellow", "green", "blue")  # by level, as score reports have them
_SHADES: Final = "░▒▓█"
_CANDIDATES: Final = 10


def show(
    organization: str,
    redis_url: str,
    *,
    year: int | None,
    test: str | None,
    grade: str | None,
    as_json: bool,
) -> int:
    """Print the aggregates of the organization with this CDS code, or whose name alone contains this text.

    The exit status is 1 when there are no results.

    Raises:
        InvalidInput: no organization is meant, or several are; the message lists them.
        DependencyUnavailable: Redis does not answer.
    """
    wanted_grade = grade_from(grade) if grade is not None else None
    with stored_cells(redis_url) as stored:
        directory = stored.directory()
        code = find_organization(organization, directory)
        shown = [
            figure
            for figure in _all_figures(stored, code, load_registry())
            if (year is None or figure.school_year == year)
            and (test is None or figure.test == test.strip().upper())
            and (wanted_grade is None or figure.grade == wanted_grade)
        ]
    name = directory.name(code)
    if as_json:
        body = {"preliminary": True, "organization": code, "name": name, "figures": shown}
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
    elif shown:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, _WIDE + 40)  # a file has no right edge
        title = f"{name} ({code}): preliminary results"
        console.print(_table(title, shown, wide=console.width >= _WIDE))
    else:
        narrowed = " for this choice of year, test and grade" if year or test or grade else ""
        Console().print(
            f"{name} ({code}) has no results{narrowed}. Results appear seconds after they reach Kafka; "
            "`scores simulate` or `scores import PATH` send some.",
            soft_wrap=True,
        )
    return 0 if shown else 1


def find_organization(text: str, directory: Directory) -> OrganizationId:
    """The organization that a CDS code, a name or a part of exactly one name means.

    Raises:
        InvalidInput: none, or several; the message lists them.
    """
    try:
        code = organization_id(text)
    except InvalidIdentifier:
        return _by_name(text, directory)
    if code in directory or code == STATE:
        return code
    raise InvalidInput(
        f"{code} is not in the directory, which has {len(directory)} organizations; "
        "check the code, or load the directory with `scores entities load FILE`"
    )


def _all_figures(stored: StoredCells, code: OrganizationId, registry: Registry) -> list[Figures]:
    found = [
        figures(changed.cell, registry.at(*name), name, changed.changed_ms)
        for field, changed in stored.of(code).items()
        for name in [cell_name(field)]
    ]
    return sorted(found, key=lambda f: (-f.school_year, f.test, GRADE_NUMBER[Grade(f.grade)]))


def _by_name(text: str, directory: Directory) -> OrganizationId:
    fragment = " ".join(text.split()).casefold()
    if not fragment:
        raise InvalidInput("the organization is empty; expected a CDS code or a part of a name")
    found = sorted(
        (entry for entry in directory.entries.values() if fragment in entry.name.casefold()),
        key=lambda entry: (entry.name, entry.cds),
    )
    exact = [entry for entry in found if entry.name.casefold() == fragment]
    if len(exact) == 1:
        return OrganizationId(exact[0].cds)
    if len(found) == 1:
        return OrganizationId(found[0].cds)
    if not found:
        raise InvalidInput(
            f"no organization is called '{text[:60]}'; expected a CDS code of 14 digits or a part of a name"
        )
    lines = [f"  {entry.cds}  {entry.name}" for entry in found[:_CANDIDATES]]
    more = [f"  and {len(found) - _CANDIDATES} more"] if len(found) > _CANDIDATES else []
    raise InvalidInput(
        "\n".join(
            [f"{len(found)} organizations match '{text[:60]}'; name one of them by its code:", *lines, *more]
        )
    )


def _table(title: str, shown: list[Figures], *, wide: bool) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    table.collapse_padding, table.pad_edge = True, False
    table.caption = "n: students with scores. Preliminary: figures change until results are released."
    years = len({figure.school_year for figure in shown}) > 1
    for heading in (["year"] if years else []) + ["test", "grade"]:
        table.add_column(heading, no_wrap=True)
    for heading in ("results", "n", "mean", "median"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("levels, lowest first", overflow="fold")  # the one that may take two lines
    if wide:
        table.add_column("changed (UTC)", no_wrap=True)
    previous = shown[0].test
    for figure in shown:
        if previous != figure.test:
            table.add_section()
        previous = figure.test
        cells: list[str | Text] = [
            *([str(figure.school_year)] if years else []),
            figure.test,
            figure.grade,
            f"{figure.results:,}",
            f"{figure.with_scores:,}",
            "–" if figure.mean is None else str(figure.mean),
            "–" if figure.median is None else f"{figure.median:g}",
            _levels(figure.levels, _WIDE_BAR if wide else _NARROW_BAR),
        ]
        table.add_row(*cells, *([figure.changed[:19].replace("T", " ")] if wide else []))
    return table


def _levels(levels: list[LevelFigure], width: int) -> Text:
    """A bar of the levels' shares, then their numbers of students."""
    total = sum(level.count for level in levels)
    if not total:
        return Text("–")
    text = Text()
    reached = drawn = 0
    for level in levels:
        reached += level.count
        end = round(width * reached / total)
        # The shade tells neighbours apart where there is no color.
        text.append(_SHADES[level.level - 1] * (end - drawn), _COLORS[level.level - 1])
        drawn = end
    return text.append(" " + "/".join(f"{level.count:,}" for level in levels))
