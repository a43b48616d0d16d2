"""Arguments of ``scores webhooks list``, ``create``, ``change`` and what else is about an endpoint itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import GatewayAddress, Json
from cli.webhooks.reaching import EndpointId, Token, reach
from schemas.errors import InvalidInput

Follow = Annotated[
    list[str] | None,
    typer.Option("--follow", help="CDS code: the organization and all below it; several for several."),
]
FollowAlone = Annotated[
    list[str] | None, typer.Option("--follow-alone", help="CDS code: the organization without those below.")
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        help="aggregate.updated, result.rescored, result.invalidated, release.changed; default: all that you may see.",
    ),
]
Tests = Annotated[list[str] | None, typer.Option("--test", help="Only these tests, e.g. ELA-SUM.")]
Grades = Annotated[list[str] | None, typer.Option("--grade", help="Only these grades: KG, 1 ... 12.")]
Points = Annotated[
    float | None,
    typer.Option(
        help="Only when the share of students at the two highest levels moves by so many points; 0: at every change."
    ),
]
Interval = Annotated[
    int | None,
    typer.Option("--interval", help="Seconds between messages about one organization; default 60."),
]
Full = Annotated[
    bool | None,
    typer.Option("--full/--thin", help="With figures; or only what changed, and a link (default)."),
]
Rate = Annotated[float | None, typer.Option(help="Deliveries a second at most; default 20.")]
Description = Annotated[str | None, typer.Option(help="For you; up to 200 characters.")]
PrivateNetwork = Annotated[
    bool | None,
    typer.Option(
        "--private-network/--public-network", help="The address is not public; where a deployment allows it."
    ),
]
Signing = Annotated[
    list[str] | None,
    typer.Option("--signing", help="v1 (HMAC, default) or v1a (ed25519); twice for both."),
]


def register(webhooks: typer.Typer) -> None:
    """Add the commands to ``scores webhooks``."""
    for command in (create, show, change, delete, rotate, pause, resume, enable):
        webhooks.command()(command)
    webhooks.command("list")(list_)


def list_(gateway: GatewayAddress = None, token: Token = None, as_json: Json = False) -> None:
    """Your endpoints, and those that you look after: how they fare."""
    from cli.webhooks.showing import show_endpoints

    with reach(gateway, token) as client:
        raise typer.Exit(show_endpoints(client.endpoints(), as_json=as_json))


def create(
    url: Annotated[str, typer.Argument(help="https://..., where the messages go.")],
    follow: Follow = None,
    follow_alone: FollowAlone = None,
    event: Events = None,
    test: Tests = None,
    grade: Grades = None,
    points: Points = None,
    interval: Interval = None,
    full: Full = None,
    rate: Rate = None,
    description: Description = None,
    private_network: PrivateNetwork = None,
    signing: Signing = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make an endpoint, and print its secret, once. Its address is asked first whether it wants webhooks."""
    from cli.webhooks.showing import show_issued

    if not follow and not follow_alone:
        raise InvalidInput("follow what? Give --follow CDS, e.g. --follow 19647330000000")
    fields = _fields(
        url=url,
        follows=_follows(follow, follow_alone),
        events=event,
        tests=test,
        grades=grade,
        points=points or None,
        interval_seconds=interval,
        payload=_payload(full),
        rate=rate,
        description=description,
        private_network=private_network,
        signing=signing,
    )
    with reach(gateway, token) as client:
        raise typer.Exit(show_issued(client.create(fields), as_json=as_json))


def show(
    endpoint: EndpointId, gateway: GatewayAddress = None, token: Token = None, as_json: Json = False
) -> None:
    """One endpoint in full, and how it fares."""
    from cli.webhooks.showing import show_endpoint

    with reach(gateway, token) as client:
        raise typer.Exit(show_endpoint(client.endpoint(endpoint), as_json=as_json))


