"""Arguments of ``scores tables``; what it does is in the files beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import Json, KafkaAddress, RedisAddress
from cli.state import StateFolder


def tables(
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Also each partition, with its owner.")
    ] = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Show the tables in Redis: how far they are, and how many bytes a result and a cell take."""
    from cli.tables.showing import show_tables

    def run() -> int:
        state = StateFolder()
        running = state.running()
        return show_tables(
            state.address(redis, "redis_url", "--redis URL"),
            kafka or (running.kafka if running is not None else None),
            partitions=partitions,
            as_json=as_json,
        )

    exit_with(run)
