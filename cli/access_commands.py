"""Arguments of ``scores token`` and ``scores permissions``: what a token of the local stack opens, and the end of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.exit_status import exit_with
from cli.options import GatewayAddress, Json
from cli.state import StateFolder

tokens = typer.Typer()

RolesFile = Annotated[
    Path | None,
    typer.Option("--roles-file", envvar="SCORES_ROLES_FILE", help="Roles and groups beside the known ones."),
]
Bearer = Annotated[
    str | None,
    typer.Option("--token", envvar="SCORES_TOKEN", help="Default: a privacy officer's of the local stack."),
]


@tokens.callback(invoke_without_command=True)
def token(
    context: typer.Context,
    org: Annotated[
        list[str] | None, typer.Option("--org", help="CDS code; give several for several.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="Role; default PII.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the roles file.")] = None,
    roles_file: RolesFile = None,
    subject: str = "developer",
    minutes: Annotated[int, typer.Option(help="Lifetime.")] = 480,
) -> None:
    """Print a token of the local stack's development issuer; or revoke tokens."""
    from cli.tokens import issue_token, roles_from
    from schemas.access.roles import READER_ROLE

    if context.invoked_subcommand is not None:
        return

    def run() -> int:
        print(
            issue_token(
                StateFolder(),
                subject=subject,
                roles=role or [READER_ROLE],
                organizations=org or [],
                groups=group or [],
                minutes=minutes,
                known=roles_from(roles_file),
            )
        )
        return 0

    exit_with(run)


@tokens.command()
def revoke(
    subject: Annotated[str | None, typer.Option(help="All tokens of this subject.")] = None,
    token_id: Annotated[str | None, typer.Option("--id", help="The one token of this id (jti).")] = None,
    district: Annotated[
        str | None, typer.Option(help="CDS code: all tokens held at the district or its schools.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Only of this issuer; default: of any.")] = None,
    gateway: GatewayAddress = None,
    token: Bearer = None,
    as_json: Json = False,
) -> None:
    """Let tokens open nothing from now on, on every node; what is issued later is not touched."""
    from cli.revocations import revoke as run

    raise typer.Exit(
        run(
            _url(gateway),
            _bearer(token),
            subject=subject,
            token_id=token_id,
            district=district,
            issuer=issuer,
            as_json=as_json,
        )
    )


@tokens.command()
def revoked(gateway: GatewayAddress = None, token: Bearer = None, as_json: Json = False) -> None:
    """Show which tokens open nothing any more."""
    from cli.revocations import show_revoked

    raise typer.Exit(show_revoked(_url(gateway), _bearer(token), as_json=as_json))


def permissions(
    role: Annotated[list[str] | None, typer.Option("--role", help="Role; several for several.")] = None,
    org: Annotated[list[str] | None, typer.Option("--org", help="CDS code that it is granted for.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the roles file.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="CDS code; what is held there, and what is missing.")
    ] = None,
    roles_file: RolesFile = None,
    as_json: Json = False,
) -> None:
    """Show what roles come to: which permissions, where. Alone: all roles. Checks a roles file, too."""
    from cli.permissions import show_permissions
    from cli.tokens import roles_from

    exit_with(
        lambda: show_permissions(
            roles_from(roles_file),
            role or [],
            organizations=org or [],
            groups=group or [],
            at=at,
            as_json=as_json,
        )
    )


def _url(gateway: str | None) -> str:
    return StateFolder().address(gateway, "gateway_url", "--gateway URL")


def _bearer(token: str | None) -> str:
    from cli.tokens import issue_token
    from schemas.identifiers import STATE

    return token or issue_token(
        StateFolder(), subject="privacy-officer", roles=["PRIVACY_OFFICER"], organizations=[STATE], minutes=10
    )
