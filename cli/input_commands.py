"""Arguments of the commands that put something in: reports, a season of events, organizations, the topics themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import GatewayAddress, Json, KafkaAddress, Partitions, RedisAddress
from cli.state import StateFolder

entities = typer.Typer(help="The organization directory.", no_args_is_help=True)
topics = typer.Typer(help="Kafka topics.", no_args_is_help=True)


def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="TRT XML or JSON files, folders, tar.gz or zip archives.")
    ],
    gateway: GatewayAddress = None,
    token: Annotated[
        str | None, typer.Option(envvar="SCORES_TOKEN", help="Default: a development token.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="A name under which to reconcile this import.")] = None,
    as_json: Json = False,
) -> None:
    """Import exam reports through the gateway."""
    from cli.import_exams import import_exams
    from cli.tokens import issue_token
    from schemas.access.roles import IMPORT_ROLE
    from schemas.identifiers import STATE

    def run() -> int:
        state = StateFolder()
        url = state.address(gateway, "gateway_url", "--gateway URL")
        bearer = token or issue_token(
            state, subject="import", roles=[IMPORT_ROLE], organizations=[STATE], minutes=480
        )
        return import_exams(paths, url, bearer, batch=batch, as_json=as_json)

    exit_with(run)


def simulate(
    schools: Annotated[int, typer.Option(help="Up to 2,000.")] = 40,
    students: Annotated[int | None, typer.Option(help="Default: about 400 a school.")] = None,
    results: Annotated[
        int | None, typer.Option(help="Exams taken; default: all students take all their tests.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second; 0 is as fast as Kafka takes them.")] = 0.0,
    seed: int = 1,
    rescores: Annotated[float, typer.Option(help="Share of exams.")] = 0.10,
    duplicates: Annotated[float, typer.Option(help="Share of events sent again.")] = 0.03,
    disorder: Annotated[float, typer.Option(help="Share of events delivered late.")] = 0.05,
    resets: Annotated[float, typer.Option(help="Share of exams.")] = 0.02,
    moves: Annotated[float, typer.Option(help="Share of exams whose student changes school.")] = 0.02,
    for_: Annotated[str | None, typer.Option("--for", help="End after this long, e.g. 30s.")] = None,
    expect: Annotated[Path | None, typer.Option(help="Write what the aggregates must be.")] = None,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Produce a season of events of a fictional county into Kafka."""
    from cli.demo import duration_seconds
    from cli.simulate import simulate as run_simulate
    from cli.simulator.options import SeasonOptions

    def run() -> int:
        state = StateFolder()
        options = SeasonOptions(
            schools=schools,
            students=students,
            results=results,
            seed=seed,
            rescores=rescores,
            duplicates=duplicates,
            disorder=disorder,
            resets=resets,
            moves=moves,
        )
        return run_simulate(
            options,
            kafka=state.address(kafka, "kafka", "--kafka HOST:PORT"),
            redis_url=state.address(redis, "redis_url", "--redis URL"),
            secret=state.student_key_secret_from(os.environ).encode(),
            rate=rate,
            for_seconds=duration_seconds(for_) if for_ else None,
            expect=expect,
            as_json=as_json,
        )

    exit_with(run)


@entities.command("load")
def entities_load(
    files: Annotated[list[Path], typer.Argument(help="CDE entity files, or CSV with cds,name,kind.")],
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Load organizations into the directory."""
    from cli.load_entities import load_entities

    def run() -> int:
        state = StateFolder()
        return load_entities(
            files,
            state.address(kafka, "kafka", "--kafka HOST:PORT"),
            state.address(redis, "redis_url", "--redis URL"),
            as_json=as_json,
        )

    exit_with(run)


@topics.command("create")
def topics_create(kafka: KafkaAddress = None, partitions: Partitions = 8) -> None:
    """Create the topics that are missing."""
    from cli.create_topics import create_topics

    exit_with(lambda: create_topics(StateFolder().address(kafka, "kafka", "--kafka HOST:PORT"), partitions))
