"""Through which gateway, and with whose token, ``scores webhooks`` does what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.state import StateFolder

if TYPE_CHECKING:
    from cli.webhooks.client import WebhooksClient

Token = Annotated[
    str | None,
    typer.Option("--token", envvar="SCORES_TOKEN", help="Default: a development token for the whole state."),
]
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, ep_...; `list` shows it.")]


def reach(gateway: str | None, token: str | None) -> WebhooksClient:
    """A client of the gateway that is named, or of the local stack's.

    Raises:
        InvalidInput: none is named, and no local stack runs.
    """
    from cli.tokens import issue_token
    from cli.webhooks.client import WebhooksClient
    from schemas.access.roles import READER_ROLE, RELEASE_ROLE
    from schemas.identifiers import STATE

    state = StateFolder()
    url = state.address(gateway, "gateway_url", "--gateway URL")
    bearer = token or issue_token(
        state, subject="webhooks", roles=[READER_ROLE, RELEASE_ROLE], organizations=[STATE], minutes=60
    )
    return WebhooksClient(url, bearer)
