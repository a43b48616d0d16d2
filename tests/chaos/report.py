"""The closing table of a chaos run, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.chaos.disturbances import Kind
from tests.chaos.run import Options, Result


def closing_table(options: Options, result: Result) -> str:
    """What was done, what it led to, and what was wrong."""
    lines = [
        "",
        _setting(options),
        "",
        "| disturbance | times | settled after, median (max) |",
        "|---|---|---|",
    ]
    for kind in Kind:
        if times := result.disturbances[kind]:
            lines.append(
                f"| {kind.value} | {times} | {_seconds(result.settle_seconds.get(kind.value, []))} |"
            )
    lines += [
        f"| **all** | {result.disturbances.total()} | {_seconds(result.all_settle_seconds)} |",
        "",
        "| | |",
        "|---|---|",
        f"| events in the log | {result.events:,} |",
        f"| rejected records, all found in their topic | {result.rejected:,} |",
        f"| snapshots compared | {result.snapshots:,} |",
        f"| of them after a roll-back of Redis | {result.rolled_back:,} |",
        *(f"| workers that ended: {how} | {times} |" for how, times in sorted(result.ends.items())),
        *(f"| {what}, by the workers' logs | {times:,} |" for what, times in sorted(result.told.items())),
        f"| all applied after the end | {_all_applied(result)} |",
        f"| mismatches | {result.mismatches} |",
    ]
    if missed := result.missed.total():
        lines.append(f"| fail-points that no worker came to | {missed} |")
    if result.crashes:
        lines += ["", "Workers that ended by themselves:", *(f"- {crash}" for crash in result.crashes[:20])]
    lines += ["", *(f"FAILED: {failure}" for failure in result.failures[:20])]
    return "\n".join(lines)


def _setting(options: Options) -> str:
    broker = "Apache Kafka" if options.real_kafka else "embedded broker"
    store = "redis-server" if options.system_redis else "embedded Valkey"
    static = ", static membership" if options.static_membership else ""
    return (
        f"Seed {options.seed}, {options.workers} workers, {broker}, {store}, "
        f"{options.session_seconds:g} s session{static}, {options.rate:g} events/s"
    )


def _all_applied(result: Result) -> str:
    return "never" if result.final_seconds is None else f"{result.final_seconds:.1f} s"


def _seconds(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.1f} s ({max(found):.1f} s)" if found else "-"
