"""``scores up``: the stack without the simulator, and the table of what runs where."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cli.local_stack import LocalStack
from cli.stack_options import kafka_option, redis_option
from cli.stop_signals import stop_signals
from cli.tokens import issue_token
from schemas.access.roles import IMPORT_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.identifiers import STATE


def run_up(*, kafka: str, redis: str, port: int | None, partitions: int, workers: int) -> int:
    """Run until Ctrl-C or SIGTERM."""
    console = Console(stderr=True)
    with (
        stop_signals() as stop,
        start_stack(
            console, kafka=kafka, redis=redis, port=port, partitions=partitions, workers=workers
        ) as stack,
    ):
        console.print(places_table(stack))
        token = issue_token(
            stack.state,
            subject="developer",
            roles=[READER_ROLE, IMPORT_ROLE, RELEASE_ROLE],
            organizations=[STATE],
            minutes=480,
        )
        console.print(f"A token for everything, for eight hours:\n\n{token}\n", soft_wrap=True)
        console.print(
            "Next: `scores entities load FILE`, then `scores import PATH` or `scores simulate`. Ctrl-C stops all."
        )
        console.print(
            "Summative results are withheld until their district and subject are released: `scores releases set --year 2026 "
            "--subject all --state released --all-districts`; `scores releases show` tells how far they are.",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
        while not stop.wait(0.5):
            for line in stack.watch():
                console.print(line, style="yellow")
    return 0


def start_stack(
    console: Console, *, kafka: str, redis: str, port: int | None, partitions: int, workers: int = 1
) -> LocalStack:
    """A stack that shows its steps; enter it to start it."""
    return LocalStack(
        kafka=kafka_option(kafka),
        redis=redis_option(redis),
        gateway_port=port,
        partitions=partitions,
        workers=workers,
        tell=lambda line: console.print(f"[dim]{line}[/dim]"),
    )


def places_table(stack: LocalStack) -> Table:
    """What runs where."""
    table = Table(title="Running", title_justify="left")
    for heading in ("What", "Where", "Note"):
        table.add_column(heading, overflow="fold")
    for place in stack.places:
        table.add_row(place.what, place.where, place.note)
    return table
