"""How many webhooks a second does one worker deliver, and what does an endpoint cost in memory?

    python -m bench.webhooks [--endpoints 200] [--schools 160] [--runs 5] [--memory 10000] [--only ours httpx aiohttp]

Ours is the real worker with everything that it does: changes from Kafka, permission, release state and figures as they
are in Redis, one message for each endpoint and organization, signed, sent, and what became of it written to Redis (with an
append-only file) before it counts. The loops are what one would write first: they sign a body that is there already and
post it, with httpx or aiohttp, 100 at once; they keep nothing. All send to the same receivers, in the same run, in turn;
these are one process with a port for each endpoint that reads a request and answers 204. CPU is user and system time of
the sending process alone. Memory is resident memory of the worker with so many endpoints, all confirmed, less that of one
with a single one.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.measuring import spread, table
from bench.push import allow_files
from bench.webhook_loops import looped
from bench.webhook_ours import bytes_an_endpoint, delivered, members
from cli.simulator.county import plan_county
from cli.stack.ports import HOST
from schemas.aggregates import cell_name
from schemas.identifiers import STATE
from schemas.webhooks.payloads import ToldCell, aggregate_updated, organization_part
from tests.webhook_fleet.receivers import Receivers
from tests.webhook_fleet.receiving import Hook

OURS: Final = "ours"
TITLES: Final = {
    OURS: "ours, everything kept in Redis",
    "httpx": "a loop with httpx, nothing kept",
    "aiohttp": "a loop with aiohttp, nothing kept",
}

# A typical message: one cell of one organization.
_BODY: Final = aggregate_updated(
    organization_part(STATE, "State of California"),
    [ToldCell(cell_name("2026:ELA-SUM:03"), 12, 1_777_896_000_123)],
    base_url="http://127.0.0.1:8080",
)[0].content


@dataclass(frozen=True)
class Run:
    """One run of one sender."""

    messages: int
    seconds: float
    cpu_seconds: float
    redis_cpu: float = 0.0
    refused: int = 0

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.messages / self.seconds

    def us(self, seconds: float) -> float:
        """Microseconds for each."""
        return seconds / self.messages * 1e6


def main() -> None:
    """The command."""
    options = _options()
    allow_files()
    if options.only:
        print(_compared(options), flush=True)
    if options.memory:
        print(_memory(options.memory, options.runs), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--schools", type=int, default=160, help="each, and all above it, changes once")
    parser.add_argument("--memory", type=int, default=10_000, help="endpoints; 0: not measured")
    parser.add_argument("--only", nargs="*", default=list(TITLES), metavar="NAME", choices=list(TITLES))
    return parser.parse_args()


def _compared(options: argparse.Namespace) -> str:
    found: dict[str, list[Run]] = defaultdict(list)
    for number in range(options.runs):
        for name in options.only:
            run = _run(name, options.endpoints, options.schools)
            found[name].append(run)
            print(f"run {number + 1}, {TITLES[name]}: {run.rate:,.0f}/s", file=sys.stderr, flush=True)
    messages = found[options.only[0]][0].messages
    headings = ["sender", "deliveries/s", "ours is", "CPU us each", "Redis CPU us each", "refused"]
    rows = [_row(name, found[name], found.get(OURS, [])) for name in options.only]
    said = (
        f"{messages:,} messages to {options.endpoints:,} endpoints, median of {options.runs} runs (min-max)"
    )
    return f"\n{said}\n\n{table(headings, rows)}"


def _run(name: str, endpoints: int, schools: int) -> Run:
    fleet = members(endpoints)
    with Receivers() as receivers:
        ports = receivers.open([Hook(member.id, "") for member in fleet])
        if name == OURS:
            ours = delivered(fleet, ports, receivers, schools)
            return Run(ours.messages, ours.seconds, ours.worker_cpu, ours.redis_cpu)
        messages = endpoints * len(plan_county(schools, seed=1).entries)
        urls = [f"http://{HOST}:{port}/scores" for port in ports.values()]
        loop = looped(name, urls, fleet[0].secret.shown, _BODY, messages)
        return Run(messages, loop.seconds, loop.cpu_seconds, refused=loop.refused)


def _row(name: str, runs: Sequence[Run], ours: Sequence[Run]) -> list[str]:
    times = [mine.rate / run.rate for mine, run in zip(ours, runs, strict=False)]
    return [
        TITLES[name],
        spread([run.rate for run in runs]),
        f"{spread(times, '.2f')}x" if times else "-",
        spread([run.us(run.cpu_seconds) for run in runs]),
        spread([run.us(run.redis_cpu) for run in runs]) if name == OURS else "-",
        f"{sum(run.refused for run in runs):,}",
    ]


def _memory(endpoints: int, runs: int) -> str:
    fleet = members(endpoints)
    found: list[float] = []
    with Receivers() as receivers:
        # One port for all: sockets of the receivers are not what is measured.
        [port] = receivers.open([Hook(fleet[0].id, "")]).values()
        ports = dict.fromkeys((member.id for member in fleet), port)
        for _ in range(runs):
            found.append(bytes_an_endpoint(fleet, ports))
            print(f"{found[-1] / 1024:.1f} kB an endpoint", file=sys.stderr, flush=True)
    total = spread([each * 10_000 / 2**20 for each in found], ".1f")
    each = spread([one / 1024 for one in found], ".1f")
    return (
        f"\nResident memory of the worker for {endpoints:,} endpoints, median of {runs} runs (min-max): "
        f"{each} kB each, {total} MiB for 10,000"
    )


if __name__ == "__main__":
    main()
