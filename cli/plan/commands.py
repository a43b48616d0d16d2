"""Arguments of ``scores plan``; what it does is in the files beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import Json


def plan(
    students: Annotated[int, typer.Option(min=1, max=100_000_000, help="Tested in a school year.")],
    viewers: Annotated[int, typer.Option(min=0, max=10_000_000, help="Open streams at the busiest moment.")],
    events_per_second: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=10_000_000,
            help="At the busiest moment; default: the state's, by the number of students.",
        ),
    ] = None,
    years: Annotated[int, typer.Option(min=1, max=50, help="School years that are kept.")] = 1,
    copies: Annotated[int, typer.Option(min=1, max=9, help="Of each record in Kafka.")] = 3,
    as_json: Json = False,
) -> None:
    """Calculate partitions, processes, memory and disk of a deployment, from what was measured."""
    from cli.plan.demand import Demand
    from cli.plan.showing import show_plan

    demand = Demand(students, viewers, events_per_second, years, copies)
    exit_with(lambda: show_plan(demand, as_json=as_json))
