"""Arguments of ``scores rebuild``; what the commands do is in the files beside this one."""

from __future__ import annotations

import os
from typing import Annotated, cast

import typer

from cli.options import Json, KafkaAddress, RedisAddress
from cli.state import StateFolder
from schemas.errors import InvalidInput
from schemas.keys import Attribution

rebuild = typer.Typer(help="New tables from the log, beside the serving ones, then in their place.")

Rule = Annotated[
    str | None,
    typer.Option("--attribution", help="Count by the current or the tested school; default: as it is."),
]
FromWhatIsLeft = Annotated[
    bool,
    typer.Option(
        "--from-what-is-left",
        help="Though retention has cut the log: results that were only in deleted records will be missing.",
    ),
]
NewLog = Annotated[
    bool,
    typer.Option(
        "--new-log",
        help="Though the topic is not the one the tables were read from: only what is in the new one will count.",
    ),
]
KeepOld = Annotated[bool, typer.Option("--keep-old", help="Do not remove the tables that served before.")]
FlipAnyway = Annotated[
    bool, typer.Option("--flip-anyway", help="Let the new tables serve though they differ.")
]


@rebuild.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    attribution: Rule = None,
    from_what_is_left: FromWhatIsLeft = False,
    new_log: NewLog = False,
    keep_old: KeepOld = False,
    flip_anyway: FlipAnyway = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Fill new tables from the log while the old ones serve, compare them, and put them in their place.

    Goes on with an unfinished rebuild. Ctrl-C stops it; nothing that serves is touched before the very end.
    """
    if context.invoked_subcommand is not None:
        if attribution or from_what_is_left or new_log or keep_old or flip_anyway or as_json:
            raise InvalidInput(
                f"put options behind the command: scores rebuild {context.invoked_subcommand} ..."
            )
        return
    start(attribution, from_what_is_left, new_log, keep_old, flip_anyway, kafka, redis, as_json)


@rebuild.command()
def start(
    attribution: Rule = None,
    from_what_is_left: FromWhatIsLeft = False,
    new_log: NewLog = False,
    keep_old: KeepOld = False,
    flip_anyway: FlipAnyway = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Fill new tables from the log while the old ones serve, compare them, and put them in their place.

    Goes on with an unfinished rebuild. Ctrl-C stops it; nothing that serves is touched before the very end. Exit status 1
    when the new tables differ and so do not serve.
    """
    from cli.rebuild.context import Orders
    from cli.rebuild.planning import Wishes

    if attribution not in {None, "current", "tested"}:
        raise InvalidInput(f"--attribution is '{attribution}'; expected current or tested")
    wishes = Wishes(cast(Attribution | None, attribution), from_what_is_left, new_log, keep_old)
    _work(Orders(wishes, flip_anyway=flip_anyway), kafka, redis, as_json=as_json)


@rebuild.command()
def resume(
    keep_old: KeepOld = False,
    flip_anyway: FlipAnyway = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Go on with a rebuild that was stopped, killed, or found to differ."""
    from cli.rebuild.context import Orders
    from cli.rebuild.planning import Wishes

    orders = Orders(Wishes(keep_old=keep_old), resume=True, flip_anyway=flip_anyway)
    _work(orders, kafka, redis, as_json=as_json)


@rebuild.command()
def cancel(redis: RedisAddress = None) -> None:
    """Stop a running rebuild; what it filled stays, to be resumed or cleaned."""
    from cli.rebuild.overview import cancel_rebuild

    raise typer.Exit(cancel_rebuild(_redis_address(redis)))


@rebuild.command()
def status(redis: RedisAddress = None, as_json: Json = False) -> None:
    """How far the rebuild is. Exit status 1 when one is unfinished and nobody works on it."""
    from cli.rebuild.overview import show_status

    raise typer.Exit(show_status(_redis_address(redis), as_json=as_json))


@rebuild.command()
def clean(redis: RedisAddress = None, as_json: Json = False) -> None:
    """Remove all tables that do not serve: of rebuilds that were given up, and old ones that were kept."""
    from cli.rebuild.overview import clean_up

    raise typer.Exit(clean_up(_redis_address(redis), as_json=as_json))


@rebuild.command()
def imports(kafka: KafkaAddress = None, redis: RedisAddress = None, as_json: Json = False) -> None:
    """Fill the gateway's index of imported exams from the log, after Redis has lost it."""
    from cli.rebuild.import_index import fill_import_index

    kafka_address = StateFolder().address(kafka, "kafka", "--kafka HOST:PORT")
    raise typer.Exit(fill_import_index(kafka_address, _redis_address(redis), as_json=as_json))


def _work(orders: object, kafka: str | None, redis: str | None, *, as_json: bool) -> None:
    from cli.rebuild.context import Addresses, Orders
    from cli.rebuild.reporting import rebuild_and_report
    from cli.rejected.judging import student_key_secret
    from cli.stores import is_cluster

    assert isinstance(orders, Orders)
    state = StateFolder()
    url = _redis_address(redis)
    addresses = Addresses(
        state.address(kafka, "kafka", "--kafka HOST:PORT"),
        url,
        is_cluster(url),
        student_key_secret(state, os.environ, "Set it"),
    )
    raise typer.Exit(rebuild_and_report(addresses, orders, as_json=as_json))


def _redis_address(given: str | None) -> str:
    return StateFolder().address(given, "redis_url", "--redis URL")
