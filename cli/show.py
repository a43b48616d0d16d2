"""``scores show``: the preliminary aggregates of one organization as a table."""

from __future__ import annotations

import sys
from typing import Final

import msgspec
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

_BAR: Final = 20  # characters that stand for all students
_COLORS: Final = ("red", "yellow", "green", "blue")  # by level, as score reports have them
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
        code = _organization(organization, directory)
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
        Console().print(_table(f"{name} ({code}): preliminary results", shown))
    else:
        narrowed = " for this choice of year, test and grade" if year or test or grade else ""
        Console().print(
            f"{name} ({code}) has no results{narrowed}. Results appear seconds after they reach Kafka; "
            "`scores simulate` or `scores import PATH` send some."
        )
    return 0 if shown else 1


def _all_figures(stored: StoredCells, code: OrganizationId, registry: Registry) -> list[Figures]:
    found = [
        figures(changed.cell, registry.at(*name), name, changed.changed_ms)
        for field, changed in stored.of(code).items()
        for name in [cell_name(field)]
    ]
    return sorted(found, key=lambda f: (-f.school_year, f.test, GRADE_NUMBER[Grade(f.grade)]))


def _organization(text: str, directory: Directory) -> OrganizationId:
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


def _table(title: str, shown: list[Figures]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = "n: students with scores. Preliminary: figures change until results are released."
    years = len({figure.school_year for figure in shown}) > 1
    for heading in (["year"] if years else []) + ["test", "grade"]:
        table.add_column(heading)
    for heading in ("results", "n", "mean", "median"):
        table.add_column(heading, justify="right")
    table.add_column("levels, lowest first", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    previous = None
    for figure in shown:
        if previous is not None and previous.test != figure.test:
            table.add_section()
        previous = figure
        table.add_row(
            *([str(figure.school_year)] if years else []),
            figure.test,
            figure.grade,
            f"{figure.results:,}",
            f"{figure.with_scores:,}",
            "–" if figure.mean is None else str(figure.mean),
            "–" if figure.median is None else f"{figure.median:g}",
            _levels(figure.levels),
            figure.changed[:19].replace("T", " "),
        )
    return table


def _levels(levels: list[LevelFigure]) -> Text:
    """A bar of the levels' shares, then their numbers of students."""
    total = sum(level.count for level in levels)
    text = Text()
    if total:
        ends = [
            round(_BAR * sum(level.count for level in levels[: i + 1]) / total) for i in range(len(levels))
        ]
        for level, start, end in zip(levels, [0, *ends], ends, strict=False):
            # The shade tells neighbours apart where there is no color.
            text.append(("░", "▒", "▓", "█")[level.level - 1] * (end - start), _COLORS[level.level - 1])
        text.append(" ")
    text.append(" / ".join(f"{level.count:,}" for level in levels) if total else "–")
    return text
