"""``scores webhooks listen``: a receiver to try webhooks out with; it verifies, answers the confirmation, and prints."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.stop_signals import stop_signals
from cli.webhooks.inbox import Delivery, Keys, Outcome
from cli.webhooks.receiving import LocalReceiver
from schemas.errors import InvalidInput
from schemas.webhooks.payload_types import (
    AggregateUpdated,
    ChangedCell,
    EndpointDisabled,
    EndpointPing,
    Payload,
    ReleaseChanged,
    ResultInvalidated,
    ResultRescored,
)
from schemas.webhooks.secrets import VerifyingKey, verifying_key

_ROWS: Final = 20  # deliveries on the screen, the latest on top
_CELLS_NAMED: Final = 3
_SECRETS: Final = re.compile(r"\bwh(?:sec|pk)_[A-Za-z0-9+/=]+")
_REFRESH_SECONDS: Final = 0.25


def listen(*, host: str, port: int, secrets: Sequence[str], secret_file: Path | None, as_json: bool) -> int:
    """Take deliveries until interrupted.

    Args:
        secrets: ``whsec_...`` or ``whpk_...``; one that fits is enough.
        secret_file: more of them, anywhere in it, as in what ``scores webhooks create`` prints; read again at each
            delivery, so it may come later, and change.

    Raises:
        InvalidInput: there is no secret, one is none, or the port is taken.
    """
    if not secrets and secret_file is None:
        raise InvalidInput(
            "no secret is given; expected --secret or SCORES_WEBHOOK_SECRET with what `scores webhooks create` "
            "has shown, or --secret-file FILE"
        )
    keys = _keys(secrets, secret_file)
    keys()  # a wrong one is told of now, not at the first delivery
    show: _Shown = _Lines(as_json=as_json)
    console = Console(markup=False)  # a name may have brackets
    if console.is_terminal and not as_json:
        show = _LiveTable(console)
    with stop_signals() as stop, LocalReceiver(keys, show.add, host=host, port=port) as receiver:
        show.run(receiver.url, stop)
    return 0


def line_of(delivery: Delivery) -> str:
    """One delivery in one line."""
    return "  ".join((_clock(delivery), f"{delivery.outcome:<9}", *(one for one in _said(delivery) if one)))


def _keys(secrets: Sequence[str], path: Path | None) -> Keys:
    given = [verifying_key(secret) for secret in secrets]

    def keys() -> list[VerifyingKey]:
        if path is None or not path.exists():
            return given
        try:
            found = _SECRETS.findall(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the secrets' file '{path}' cannot be read: {error}") from error
        return given + [verifying_key(secret) for secret in found]

    return keys


class _Lines:
    """For a file or a pipe."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def add(self, delivery: Delivery) -> None:
        if self._as_json:
            sys.stdout.buffer.write(msgspec.json.encode(_described(delivery)) + b"\n")
            sys.stdout.buffer.flush()
        else:
            print(line_of(delivery), flush=True)

    def run(self, url: str, stop: threading.Event) -> None:
        print(f"listening on {url}", file=sys.stderr, flush=True)
        stop.wait()


class _LiveTable:
    """On a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latest: deque[Delivery] = deque(maxlen=_ROWS)
        self._counted = dict.fromkeys(Outcome, 0)

    def add(self, delivery: Delivery) -> None:
        self._counted[delivery.outcome] += 1
        self._latest.appendleft(delivery)

    def run(self, url: str, stop: threading.Event) -> None:
        with Live(console=self._console, auto_refresh=False) as live:
            while not stop.wait(_REFRESH_SECONDS):
                live.update(self._table(url), refresh=True)

    def _table(self, url: str) -> Table:
        counted = ", ".join(f"{count:,} {outcome}" for outcome, count in self._counted.items() if count)
        table = Table(
            title=f"Preliminary; listening on {url}: {counted or 'nothing yet'}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
        )
        table.collapse_padding, table.pad_edge = True, False
        for heading in ("received", "outcome", "event", "organization", "what it says"):
            table.add_column(heading, no_wrap=True)
        for delivery in list(self._latest):
            table.add_row(_clock(delivery), delivery.outcome.value, *_said(delivery))
        return table


_Shown = _Lines | _LiveTable


def _described(delivery: Delivery) -> dict[str, Any]:
    """A delivery as a JSON object."""
    return {
        "outcome": delivery.outcome.value,
        "status": delivery.status,
        "message": delivery.message,
        "reason": delivery.reason,
        "newer": list(delivery.newer),
        "payload": delivery.payload,
    }


def _clock(delivery: Delivery) -> str:
    return f"{datetime.fromtimestamp(delivery.received, UTC):%H:%M:%S}"


def _said(delivery: Delivery) -> tuple[str, str, str]:
    """Event, organization, and what the delivery says."""
    payload = delivery.payload
    if payload is None:
        return "", "", delivery.reason or "an event that this version does not know"
    return str(payload.__struct_config__.tag), *_content(payload, delivery.newer)


def _content(payload: Payload, newer: Sequence[ChangedCell]) -> tuple[str, str]:
    match payload:
        case AggregateUpdated(data=data):
            return data.organization.name, _cells(newer or data.cells)
        case ResultRescored(data=data) | ResultInvalidated(data=data):
            return data.organization.name, f"{len(data.results):,} exam{'s' if len(data.results) > 1 else ''}"
        case ReleaseChanged(data=data):
            return data.district, f"{data.subject} {data.report} {data.school_year}: {data.state}"
        case EndpointPing(data=data):
            return "", data.endpoint
        case EndpointDisabled(data=data):
            return "", f"{data.endpoint} is disabled: {data.reason}"


def _cells(cells: Sequence[ChangedCell]) -> str:
    named = [_cell(cell) for cell in cells[:_CELLS_NAMED]]
    more = len(cells) - len(named)
    return ", ".join([*named, f"and {more:,} more"] if more else named)


def _cell(cell: ChangedCell) -> str:
    text = f"{cell.test} {cell.grade} v{cell.version}"
    if cell.figures is msgspec.UNSET:
        return text
    figures = cell.figures
    if figures is None:
        return f"{text}: none"
    if figures.suppressed:
        return f"{text}: *"
    count = f"{text}: n={figures.with_scores}"
    return count if figures.mean is None else f"{count} mean={figures.mean}"
