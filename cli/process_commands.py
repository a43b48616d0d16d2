"""Arguments of the commands that run processes: one each, or the whole stack on this machine."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import Partitions

KafkaChoice = Annotated[
    str, typer.Option("--kafka", help="embedded, local (real Kafka from Maven) or HOST:PORT.")
]
RedisChoice = Annotated[str, typer.Option("--redis", help="embedded or a Redis URL.")]
Port = Annotated[
    int | None,
    typer.Option("--port", help="The gateway's port; default: 8080, or a free one."),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1, max=64, help="Worker processes, which share the partitions; restarted when they end."
    ),
]


def up(
    kafka: KafkaChoice = "embedded",
    redis: RedisChoice = "embedded",
    port: Port = None,
    partitions: Partitions = 8,
    workers: Workers = 1,
) -> None:
    """Run the stack on this machine: broker, store, and every process. Ctrl-C stops it."""
    from cli.up import run_up

    exit_with(lambda: run_up(kafka=kafka, redis=redis, port=port, partitions=partitions, workers=workers))


def demo(
    kafka: KafkaChoice = "embedded",
    redis: RedisChoice = "embedded",
    port: Port = None,
    schools: Annotated[int, typer.Option(help="Up to 2,000.")] = 40,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 25.0,
    seed: int = 1,
    for_: Annotated[
        str | None, typer.Option("--for", help="End after this long, e.g. 30s or 2m, and verify.")
    ] = None,
) -> None:
    """A small fictional county, live: the stack, the simulator and a page to watch."""
    from cli.demo import run_demo

    exit_with(
        lambda: run_demo(
            kafka=kafka, redis=redis, port=port, schools=schools, rate=rate, seed=seed, for_=for_
        )
    )


def streams(workers: Workers = 1) -> None:
    """Run a stream worker, or several (settings from the environment, see .env.example)."""
    if workers > 1:
        from cli.workers import run_workers

        exit_with(lambda: run_workers(workers, os.environ))
        return
    from streams.__main__ import main as run

    raise typer.Exit(run())


def gateway() -> None:
    """Run a gateway (settings from the environment, see .env.example)."""
    from gateway.__main__ import main as run

    raise typer.Exit(run())


def publisher() -> None:
    """Run the publisher, of which there is one (settings from the environment, see .env.example)."""
    from gateway.publisher.__main__ import main as run

    raise typer.Exit(run())


def relay() -> None:
    """Run a relay, of which one works at a time (settings from the environment, see .env.example)."""
    from streams.relay.__main__ import main as run

    raise typer.Exit(run())
