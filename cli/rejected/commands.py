"""Arguments of ``scores rejected``; what the commands do is in the files beside this one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, KafkaAddress, RedisAddress
from cli.state import StateFolder
from schemas.rejections import PARKED, Reason

rejected = typer.Typer(
    help="Results that could not be applied: list them, look at one, retry them, export them.",
    no_args_is_help=True,
)

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help=f"Only these; give several for several: {', '.join(Reason)}."),
]
Since = Annotated[
    str | None, typer.Option("--since", help="Rejected since a time, or within: 2026-05-02T08:00Z, 12h, 7d.")
]
Partition = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only of this partition of the results.")
]
School = Annotated[str | None, typer.Option("--school", help="CDS code; only results that name it.")]
AlsoRetried = Annotated[
    bool, typer.Option("--retried", help="Also those that were retried; else they are left out.")
]
References = Annotated[
    list[str] | None, typer.Argument(help="Records, as the list calls them: 3:1042; default: all that match.")
]


@rejected.command("list")
def list_(
    reason: Reasons = None,
    since: Since = None,
    partition: Partition = None,
    school: School = None,
    retried: AlsoRetried = False,
    limit: Annotated[int, typer.Option(min=0, help="Records shown, the newest; all are counted.")] = 50,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """What is rejected, by reason and by what it waits for. Exit status 1 while there is anything."""
    from cli.rejected.listing import list_rejected
    from cli.rejected.selection import selection

    wanted = selection(
        reasons=reason or (),
        since=since,
        partition=partition,
        school=school,
        retried=retried,
        now=datetime.now(UTC),
    )
    state = StateFolder()
    broker = state.address(kafka, "kafka", "--kafka HOST:PORT")
    running = state.running()
    redis_url = redis or (running.redis_url if running is not None else None)
    raise typer.Exit(list_rejected(broker, wanted, redis_url, limit=limit, as_json=as_json))


@rejected.command()
def show(
    record: Annotated[str, typer.Argument(help="A record, as the list calls it: 3:1042.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the student's identifier and key, too.")
    ] = False,
    kafka: KafkaAddress = None,
    as_json: Json = False,
) -> None:
    """One record whole: reason, place, headers and body. Whose result it is stays hidden unless revealed."""
    from cli.rejected.showing import show_rejected

    broker = StateFolder().address(kafka, "kafka", "--kafka HOST:PORT")
    raise typer.Exit(show_rejected(broker, record, reveal=reveal, as_json=as_json))


@rejected.command()
def retry(
    records: References = None,
    reason: Reasons = None,
    since: Since = None,
    partition: Partition = None,
    school: School = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Do not ask whether they would be rejected again, or were retried."),
    ] = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Produce rejected results again, unchanged; by default the parked ones. Exit status 1 while some still wait.

    What would only be rejected again is left alone and named. Repeating a retry changes nothing.
    """
    from cli.rejected.judging import judge_of_now, student_key_secret
    from cli.rejected.retrying import retry_rejected
    from cli.rejected.selection import selection

    wanted = selection(
        reasons=reason or (() if records else PARKED),
        since=since,
        partition=partition,
        school=school,
        references=records or (),
        retried=force and bool(records),
        now=datetime.now(UTC),
    )
    state = StateFolder()
    broker = state.address(kafka, "kafka", "--kafka HOST:PORT")
    judge = None
    if not force:
        secret = student_key_secret(state, os.environ)
        judge = judge_of_now(broker, state.address(redis, "redis_url", "--redis URL"), secret)
    raise typer.Exit(retry_rejected(broker, wanted, judge, dry_run=dry_run, as_json=as_json))


@rejected.command()
def export(
    records: References = None,
    reason: Reasons = None,
    since: Since = None,
    partition: Partition = None,
    school: School = None,
    retried: AlsoRetried = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, readable by its owner only; default: standard output."),
    ] = None,
    kafka: KafkaAddress = None,
) -> None:
    """The rejected bytes as JSON lines, for whoever has to mend them. They contain student identifiers."""
    from cli.rejected.exporting import export_rejected
    from cli.rejected.selection import selection

    wanted = selection(
        reasons=reason or (),
        since=since,
        partition=partition,
        school=school,
        references=records or (),
        retried=retried,
        now=datetime.now(UTC),
    )
    broker = StateFolder().address(kafka, "kafka", "--kafka HOST:PORT")
    raise typer.Exit(export_rejected(broker, wanted, output))
