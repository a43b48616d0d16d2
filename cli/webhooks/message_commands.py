"""Arguments of ``scores webhooks messages``, ``replay``, ``recover`` and what else is about messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.options import GatewayAddress, Json
from cli.webhooks.reaching import EndpointId, Token, reach

MessageId = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id, msg_...; `messages` shows it.")]
Since = Annotated[
    str | None, typer.Option("--since", help="A time, or how long ago: 2026-05-02T08:00Z, 12h, 7d.")
]
Limit = Annotated[int, typer.Option(min=1, help="Messages shown, the latest.")]
States = Annotated[
    list[str] | None,
    typer.Option("--state", help="waiting, delivered, superseded, withheld, dead; several for several."),
]


def register(webhooks: typer.Typer) -> None:
    """Add the commands to ``scores webhooks``."""
    for command in (ping, messages, message, replay, recover, dead, retry):
        webhooks.command()(command)


def ping(
    endpoint: EndpointId, gateway: GatewayAddress = None, token: Token = None, as_json: Json = False
) -> None:
    """Send a test message. Exit status 1 while no worker runs."""
    from cli.webhooks.showing import show_accepted

    with reach(gateway, token) as client:
        accepted = client.order(endpoint, "ping")
    raise typer.Exit(show_accepted(accepted, "a test message is sent", as_json=as_json))


def messages(
    endpoint: EndpointId,
    state: States = None,
    since: Since = None,
    limit: Limit = 50,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """What was sent to an endpoint, the latest first."""
    _show(endpoint, state, since, limit, gateway, token, dead=False, as_json=as_json)


def message(
    endpoint: EndpointId,
    message: MessageId,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """One message, and each attempt to deliver it."""
    from cli.webhooks.showing import show_message

    with reach(gateway, token) as client:
        raise typer.Exit(show_message(client.message(endpoint, message), as_json=as_json))


def replay(
    endpoint: EndpointId,
    message: MessageId,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send a message again, with the id and content of before. Exit status 1 while no worker runs."""
    from cli.webhooks.showing import show_accepted

    with reach(gateway, token) as client:
        accepted = client.replay(endpoint, message)
    raise typer.Exit(show_accepted(accepted, f"{message} is sent again", as_json=as_json))


def recover(
    endpoint: EndpointId,
    since: Annotated[
        str, typer.Option("--since", help="A time, or how long ago: 2026-05-02T08:00Z, 12h, 7d.")
    ],
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Tell again all that has changed since a time, as it is now. Exit status 1 while no worker runs."""
    from cli.webhooks.showing import show_accepted

    since_ms = _moment_ms(since)
    with reach(gateway, token) as client:
        accepted = client.order(endpoint, "recover", since_ms=since_ms)
    raise typer.Exit(show_accepted(accepted, "all that changed since is told again", as_json=as_json))


def dead(
    endpoint: EndpointId,
    since: Since = None,
    limit: Limit = 50,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Messages that were given up, and why."""
    _show(endpoint, None, since, limit, gateway, token, dead=True, as_json=as_json)


def retry(
    endpoint: EndpointId,
    since: Since = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send all that was given up again. Exit status 1 while no worker runs."""
    from cli.webhooks.showing import show_accepted

    since_ms = _moment_ms(since)
    with reach(gateway, token) as client:
        accepted = client.order(endpoint, "dead/retry", since_ms=since_ms)
    raise typer.Exit(show_accepted(accepted, "what was given up is sent again", as_json=as_json))


def _show(
    endpoint: str,
    states: list[str] | None,
    since: str | None,
    limit: int,
    gateway: str | None,
    token: str | None,
    *,
    dead: bool,
    as_json: bool,
) -> None:
    from cli.webhooks.showing import show_messages

    since_ms = _moment_ms(since)
    with reach(gateway, token) as client:
        found = client.messages(endpoint, dead=dead, states=states or (), since_ms=since_ms, limit=limit)
    raise typer.Exit(show_messages(found, as_json=as_json))


def _moment_ms(since: str | None) -> int | None:
    from cli.moments import moment_ms

    return None if since is None else moment_ms("--since", since, datetime.now(UTC))