def change(
    endpoint: EndpointId,
    url: Annotated[
        str | None, typer.Option(help="Another address; it is asked first, as at the beginning.")
    ] = None,
    follow: Follow = None,
    follow_alone: FollowAlone = None,
    event: Events = None,
    test: Tests = None,
    all_tests: Annotated[bool, typer.Option("--all-tests")] = False,
    grade: Grades = None,
    all_grades: Annotated[bool, typer.Option("--all-grades")] = False,
    points: Points = None,
    interval: Interval = None,
    full: Full = None,
    rate: Rate = None,
    description: Description = None,
    private_network: PrivateNetwork = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change what is named; the rest stays. The endpoint is told in your name from then on."""
    from cli.webhooks.showing import show_endpoint

    fields = _fields(
        url=url,
        follows=_follows(follow, follow_alone),
        events=event,
        tests=[] if all_tests else test,
        grades=[] if all_grades else grade,
        interval_seconds=interval,
        payload=_payload(full),
        rate=rate,
        description=description,
        private_network=private_network,
    )
    if points is not None:
        fields["points"] = points or None
    if not fields:
        raise InvalidInput(
            "change what? Give at least one option; `scores webhooks change --help` lists them"
        )
    with reach(gateway, token) as client:
        raise typer.Exit(show_endpoint(client.change(endpoint, fields), as_json=as_json))


def delete(
    endpoint: EndpointId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    gateway: GatewayAddress = None,
    token: Token = None,
) -> None:
    """Delete an endpoint; nothing is sent there any more, and its messages are forgotten."""
    with reach(gateway, token) as client:
        found = client.endpoint(endpoint)
        if not yes:
            typer.confirm(f"Delete {found.id}, {found.url}?", abort=True)
        client.delete(endpoint)
    print(f"deleted: {found.id}")


def rotate(
    endpoint: EndpointId,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The old secret ends now; else it signs on for a day.")
    ] = False,
    signing: Signing = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """A new secret, printed once; the old one signs on beside it for a day."""
    from cli.webhooks.showing import show_issued

    with reach(gateway, token) as client:
        issued = client.rotate(endpoint, signing=signing or (), at_once=at_once)
        raise typer.Exit(show_issued(issued, as_json=as_json))


def pause(
    endpoint: EndpointId, gateway: GatewayAddress = None, token: Token = None, as_json: Json = False
) -> None:
    """Send nothing until it is resumed; what changes meanwhile is told then, the latest of it."""
    _pause(endpoint, gateway, token, paused=True, as_json=as_json)


def resume(
    endpoint: EndpointId, gateway: GatewayAddress = None, token: Token = None, as_json: Json = False
) -> None:
    """Send again."""
    _pause(endpoint, gateway, token, paused=False, as_json=as_json)


def enable(
    endpoint: EndpointId, gateway: GatewayAddress = None, token: Token = None, as_json: Json = False
) -> None:
    """Deliver again to an endpoint that was disabled. Exit status 1 while no worker runs."""
    from cli.webhooks.showing import show_accepted

    with reach(gateway, token) as client:
        accepted = client.order(endpoint, "enable")
    raise typer.Exit(show_accepted(accepted, f"{endpoint} is enabled", as_json=as_json))


def _pause(endpoint: str, gateway: str | None, token: str | None, *, paused: bool, as_json: bool) -> None:
    from cli.webhooks.showing import show_endpoint

    with reach(gateway, token) as client:
        raise typer.Exit(show_endpoint(client.pause(endpoint, paused=paused), as_json=as_json))


def _follows(whole: list[str] | None, alone: list[str] | None) -> list[dict[str, Any]] | None:
    follows = [
        *({"organization": code, "below": True} for code in whole or ()),
        *({"organization": code, "below": False} for code in alone or ()),
    ]
    return follows or None


def _payload(full: bool | None) -> str | None:
    return None if full is None else "full" if full else "thin"


def _fields(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
