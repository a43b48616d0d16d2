"""The calculation behind ``scores plan``: pure, from what is asked and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cli.plan.demand import Demand
from cli.plan.line import Line
from cli.plan.measured import REPLAY_EVENTS, STORM_CLIENTS, STORM_SECONDS
from cli.plan.processes import Processes, core_lines, process_lines, processes_for
from cli.plan.storage import disk_lines, memory_lines

MOST_PARTITIONS: Final = 1_024  # what `scores topics create` takes


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything: figures, and what to mind about them."""

    demand: Demand
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> float:
        """The value of one line."""
        return next(line.value for line in self.lines if line.name == name)


def make_plan(demand: Demand) -> Plan:
    """Partitions, processes, memory, disk and times for a demand."""
    needed = processes_for(demand)
    lines = (
        *process_lines(demand, needed),
        *core_lines(demand),
        *memory_lines(demand, needed),
        *disk_lines(demand),
        *_time_lines(demand, needed.gateways),
    )
    return Plan(demand, lines, tuple(_notes(demand, needed)))


def _time_lines(demand: Demand, gateways: int) -> Iterator[Line]:
    records = demand.records * demand.years
    yield Line(
        "rebuild_minutes",
        "A rebuild, or all tables anew",
        records / REPLAY_EVENTS.value / 60,
        "minutes",
        f"{records:,} records, {REPLAY_EVENTS.value:,.0f} a second",
        (REPLAY_EVENTS,),
    )
    # One is gone: its streams come back to the others, at once.
    back = demand.viewers / gateways / max(1, gateways - 1) / STORM_CLIENTS.value * STORM_SECONDS.value
    yield Line(
        "reconnect_seconds",
        "All streams of a lost gateway back",
        back,
        "s",
        f"{STORM_CLIENTS.value:,.0f} clients took {STORM_SECONDS.value} s at one gateway",
        (STORM_CLIENTS, STORM_SECONDS),
    )


def _notes(demand: Demand, needed: Processes) -> Iterator[str]:
    if needed.masters > 1:
        yield (
            f"{needed.masters} masters are a Redis Cluster (SCORES_REDIS_CLUSTER=yes). Its slots are dealt out by a hash of each "
            "partition: look at `scores tables --partitions` for an even load."
        )
    if needed.partitions > MOST_PARTITIONS:
        yield f"More than {MOST_PARTITIONS} partitions have never been tried, and `scores topics create` refuses them."
    if demand.events_per_second is None:
        yield (
            f"{demand.events:,.0f} events/s are the state's peak by the number of students. A vendor that releases a backlog "
            "sends more; then figures are late by what waits, and nothing is lost. --events-per-second plans for it."
        )
    yield (
        "Besides: one publisher, two relays, two webhook workers, one monitor and one canary, each below 200 MB while "
        "nothing happens. What webhooks keep is in docs/operations/capacity.md."
    )
    yield (
        "Everything was measured on one machine with two cores. Compare with yours before the season: `scores tables`, "
        "`scores lag`, and the programs in bench/."
    )
