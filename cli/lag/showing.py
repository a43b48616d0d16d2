"""``scores lag``: the readers as a table, the partitions of those that are asked for, and what to do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.lag.judgement import current_judgement, opened_look
from consumers.lag.looking import NOBODY, exit_status
from schemas.advice import advice_on
from schemas.errors import InvalidInput
from schemas.operations import GroupReport, Judgement, Verdict, worst

_EVERY_SECONDS: Final = 2.0
_PARTITIONS_SHOWN: Final = 20


def show_lag(kafka: str | None, redis: str | None, *, groups: Sequence[str], as_json: bool) -> int:
    """Show it once; returns the exit status.

    Raises:
        InvalidInput: there is no such reader, or no address.
        DependencyUnavailable: Redis does not answer.
    """
    judgement = _only(current_judgement(kafka, redis, say=_say), groups)
    if as_json:
        _print_json(judgement)
    else:
        Console().print(_shown(judgement, partitions=bool(groups)))
    return exit_status(worst(group.verdict for group in judgement.groups))


def watch_lag(kafka: str | None, redis: str | None, *, groups: Sequence[str], as_json: bool) -> int:
    """Show it until Ctrl-C.

    Raises:
        InvalidInput: there is no such reader, or no address.
        DependencyUnavailable: Redis does not answer at the start.
    """

    async def watch() -> None:
        async with opened_look(kafka, redis, say=_say) as look:
            with Live(console=Console(), auto_refresh=False) as live:
                while True:
                    judgement = _only(await look.now(), groups)
                    if as_json:
                        _print_json(judgement)
                    else:
                        live.update(_shown(judgement, partitions=bool(groups)), refresh=True)
                    await asyncio.sleep(_EVERY_SECONDS)

    asyncio.run(watch())
    return 0


def _only(judgement: Judgement, groups: Sequence[str]) -> Judgement:
    if not groups:
        return judgement
    found = tuple(group for group in judgement.groups if group.group in groups)
    missing = set(groups) - {group.group for group in found}
    if missing:
        there = ", ".join(dict.fromkeys(group.group for group in judgement.groups)) or "none"
        raise InvalidInput(f"no reader is called {', '.join(sorted(missing))}; there are: {there}")
    return msgspec.structs.replace(judgement, groups=found)


def _print_json(judgement: Judgement) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(judgement) + b"\n")
    sys.stdout.flush()


def _say(sentence: str) -> None:
    print(f"scores: {sentence}", file=sys.stderr)


def _shown(judgement: Judgement, *, partitions: bool) -> RenderableType:
    told: list[RenderableType] = [readers_table(judgement)]
    if partitions:
        told += [_partitions(group) for group in judgement.groups if group.partitions]
    told += advice_lines(judgement)
    return Group(*told)


def readers_table(judgement: Judgement, *, positions: bool = False) -> Table:
    """Every reader of a log: its verdict, and how far it is behind; with ``positions`` also how many records it has read."""
    at = datetime.fromtimestamp(judgement.at_ms / 1000, UTC)
    table = Table(title=f"Readers at {at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left")
    table.add_column("reader")
    table.add_column("topic", overflow="fold")
    table.add_column("is")
    table.add_column("behind, seconds", justify="right")
    table.add_column("behind, records", justify="right")
    table.add_column("partitions", justify="right")
    if positions:
        table.add_column("position", justify="right")
    for group in judgement.groups:
        fine = group.verdicts.get(Verdict.OK.value, 0)
        count = f"{group.partition_count:,}"
        table.add_row(
            group.group,
            group.topic,
            shown_verdict(group.verdict),
            _seconds(group.lag_seconds),
            _number(group.lag_records),
            count if fine == group.partition_count else f"{fine:,} of {count} ok",
            # The relay's positions are moments, whose sum says nothing.
            *([_number(None if group.group == "relay" else group.position_records)] if positions else ()),
        )
    if not judgement.groups:
        table.add_row("nobody", "", shown_verdict(Verdict.INCOMPLETE))
    return table


def _partitions(group: GroupReport) -> Table:
    shown = group.partitions[:_PARTITIONS_SHOWN]
    more = group.partition_count - len(shown)
    title = f"{group.group} of {group.topic}" + (f", the worst; {more:,} more" if more > 0 else "")
    table = Table(title=title, title_justify="left")
    for heading in ("partition", "position", "end", "behind, seconds", "behind, records"):
        table.add_column(heading, justify="right")
    table.add_column("is")
    table.add_column("since (UTC)")
    table.add_column("owner", overflow="fold")
    for one in shown:
        since = datetime.fromtimestamp(one.since_ms / 1000, UTC) if one.since_ms else None
        table.add_row(
            str(one.partition),
            _number(one.position),
            _number(one.end),
            _seconds(one.lag_seconds),
            _number(one.lag_records),
            shown_verdict(one.verdict),
            f"{since:%H:%M:%S}" if since else "-",
            one.owner or "-",
        )
    return table


def advice_lines(judgement: Judgement) -> Iterator[Text]:
    """A line for each verdict that alarms, and where the runbook goes on."""
    found = {(one.verdict, one.group) for one in judgement.groups if one.verdict.alarming}
    found |= {(one.verdict, one.name) for one in judgement.parts if one.verdict.alarming}
    for verdict, name in sorted(found, key=lambda one: (list(Verdict).index(one[0]), one[1]), reverse=True):
        advice = advice_on(verdict, name.partition(":")[0])
        yield Text.assemble(
            (name, "bold"), f": {advice.meaning} {advice.first} (docs/operations.md#{advice.runbook})"
        )
    if judgement.monitor == NOBODY:
        yield Text("Nobody monitors.")


def shown_verdict(verdict: Verdict) -> Text:
    """In colour; the word alone says it, too."""
    if verdict is Verdict.OK:
        return Text(verdict.value, "green")
    return Text(verdict.value, "bold red" if verdict.alarming else "yellow")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
