"""``scores releases show`` and ``export``: the states as a table of districts by subjects, or as a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.releases.client import ReleasesClient
from gateway.releases.answers import ListedDistrict, ReleasesAnswer
from schemas.errors import InvalidInput
from schemas.releases import SUBJECTS, ReleaseState, state_named

_STYLES: Final = {
    ReleaseState.LOADING: "red",
    ReleaseState.REVIEWING: "yellow",
    ReleaseState.RELEASED: "green",
}


def show_releases(
    client: ReleasesClient, asked: Mapping[str, Sequence[str]], *, county: str | None, as_json: bool
) -> int:
    """Print the states as tables, one for each school year and report."""
    answer = client.read(asked)
    districts = in_county(answer.districts, county)
    if as_json:
        among = {district.id for district in districts}
        shown = msgspec.structs.replace(
            answer,
            districts=tuple(districts),
            releases=tuple(one for one in answer.releases if one.district in among),
        )
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
        sys.stdout.flush()
        return 0
    console = Console()
    if not districts:
        console.print("No district's release states are open to this token, or the directory has none yet.")
        return 0
    groups = sorted({(one.school_year, one.report) for one in answer.releases}, reverse=True)
    subjects = [subject for subject in SUBJECTS if subject in (asked.get("subject") or SUBJECTS)]
    for year, report in groups:
        console.print(_table(answer, districts, year, report, subjects))
    if not groups:
        console.print("No release state has been set yet.")
    console.print(Text(f"What was never set, in (brackets), is {answer.unlisted}.", style="dim"))
    return 0


def export_releases(client: ReleasesClient, asked: Mapping[str, Sequence[str]], output: Path | None) -> int:
    """Write the states as CSV, which ``scores releases import`` takes.

    Raises:
        InvalidInput: the file cannot be written.
    """
    data = client.export(asked)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return 0
    try:
        output.write_bytes(data)
    except OSError as error:
        raise InvalidInput(f"'{output}' cannot be written: {error.strerror}") from None
    return 0


def in_county(districts: Sequence[ListedDistrict], county: str | None) -> list[ListedDistrict]:
    """Those of one county, or all without one."""
    return [one for one in districts if county is None or one.id[:2] == county[:2]]


def _table(
    answer: ReleasesAnswer,
    districts: Sequence[ListedDistrict],
    year: int,
    report: str,
    subjects: Sequence[str],
) -> Table:
    states = {
        (one.district, one.subject): one.state
        for one in answer.releases
        if (one.school_year, one.report) == (year, report)
    }
    table = Table(title=f"{year - 1}–{year % 100:02d}, {report} results", title_justify="left")
    table.add_column("District", overflow="fold", footer="all")
    table.add_column("Code")
    for subject in subjects:
        table.add_column(subject, footer=_counts(states, districts, subject))
    table.show_footer = len(districts) > 1
    for district in districts:
        cells = [_cell(states.get((district.id, subject)), answer.unlisted) for subject in subjects]
        table.add_row(district.name, district.id, *cells)
    return table


def _cell(state: str | None, unlisted: str) -> Text:
    if state is None:
        return Text(f"({unlisted})", style="dim")
    return Text(state, style=_STYLES[state_named(state)])


def _counts(states: Mapping[tuple[str, str], str], districts: Sequence[ListedDistrict], subject: str) -> str:
    found = Counter(state for one in districts if (state := states.get((one.id, subject))))
    return "\n".join(f"{number:,} {state}" for state, number in found.most_common())
