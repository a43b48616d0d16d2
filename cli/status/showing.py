"""``scores status``: what runs, how it does, and what to do, on one screen; the exit status is for scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.lag.judgement import current_judgement
from cli.lag.showing import advice_lines, readers_table, shown_verdict
from cli.state import StateFolder
from cli.status.running import AskedGateway, Running, ask_gateway, workers_of
from consumers.lag.looking import ALARMING, ALRIGHT, NOBODY, exit_status
from gateway.operations.answers import OperationsAnswer, operations_answer
from schemas.operations import Judgement, PartReport

_WORKERS_NAMED: Final = 4
_FILE_COLUMNS: Final = 140
_SIZES: Final = ("bytes", "kB", "MB", "GB", "TB")


class Status(Struct, frozen=True, kw_only=True):
    """What ``--json`` prints: the exit status, the answer of ``GET /v1/operations``, and what runs here."""

    status: int
    operations: OperationsAnswer
    running: Running


def show_status(kafka: str | None, redis: str | None, gateway: str | None, *, as_json: bool) -> int:
    """Show it once; returns the exit status: 0 all right, 1 somebody must look, 2 cannot tell.

    Raises:
        InvalidInput: there is no address, or it is none.
        DependencyUnavailable: Redis does not answer.
    """
    judgement = current_judgement(
        kafka, redis, say=lambda sentence: print(f"scores: {sentence}", file=sys.stderr)
    )
    stack = StateFolder().running()
    url = gateway or (stack.gateway_url if stack is not None and redis is None else None)
    running = Running(
        stack=None if stack is None else stack.pid,
        workers=workers_of(judgement),
        gateway=None if url is None else ask_gateway(url),
    )
    status = overall(judgement, running.gateway)
    if as_json:
        answer = operations_answer(judgement, time.time_ns() // 1_000_000)
        sys.stdout.buffer.write(
            msgspec.json.encode(Status(status=status, operations=answer, running=running)) + b"\n"
        )
        sys.stdout.flush()
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, _FILE_COLUMNS)  # a file has no right edge
        console.print(screen(judgement, running, status))
    return status


def overall(judgement: Judgement, gateway: AskedGateway | None) -> int:
    """The exit status; a gateway that takes no work is as bad as any verdict that alarms."""
    status = exit_status(judgement.worst)
    return ALARMING if gateway is not None and not gateway.ready else status


def screen(judgement: Judgement, running: Running, status: int) -> RenderableType:
    """Everything, the most important first."""
    told: list[RenderableType] = [_heading(judgement, status), *_running(running)]
    tables = [
        readers_table(judgement, positions=True),
        *([parts_table(judgement)] if judgement.parts else []),
    ]
    for table in tables:
        # Seven columns have to fit a terminal of 80.
        table.box, table.collapse_padding, table.pad_edge = box.SIMPLE_HEAD, True, False
        told.append(table)
    told += advice_lines(judgement)
    return Group(*told)


def parts_table(judgement: Judgement) -> Table:
    """Parts that read no topic: memory, connections, rejections, endpoints, the canary."""
    table = Table(title="Parts", title_justify="left")
    table.add_column("part", overflow="fold")
    table.add_column("is")
    table.add_column("says", overflow="fold")
    for part in judgement.parts:
        table.add_row(part.name, shown_verdict(part.verdict), Text(said(part)))
    return table


def said(part: PartReport) -> str:
    """A part's detail and figures in a line."""
    words = [part.detail] if part.detail else []
    # The canary's stages are seconds by what they are; of every other figure the name says the unit.
    stages = part.name == "canary"
    words += [
        figure(f"{name}_seconds" if stages and name != "lost" else name, value)
        for name, value in part.figures.items()
    ]
    return ", ".join(words)


def figure(name: str, value: float) -> str:
    """One figure with its unit, which is in the end of its name."""
    if name.endswith("_bytes"):
        return f"{_words(name, '_bytes')} {_bytes(value)}"
    if name.endswith("_seconds"):
        shown = f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:,.1f} s"
        return f"{_words(name, '_seconds')} {shown}"
    if name.endswith("per_minute"):
        return f"{_words(name, 'per_minute')} {_rate(value)}/min".strip()
    return f"{name.replace('_', ' ')} {value:,.0f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _words(name: str, ending: str) -> str:
    return name.removesuffix(ending).strip("_").replace("_", " ")


def _bytes(value: float) -> str:
    step = 0
    while value >= 1000 and step < len(_SIZES) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.3g} {_SIZES[step]}"


def _heading(judgement: Judgement, status: int) -> Text:
    at = datetime.fromtimestamp(judgement.at_ms / 1000, UTC)
    by = "this command" if judgement.monitor == NOBODY else judgement.monitor
    # A reader of several topics is one thing that needs attention.
    alarming = {one.group for one in judgement.groups if one.verdict.alarming}
    alarming |= {one.name for one in judgement.parts if one.verdict.alarming}
    if status == ALRIGHT:
        text, style = "All is well", "bold green"
    elif alarming:
        many = len(alarming) > 1
        text = f"{len(alarming)} things need attention" if many else "One thing needs attention"
        style = "bold red"
    elif status == ALARMING:
        text, style = "The gateway takes no new work", "bold red"
    else:
        text, style = "Cannot tell yet", "bold yellow"
    return Text.assemble((text, style), f": judged {at:%H:%M:%S} UTC by {by}")


def _running(running: Running) -> Iterator[Text]:
    if running.stack is not None:
        yield Text(f"The local stack runs (process {running.stack}).")
    if running.workers:
        named = ", ".join(running.workers[:_WORKERS_NAMED])
        more = len(running.workers) - _WORKERS_NAMED
        yield Text(f"Stream workers: {named}" + (f" and {more} more" if more > 0 else ""))
    if (gateway := running.gateway) is not None:
        streams = "" if gateway.connections is None else f", {gateway.connections:,} open streams"
        if gateway.ready:
            yield Text(f"Gateway {gateway.url}: ready{streams}")
        else:
            reasons = "; ".join(gateway.reasons) or "it takes no new work"
            yield Text.assemble(f"Gateway {gateway.url}: ", (f"not ready: {reasons}", "bold red"), streams)
