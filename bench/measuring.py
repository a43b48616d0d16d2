"""What a process has cost, and how figures of several runs are shown."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Costs:
    """CPU seconds so far of the engine, of Redis and of Kafka."""

    worker: float
    redis: float
    kafka: float

    def since(self, earlier: Costs) -> Costs:
        """What was spent in between."""
        return Costs(self.worker - earlier.worker, self.redis - earlier.redis, self.kafka - earlier.kafka)

    def per_event(self, events: int) -> tuple[float, float, float]:
        """Microseconds an event, of the engine, of Redis and of Kafka."""
        return self.worker / events * 1e6, self.redis / events * 1e6, self.kafka / events * 1e6


def costs(worker_pid: int, redis_pid: int, kafka_pid: int) -> Costs:
    """What the three have used up to now."""
    return Costs(cpu_seconds(worker_pid), cpu_seconds(redis_pid), cpu_seconds(kafka_pid))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far, all threads together."""
    ticks = 0
    for member in _family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def peak_memory(pid: int) -> int:
    """The most bytes that a process ever had resident, and each of its children, added up."""
    return sum(
        int(line.split()[1]) * 1024
        for member in _family(pid)
        for line in Path(f"/proc/{member}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, with minimum and maximum where there is more than one value: ``20,164 (17,479-21,330)``."""
    middle = format(statistics.median(values), form)
    return f"{middle} ({min(values):{form}}-{max(values):{form}})" if len(values) > 1 else middle


def middle(values: Iterable[float], form: str = ",.0f") -> str:
    """The median alone."""
    return format(statistics.median(values), form)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
