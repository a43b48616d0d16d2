"""``scores watch``: the live results of a gateway in a terminal, or as JSON lines for another program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from consumers.live import CellChanged, Change, LiveResults, OrganizationLeft, Progress
from schemas.aggregates import CellName
from schemas.errors import InvalidInput
from schemas.figures import Figures
from schemas.identifiers import OrganizationId

_ROWS: Final = 20  # changed cells on the screen, the latest on top
_REFRESH_SECONDS: Final = 0.25

_Shown = dict[tuple[OrganizationId, CellName], CellChanged]


def watch(
    url: str,
    topics: Sequence[str],
    *,
    token: str | None,
    token_file: Path | None,
    tests: Sequence[str] = (),
    grades: Sequence[str] = (),
    years: Sequence[int] = (),
    once: bool,
    as_json: bool,
) -> int:
    """Follow these topics until interrupted; with ``once``, print what there is and end.

    A token file is read anew whenever the gateway wants a fresh token.

    Raises:
        InvalidInput: there is no token, or the gateway refuses it or the topics.
        LiveResultsError: the gateway ended the stream for good.
    """
    if token_file is None and token is None:
        raise InvalidInput("no token is given; expected --token-file FILE, or the token in SCORES_TOKEN")
    source = token if token_file is None else _reading(token_file)
    assert source is not None

    async def run() -> None:
        async with LiveResults(
            url, token=source, topics=topics, tests=tests, grades=grades, years=years
        ) as results:
            if once:
                await _print_once(results, as_json=as_json)
            elif as_json:
                async for change in results:
                    _print_json(_described(change))
            else:
                await _show(results)

    asyncio.run(run())
    return 0


def _reading(path: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the token file '{path}' cannot be read: {error}") from error

    return read


async def _print_once(results: LiveResults, *, as_json: bool) -> None:
    await results.whole()
    found = [found for code in sorted(results.organizations) if (found := results.organization(code))]
    if as_json:
        body: dict[str, Any] = {"preliminary": True}
        if results.stale:
            body["stale"] = True
        body["as_of"] = results.as_of
        body["organizations"] = [
            {"id": one.id, "name": one.name, "level": one.level, "cells": list(one.cells.values())}
            for one in found
        ]
        _print_json(body)
        return
    table = _table(
        "Preliminary results", "changed (UTC)", "organization", "test", "grade", "results", "n", "mean"
    )
    for one in found:
        for name, cell in one.cells.items():
            table.add_row(
                cell.changed[:19].replace("T", " "),
                one.name,
                f"{name.test} {name.school_year}",
                name.grade,
                _count(cell, cell.results),
                _count(cell, cell.with_scores),
                _mean(cell),
            )
    _wide_console().print(table)
    if results.stale:
        print("Older results are still missing: tables are being filled again.")


async def _show(results: LiveResults) -> None:
    """The cells that changed last, on a terminal as a table that moves, elsewhere a line each."""
    console = _wide_console()
    shown: _Shown = {}
    if not console.is_terminal:
        async for change in results:
            if isinstance(change, CellChanged):
                print(_line(change, results), flush=True)
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            # The table is drawn now and then also when nothing changes: it says that nothing does.
            with suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_SECONDS):
                    async for change in results:
                        _remember(shown, change)
            live.update(_changed(results, shown), refresh=True)


def _remember(shown: _Shown, change: Change) -> None:
    match change:
        case CellChanged(organization, name):
            shown.pop((organization, name), None)
            shown[organization, name] = change
            if len(shown) > _ROWS:
                del shown[next(iter(shown))]
        case OrganizationLeft(organization):
            for key in [key for key in shown if key[0] == organization]:
                del shown[key]


def _changed(results: LiveResults, shown: _Shown) -> Table:
    state = "live" if results.live else "not updating"
    complete = f", complete as of {results.complete:%H:%M:%S} UTC" if results.complete else ""
    missing = "; older results are still missing" if results.stale else ""
    table = _table(
        f"Preliminary results, {len(results.organizations):,} organizations: {state}{complete}{missing}",
        "changed",
        "organization",
        "test",
        "grade",
        "results",
        "n",
        "mean",
    )
    for change in reversed(shown.values()):
        before, after = change.before, change.after
        table.add_row(
            after.changed[11:19] if after else "",
            _name(results, change.organization),
            f"{change.name.test} {change.name.school_year}",
            change.name.grade,
            _difference(*(_count(cell, cell.results) if cell else "0" for cell in (before, after))),
            _difference(*(_count(cell, cell.with_scores) if cell else "0" for cell in (before, after))),
            _difference(*(_mean(cell) for cell in (before, after))),
        )
    return table


def _line(change: CellChanged, results: LiveResults) -> str:
    """One change in one line, for a file or a pipe."""
    before, after = change.before, change.after
    name = change.name
    return "  ".join(
        (
            after.changed if after else "-",
            change.organization,
            _name(results, change.organization),
            f"{name.test} {name.school_year} {name.grade}",
            f"results {_difference(*(_count(cell, cell.results) if cell else '0' for cell in (before, after)))}",
            f"mean {_difference(_mean(before), _mean(after))}",
        )
    )


def _described(change: Change) -> dict[str, Any]:
    """A change as a JSON object."""
    match change:
        case CellChanged(organization, name, before, after):
            described: dict[str, Any] = {"preliminary": True, "change": "cell", "organization": organization}
            return described | name._asdict() | {"before": before, "after": after}
        case OrganizationLeft(organization):
            return {"change": "left", "organization": organization}
        case Progress():
            return {"change": "progress"} | msgspec.structs.asdict(change)


def _print_json(body: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
    sys.stdout.buffer.flush()


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.collapse_padding, table.pad_edge = True, False
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading in {"results", "n", "mean"} else "left", no_wrap=True
        )
    return table


def _wide_console() -> Console:
    console = Console(markup=False)  # a name may have brackets
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file has no right edge
    return console


def _name(results: LiveResults, organization: OrganizationId) -> str:
    found = results.organization(organization)
    return found.name if found else organization


def _count(cell: Figures, count: int | None) -> str:
    if count is None:
        return "*" if cell.suppressed else "–"
    return f"{count:,}"


def _mean(cell: Figures | None) -> str:
    if cell is None or cell.mean is None:
        return "*" if cell is not None and cell.suppressed else "–"
    return str(cell.mean)


def _difference(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
