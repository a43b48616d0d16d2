"""Arguments of the commands that read results: shown once, watched, or compared with what they must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import Json, RedisAddress
from cli.state import StateFolder


def show(
    org: Annotated[str, typer.Argument(help="CDS code, or a part of the name.")],
    year: Annotated[int | None, typer.Option(help="School year, e.g. 2026.")] = None,
    test: Annotated[str | None, typer.Option(help="Test, e.g. ELA-SUM.")] = None,
    grade: Annotated[str | None, typer.Option(help="KG, 1 ... 12.")] = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Show an organization's preliminary aggregates as a table."""
    from cli.show import show as run_show

    exit_with(
        lambda: run_show(
            org,
            StateFolder().address(redis, "redis_url", "--redis URL"),
            year=year,
            test=test,
            grade=grade,
            as_json=as_json,
        )
    )


def watch(
    url: Annotated[str, typer.Argument(help="The gateway's address, e.g. http://127.0.0.1:8080.")],
    topic: Annotated[
        list[str],
        typer.Option("--topic", help="district/CDS, district/CDS/schools, ...; several for several."),
    ],
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, read again when a fresh one is due.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="SCORES_TOKEN", help="The token itself, when there is no file.")
    ] = None,
    test: Annotated[list[str] | None, typer.Option(help="Only these tests, e.g. ELA-SUM.")] = None,
    grade: Annotated[list[str] | None, typer.Option(help="Only these grades: KG, 1 ... 12.")] = None,
    year: Annotated[list[int] | None, typer.Option(help="Only these school years, e.g. 2026.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print what there is now, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch preliminary aggregates change, over reconnections (--json: a line a change)."""
    from cli.watch import watch as run_watch

    exit_with(
        lambda: run_watch(
            url,
            topic,
            token=token,
            token_file=token_file,
            tests=test or (),
            grades=grade or (),
            years=year or (),
            once=once,
            as_json=as_json,
        )
    )


def verify(
    expect: Annotated[Path, typer.Option(help="What `scores simulate --expect` wrote.")],
    redis: RedisAddress = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the tables to catch up.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Compare every cell with an expectation, to the integer."""
    from cli.verify import verify as run_verify

    exit_with(
        lambda: run_verify(
            expect,
            StateFolder().address(redis, "redis_url", "--redis URL"),
            wait_seconds=wait,
            as_json=as_json,
        )
    )
