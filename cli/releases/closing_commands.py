"""Arguments of ``scores releases close``, ``reopen`` and ``closed``."""

from __future__ import annotations

import getpass
import os
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.options import Json, KafkaAddress, RedisAddress
from cli.state import StateFolder

Year = Annotated[
    int, typer.Option("--year", min=2000, max=2199, help="The year in which the school year ends.")
]
Test = Annotated[str, typer.Option("--test", help="A test, such as ELA-SUM.")]


def register(releases: typer.Typer) -> None:
    """Add the commands to ``scores releases``."""
    releases.command()(close)
    releases.command()(reopen)
    releases.command()(closed)


def close(
    year: Year,
    test: Test,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="From when on, e.g. 2026-08-31T17:00-07:00; default: ten seconds from now."
        ),
    ] = None,
    kafka: KafkaAddress = None,
    as_json: Json = False,
) -> None:
    """The year's results of a test are final: what comes later is parked, and changes no figure until it is reopened."""
    from cli.releases.closing import change_closing, closing_time, tell_closed
    from schemas.assessments import load_registry
    from schemas.closings import closable

    broker = StateFolder().address(kafka, "kafka", "--kafka HOST:PORT")
    about = closable(year, test, load_registry())
    moment = closing_time(at, datetime.now(UTC)) if at else None
    done = change_closing(broker, about, "closed", at=moment, by=_operator())
    raise typer.Exit(tell_closed(done, as_json=as_json))


def reopen(
    year: Year,
    test: Test,
    retry: Annotated[
        bool, typer.Option("--retry", help="Wait until it is open, and apply the parked results.")
    ] = False,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Take results of a closed test again. Exit status 1 while parked ones still wait."""
    from cli.rejected.judging import judge_of_now, student_key_secret
    from cli.rejected.retrying import retry_rejected
    from cli.rejected.selection import Selection
    from cli.releases.closing import change_closing, tell_reopened
    from schemas.assessments import load_registry
    from schemas.closings import closable
    from schemas.rejections import Reason

    state = StateFolder()
    broker = state.address(kafka, "kafka", "--kafka HOST:PORT")
    about = closable(year, test, load_registry())
    if retry:  # what is missing should be said before anything happens
        secret = student_key_secret(state, os.environ, "Set it, or retry without --retry")
        redis_url = state.address(redis, "redis_url", "--redis URL")
    done = change_closing(broker, about, "reopened", at=None, by=_operator())
    status = tell_reopened(broker, done, retried=retry, as_json=as_json)
    if retry:
        time.sleep(done.waiting_seconds(time.time_ns() // 1_000_000))
        wanted = Selection(frozenset({Reason.CLOSED.value}), waits_for=str(about))
        judge = judge_of_now(broker, redis_url, secret)
        status = retry_rejected(broker, wanted, judge, dry_run=False, as_json=as_json)
    raise typer.Exit(status)


def closed(kafka: KafkaAddress = None, as_json: Json = False) -> None:
    """Which tests are closed, since when and by whom, and how many results are parked."""
    from cli.releases.closing import show_closed

    broker = StateFolder().address(kafka, "kafka", "--kafka HOST:PORT")
    raise typer.Exit(show_closed(broker, as_json=as_json))


def _operator() -> str:
    """The user of this machine, as far as it has names."""
    try:
        return getpass.getuser()[:100]
    except (OSError, KeyError):  # a container's user may have none
        return f"user {os.getuid()}"
