"""``scores webhooks``: endpoints, messages and attempts as tables, or as JSON for a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.webhooks.answers import (
    AcceptedOrder,
    IssuedEndpoint,
    MessageWithAttempts,
    ShownEndpoint,
    ShownMessage,
)
from schemas.webhooks.endpoints import SUBSCRIBABLE

_STYLES: Final = {
    "active": "green",
    "unconfirmed": "yellow",
    "failing": "yellow",
    "paused": "cyan",
    "disabled": "red",
    "delivered": "green",
    "waiting": "yellow",
    "superseded": "dim",
    "withheld": "cyan",
    "dead": "red",
}
_FOLLOWS_SHOWN: Final = 3
_UNBOUND: Final = 10_000  # columns where there is no screen: a file has no right edge


def show_endpoints(endpoints: Sequence[ShownEndpoint], *, as_json: bool) -> int:
    """Print all endpoints, a line each."""
    if as_json:
        return print_json(endpoints)
    console = _console()
    if not endpoints:
        console.print("No webhook endpoint is open to this token; `scores webhooks create` makes one.")
        return 0
    table = _table("endpoint", "status", "address", "follows", "delivered", "last (UTC)")
    for one in endpoints:
        table.add_row(
            one.id,
            _word(one.status),
            Text(one.url),
            Text(_follows(one)),
            f"{one.delivered:,}",
            _time(one.last_delivered),
        )
    console.print(table)
    return 0


def show_endpoint(one: ShownEndpoint, *, as_json: bool) -> int:
    """Print one endpoint in full."""
    if as_json:
        return print_json(one)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _described(one):
        table.add_row(Text(name, style="bold"), value if isinstance(value, Text) else Text(value))
    _console().print(table)
    return 0


def show_issued(issued: IssuedEndpoint, *, as_json: bool) -> int:
    """Print an endpoint with its new secrets."""
    if as_json:
        return print_json(issued)
    show_endpoint(issued.endpoint, as_json=False)
    print()
    for one in issued.secrets:
        # Not by rich, which would break it where the screen ends.
        print(f"{'secret' if one.kind == 'v1' else 'public key'} ({one.kind}): {one.secret}")
    print("Keep this: it is not shown again. `scores webhooks rotate` makes another.")
    return 0


def show_messages(messages: Sequence[ShownMessage], *, as_json: bool) -> int:
    """Print messages, a line each."""
    if as_json:
        return print_json(messages)
    console = _console()
    if not messages:
        console.print("There is no such message.")
        return 0
    table = _table(
        "message", "made (UTC)", "type", "organization", "state", "attempts", "next (UTC)", "detail"
    )
    for one in messages:
        table.add_row(
            one.id,
            _time(one.created),
            one.type.value,
            one.organization or "–",
            _word(one.state.value),
            str(one.attempted),
            _time(one.next),
            Text(one.detail),
        )
    console.print(table)
    return 0


def show_message(found: MessageWithAttempts, *, as_json: bool) -> int:
    """Print a message and its attempts."""
    if as_json:
        return print_json(found)
    show_messages([found.message], as_json=False)
    message = found.message
    console = _console()
    console.print(Text(f"{message.bytes:,} bytes, sha256 {message.sha256}", style="dim"), soft_wrap=True)
    if found.attempts:
        table = _table("at (UTC)", "status", "ms", "error", "answer", "next (UTC)")
        for one in found.attempts:
            table.add_row(
                _time(one.at),
                "–" if one.status is None else str(one.status),
                f"{one.latency_ms:,}",
                Text(one.error),
                Text(one.response),
                _time(one.next),
            )
        console.print(table)
    return 0


def show_accepted(accepted: AcceptedOrder, what: str, *, as_json: bool) -> int:
    """Say that an order was taken. Exit status 1 when there is no worker to carry it out yet."""
    if as_json:
        print_json(accepted)
    elif accepted.delivering:
        print(f"accepted: {what}")
    else:
        print(
            f"accepted, but no worker delivers just now: {what} when one runs; start it with `scores webhooks run`"
        )
    return 0 if accepted.delivering else 1


def print_json(value: Any) -> int:
    """One line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()
    return 0


def _described(one: ShownEndpoint) -> list[tuple[str, str | Text]]:
    secrets = ", ".join(
        f"{secret.kind} of {_time(secret.created)}"
        + (f" until {_time(secret.until)}" if secret.until else "")
        for secret in one.secrets
    )
    found: list[tuple[str, str | Text]] = [
        ("endpoint", one.id),
        ("address", one.url + (" (private network)" if one.private_network else "")),
        ("owner", one.owner),
        ("status", _word(one.status)),
        ("confirmed", _time(one.confirmed)),
    ]
    if one.disabled is not None:
        found.append(("disabled", f"{_time(one.disabled_at)}, {one.disabled.value}: {one.detail}"))
    if one.failing_since is not None:
        found.append(("failing", f"since {_time(one.failing_since)}, {one.failures:,} attempts"))
    if one.not_before is not None:
        found.append(("next attempt", _time(one.not_before)))
    found += [
        (
            "follows" if number == 0 else "",
            f"{follow.organization} {follow.name}" + ("" if follow.below else " (alone)"),
        )
        for number, follow in enumerate(one.follows)
    ]
    found.append(("told of", "all" if one.events == SUBSCRIBABLE else ", ".join(one.events)))
    if one.tests or one.grades:
        found.append(("only", ", ".join([*one.tests, *(f"grade {grade}" for grade in one.grades)])))
    if one.points is not None:
        found.append(("threshold", f"{one.points:g} points at the two highest levels"))
    found += [
        (
            "at most",
            f"a message every {one.interval_seconds} s and organization, {one.rate:g} a second in all",
        ),
        ("payload", one.payload),
        ("secrets", secrets),
        ("delivered", f"{one.delivered:,}, the last {_time(one.last_delivered)}"),
        ("changed", f"{_time(one.updated)}, revision {one.revision}"),
    ]
    if one.description:
        found.append(("description", one.description))
    return found


def _follows(one: ShownEndpoint) -> str:
    names = [follow.name for follow in one.follows[:_FOLLOWS_SHOWN]]
    more = len(one.follows) - len(names)
    return ", ".join([*names, *([f"and {more} more"] if more else [])])


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = _UNBOUND
    return console


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")
    return table


def _word(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, ""))


def _time(moment: str | None) -> str:
    return "–" if moment is None else moment[:19].replace("T", " ")
