"""Arguments of ``scores lag``; what the commands do is in the files beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, KafkaAddress, RedisAddress
from schemas.errors import InvalidInput

lag = typer.Typer(
    help="How far behind every reader of a log is, in seconds and records, and what to do about it."
)


@lag.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="Only this reader, with its partitions; several for several."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Show how far behind every reader of a log is, in seconds and records, and what to do about it.

    Exit status: 0 all right, 1 a reader is in trouble, 2 it cannot be told. With --watch --json, a line for each judgement.
    """
    if context.invoked_subcommand is not None:
        if group or watch or as_json:
            raise InvalidInput(f"put options behind the command: scores lag {context.invoked_subcommand} ...")
        return
    from cli.lag.showing import show_lag, watch_lag

    show = watch_lag if watch else show_lag
    raise typer.Exit(show(kafka, redis, groups=group or (), as_json=as_json))


@lag.command()
def run() -> None:
    """Run the monitor, of which one works at a time (settings from the environment, see .env.example)."""
    from consumers.lag.__main__ import main

    raise typer.Exit(main())
