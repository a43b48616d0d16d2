"""What replays have shown: cost over time, whether it has grown, and memory; medians where there were several."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.measuring import Costs, spread, table
from bench.redis_memory import Kind

SLICES: Final = 10
# In the first tenth nothing is rescored yet, where rescores come days later; and it begins with tables that fit into caches.
_EARLY: Final = slice(1, 4)
_LATE: Final = slice(7, 10)


@dataclass(frozen=True)
class Mark:
    """What the clock and the meters showed when so many events were applied."""

    events: int
    seconds: float
    spent: Costs


@dataclass(frozen=True)
class Memory:
    """What a replay needed, in bytes."""

    worker_peak: int
    redis_peak: int
    redis_used: int
    redis_dataset: int
    kinds: dict[str, Kind]


@dataclass(frozen=True)
class Replayed:
    """One replay: a mark at its first event, and one after each tenth."""

    marks: Sequence[Mark]
    memory: Memory


@dataclass(frozen=True)
class _Slice:
    """What a part of a replay took."""

    seconds: float
    events_a_second: float
    worker: float  # us of CPU an event, as the two below
    redis: float
    kafka: float


_COLUMNS: Final[tuple[tuple[str, Callable[[_Slice], float], str], ...]] = (
    ("seconds", lambda it: it.seconds, ".1f"),
    ("events/s", lambda it: it.events_a_second, ",.0f"),
    ("worker CPU us/event", lambda it: it.worker, ".1f"),
    ("Redis CPU us/event", lambda it: it.redis, ".1f"),
    ("Kafka CPU us/event", lambda it: it.kafka, ".1f"),
)


def over_time(runs: Sequence[Replayed]) -> str:
    """A row for each tenth and one for all; the last row says how many times what early tenths cost late ones do."""
    parts = [[_between(*pair) for pair in pairwise(run.marks)] for run in runs]
    rows = [
        _row(f"{number * 100 // SLICES}%", [run[number - 1] for run in parts])
        for number in range(1, SLICES + 1)
    ]
    rows.append(_row("all", [_between(run.marks[0], run.marks[-1]) for run in runs]))
    growth = [spread([_growth(run, read) for run in parts], ".2f") for _, read, _ in _COLUMNS]
    rows.append(["last three tenths over the second to fourth", *growth])
    return table(["until", *(name for name, _, _ in _COLUMNS)], rows)


def memory(runs: Sequence[Replayed], results: int) -> str:
    """Of worker and Redis, and what that is per live result; then how Redis keeps it."""
    found = [run.memory for run in runs]
    rows = [
        ["worker, peak RSS", _megabytes([it.worker_peak for it in found]), ""],
        ["Redis, peak RSS", _megabytes([it.redis_peak for it in found]), ""],
        *(
            [name, _megabytes(taken), spread([it / results for it in taken], ".1f")]
            for name, taken in (
                ("Redis, used_memory", [it.redis_used for it in found]),
                ("Redis, used_memory_dataset", [it.redis_dataset for it in found]),
                ("exam rows", [it.kinds["exams"].total_bytes for it in found]),
                ("cells", [it.kinds["cells"].total_bytes for it in found]),
            )
        ),
    ]
    shape = ", ".join(
        f"{kind}: {it.keys:,} hashes of {it.fields / max(1, it.keys):.1f} fields, {it.bytes_a_field:.1f} bytes each"
        for kind, it in found[-1].kinds.items()
    )
    return table(["memory", "", "bytes per live result"], rows) + f"\n\n{shape}"


def _between(before: Mark, after: Mark) -> _Slice:
    events, seconds = max(1, after.events - before.events), max(0.001, after.seconds - before.seconds)
    return _Slice(seconds, events / seconds, *after.spent.since(before.spent).per_event(events))


def _row(name: str, parts: Sequence[_Slice]) -> list[str]:
    return [name, *(spread([read(part) for part in parts], form) for _, read, form in _COLUMNS)]


def _growth(run: Sequence[_Slice], read: Callable[[_Slice], float]) -> float:
    late, early = (statistics.mean(map(read, run[part])) for part in (_LATE, _EARLY))
    return late / max(early, 1e-9)


def _megabytes(values: Sequence[int]) -> str:
    return spread([value / 1e6 for value in values]) + " MB"
