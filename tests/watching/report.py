"""The closing tables of a run, in Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from tests.watching.belief import Belief
from tests.watching.faults import Kind
from tests.watching.run import Options, Result


def closing_tables(options: Options, result: Result) -> str:
    """What was done, what each client saw, and what was wrong."""
    lines = [
        "",
        _setting(options),
        "",
        "| fault | times | whole again after, median (max) |",
        "|---|---|---|",
    ]
    for kind in Kind:
        if times := result.faults[kind]:
            lines.append(f"| {kind.value} | {times} | {_seconds(result.settle_seconds.get(kind, []))} |")
    every = [seconds for several in result.settle_seconds.values() for seconds in several]
    lines += [
        f"| **all** | {result.faults.total()} | {_seconds(every)} |",
        "",
        "| client | streams | reconnects | byes | cut | put | patch | progress | cells it had |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_client, result.beliefs),
        "",
        "| | |",
        "|---|---|",
        f"| events | {result.events:,} |",
        f"| cells compared in the end | {result.cells:,} |",
        f"| all equal after the end | {_final(result)} |",
        f"| roll-backs of Redis | {result.rollbacks} |",
        f"| versions that went back after them | {_sum(result, 'versions back after a rollback')} |",
        f"| mismatches | {result.mismatches} |",
        "",
        *(f"FAILED: {failure}" for failure in result.failures[:40]),
    ]
    return "\n".join(lines)


def _client(belief: Belief) -> str:
    counts = belief.counts
    reasons = Counter(end.reason for end in belief.ends)
    byes = ", ".join(f"{times} {reason}" for reason, times in sorted(reasons.items(), key=str) if reason)
    return (
        f"| {belief.name} | {belief.streams} | {max(0, belief.streams - 1)} | {byes or '-'} | {reasons[None]} | "
        f"{counts['put']} | {counts['patch']:,} | {counts['progress']:,} | {counts['cells that it had']:,} |"
    )


def _setting(options: Options) -> str:
    broker = "Apache Kafka" if options.real_kafka else "embedded broker"
    store = "redis-server" if options.system_redis else "embedded Valkey"
    return f"Seed {options.seed}, two gateways, {broker}, {store}, {options.rate:g} events/s"


def _final(result: Result) -> str:
    return "never" if result.final_seconds is None else f"{result.final_seconds:.1f} s"


def _sum(result: Result, what: str) -> int:
    return sum(belief.counts[what] for belief in result.beliefs)


def _seconds(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.1f} s ({max(found):.1f} s)" if found else "-"
