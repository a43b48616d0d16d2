"""``scores plan`` for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.plan.calculating import Plan, make_plan
from cli.plan.demand import Demand
from cli.plan.line import Line
from cli.plan.measured import Assumed, Measured


def show_plan(demand: Demand, *, as_json: bool) -> int:
    """Print the plan for a demand; returns the exit status."""
    plan = make_plan(demand)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(_body(plan)) + b"\n")
        sys.stdout.flush()
    else:
        _print(plan)
    return 0


def shown(line: Line) -> str:
    """A figure as people read it."""
    if line.value == int(line.value) or line.value >= 100:
        return f"{line.value:,.0f} {line.unit}".rstrip()
    return f"{line.value:,.{1 if line.value >= 1 else 2}f} {line.unit}".rstrip()


def _body(plan: Plan) -> dict[str, object]:
    demand = plan.demand
    return {
        "asked": {
            "students": demand.students,
            "viewers": demand.viewers,
            "events_per_second": round(demand.events, 1),
            "years": demand.years,
            "copies": demand.copies,
        },
        "plan": {
            line.name: {
                "value": round(line.value, 2),
                "unit": line.unit,
                "how": line.how,
                "sources": [source.source for source in line.sources],
            }
            for line in plan.lines
        },
        "notes": plan.notes,
    }


def _print(plan: Plan) -> None:
    demand = plan.demand
    console = Console()
    numbers = _numbered(plan.lines)
    table = Table(
        title=f"{demand.students:,} students, {demand.viewers:,} viewers, {demand.events:,.0f} events a second at most",
        title_justify="left",
    )
    table.add_column("What")
    table.add_column("How much", justify="right", no_wrap=True)
    table.add_column("Calculated", overflow="fold")
    table.add_column("From", overflow="fold")
    for line in plan.lines:
        marks = dict.fromkeys(str(numbers[source.source]) for source in line.sources)
        table.add_row(line.what, Text(shown(line)), Text(line.how), " ".join(marks))
    console.print(table)
    for source, number in numbers.items():
        console.print(Text(f"{number:>2}  {source}"), soft_wrap=True)
    console.print()
    for note in plan.notes:
        console.print(Text(note), soft_wrap=True)


def _numbered(lines: Iterable[Line]) -> dict[str, int]:
    """Each source, numbered as it first appears: what was measured before what is assumed."""
    sources = [source for line in lines for source in line.sources]
    ordered = [
        source.source for kind in (Measured, Assumed) for source in sources if isinstance(source, kind)
    ]
    return {source: number for number, source in enumerate(dict.fromkeys(ordered), start=1)}
