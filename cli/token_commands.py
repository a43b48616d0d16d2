"""Arguments of ``scores token``: a token of the local stack, and the end of tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import GatewayAddress, Json
from cli.state import StateFolder

Bearer = Annotated[
    str | None,
    typer.Option("--token", envvar="SCORES_TOKEN", help="Default: a privacy officer's of the local stack."),
]


def register(tokens: typer.Typer) -> None:
    """Add the commands that end tokens."""
    tokens.command("revoke")(_revoke)
    tokens.command("revoked")(_revoked)


def _revoke(
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
    from cli.revocations import revoke

    raise typer.Exit(
        revoke(
            _url(gateway),
            _bearer(token),
            subject=subject,
            token_id=token_id,
            district=district,
            issuer=issuer,
            as_json=as_json,
        )
    )


def _revoked(gateway: GatewayAddress = None, token: Bearer = None, as_json: Json = False) -> None:
    """Show which tokens open nothing any more."""
    from cli.revocations import show_revoked

    raise typer.Exit(show_revoked(_url(gateway), _bearer(token), as_json=as_json))


def _url(gateway: str | None) -> str:
    return StateFolder().address(gateway, "gateway_url", "--gateway URL")


def _bearer(token: str | None) -> str:
    from cli.tokens import issue_token
    from schemas.identifiers import STATE

    return token or issue_token(
        StateFolder(), subject="privacy-officer", roles=["PRIVACY_OFFICER"], organizations=[STATE], minutes=10
    )
