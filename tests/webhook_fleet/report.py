"""The closing table of a run, in Markdown."""

from __future__ import annotations

from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.faults import Kind
from tests.webhook_fleet.judge import percentile
from tests.webhook_fleet.run import Options, Result


def closing_table(options: Options, result: Result) -> str:
    """What was done, what came in, and what was wrong."""
    conducts = ", ".join(
        f"{result.conducts[conduct]:,} {conduct.value}" for conduct in Conduct if result.conducts[conduct]
    )
    lines = [
        "",
        _setting(options),
        f"Endpoints: {conducts}",
        "",
        "| messages to endpoints that are well | number | p50 after the interval | p99 |",
        "|---|---|---|---|",
        *(
            f"| {phase} | {len(late):,} | {percentile(late, 0.5):.2f} s | {percentile(late, 0.99):.2f} s |"
            for phase, late in result.lateness.items()
        ),
        "",
        "| | |",
        "|---|---|",
        *(f"| {kind.value} | {result.faults[kind]} |" for kind in Kind if result.faults[kind]),
        f"| results counted | {result.changes:,} |",
        *(f"| {what} | {number:,} |" for what, number in sorted(result.counts.items())),
        f"| dead ones that came back in the end | {result.revived} |",
        f"| cells compared in the end, over all endpoints | {result.followed:,} |",
        f"| everybody had everything after | {_final(result)} |",
        f"| failures | {len(result.failures)} |",
        "",
        *(f"FAILED: {failure}" for failure in result.failures[:40]),
    ]
    return "\n".join(lines)


def _setting(options: Options) -> str:
    broker = "Apache Kafka" if options.real_kafka else "embedded broker"
    store = "redis-server" if options.system_redis else "embedded Valkey"
    relay = ", a relay" if options.relay else ""
    return (
        f"Seed {options.seed}, {options.endpoints:,} endpoints, two workers{relay}, {broker}, {store}, "
        f"{options.rate:g} results/s"
    )


def _final(result: Result) -> str:
    return "never" if result.final_seconds is None else f"{result.final_seconds:.1f} s"
