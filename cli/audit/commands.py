"""Arguments of ``scores audit``; what the commands do is in the files beside this one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, KafkaAddress, RedisAddress
from cli.state import StateFolder

audit = typer.Typer(
    help="Who saw which organization's results, and whether the record of it is whole.",
    no_args_is_help=True,
)

Since = Annotated[
    str | None, typer.Option("--since", help="From a time on, or within: 2026-05-02T08:00Z, 12h, 7d.")
]
Until = Annotated[str | None, typer.Option("--until", help="Before a time, written alike.")]


@audit.command()
def search(
    subject: Annotated[str | None, typer.Option(help="Whose: the subject of the token.")] = None,
    token_id: Annotated[
        str | None, typer.Option("--token", help="A token's id (jti), never the token.")
    ] = None,
    organization: Annotated[str | None, typer.Option(help="CDS code.")] = None,
    reach: Annotated[
        str, typer.Option(help="Also organizations around it: all, below, above, or only itself.")
    ] = "all",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Kind of entry, e.g. stream_opened; several for several."),
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=0, help="Entries shown, the newest; all are counted.")] = 50,
    kafka: KafkaAddress = None,
    as_json: Json = False,
) -> None:
    """Find entries. With --organization also those of streams that were watching it."""
    from cli.audit.searching import search as run
    from cli.audit.selection import Reach, Selection, kinds
    from cli.moments import moment_ms
    from schemas.errors import InvalidInput
    from schemas.identifiers import organization_id

    if reach not in list(Reach):
        raise InvalidInput(f"--reach is '{reach[:40]}'; expected one of {', '.join(Reach)}")
    now = datetime.now(UTC)
    wanted = Selection(
        subject=subject,
        token_id=token_id,
        organization=organization_id(organization) if organization else None,
        reach=Reach(reach),
        kinds=kinds(kind or ()),
        since_ms=moment_ms("--since", since, now) if since else 0,
        until_ms=moment_ms("--until", until, now) if until else None,
    )
    raise typer.Exit(run(_kafka(kafka), wanted, limit=limit, as_json=as_json))


@audit.command()
def export(
    district: Annotated[
        str | None, typer.Option(help="CDS code: only disclosures that contained results of its students.")
    ] = None,
    since: Since = None,
    until: Until = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, readable by its owner only; default: standard output."),
    ] = None,
    kafka: KafkaAddress = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of CSV.")] = False,
) -> None:
    """The record of disclosures: who was shown what, from when to when, as CSV or JSON lines."""
    from cli.audit.exporting import export as run
    from cli.moments import moment_ms
    from schemas.errors import InvalidInput
    from schemas.identifiers import OrganizationLevel, level_of, organization_id

    code = organization_id(district) if district else None
    if code is not None and level_of(code) is not OrganizationLevel.DISTRICT:
        raise InvalidInput(f"{code} is a {level_of(code)}; --district expects the code of a district")
    now = datetime.now(UTC)
    raise typer.Exit(
        run(
            _kafka(kafka),
            district=code,
            since_ms=moment_ms("--since", since, now) if since else 0,
            until_ms=moment_ms("--until", until, now) if until else None,
            output=output,
            as_json=as_json,
        )
    )


@audit.command()
def verify(
    spool: Annotated[
        list[Path] | None,
        typer.Option("--spool", help="Also the SCORES_AUDIT_DIR of a machine; several for several."),
    ] = None,
    spool_only: Annotated[bool, typer.Option("--spool-only", help="Do not read Kafka.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="What --json printed earlier: everything in it must still be there.")
    ] = None,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    as_json: Json = False,
) -> None:
    """Compute every chain anew. Exit status 0 when the record is whole, 1 when something is wrong, 2 when unanswered.

    With Redis, ends that were cut off show, too; keep what --json prints elsewhere, and compare with --against.
    """
    from cli.audit.verifying import verify as run
    from schemas.errors import InvalidInput

    if spool_only and not spool:
        raise InvalidInput("--spool-only takes at least one --spool FOLDER")
    running = StateFolder().running()
    redis_url = redis or (running.redis_url if running is not None else None)
    broker = None if spool_only else _kafka(kafka)
    raise typer.Exit(
        run(
            broker,
            spools=spool or (),
            redis_url=None if spool_only else redis_url,
            against=against,
            as_json=as_json,
        )
    )


def _kafka(given: str | None) -> str:
    return StateFolder().address(given, "kafka", "--kafka HOST:PORT")
