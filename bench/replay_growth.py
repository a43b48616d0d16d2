"""Does an event cost more when tables hold most of a season than when they hold little of it?

    python -m bench.replay_growth [--results 10000000] [--schools 9000] [--rounds 12]

A machine that others share is slower in one minute than in the next by more than what is looked for, so both sides are
measured in turns of some seconds. Two workers, each with a Redis of its own, replay the same season. The *full* one
starts first; when it is at 55 of 100 events the *young* one starts, and when this has passed the tenth from which on
exams are rescored, one of them is frozen while the other works, again and again. CPU an event of each turn, and how
many times what the young one's event costs the full one's does in the same round. Bytes sent to Redis say whether the
work itself grows, whatever the machine does.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.filled_topic import FilledTopic
from bench.measuring import Costs, costs, spread, table
from bench.probes import OurTables
from bench.replay_topic import add_season_options, progress, replay_topic
from bench.roster import OURS
from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis

_YOUNG_STARTS: Final = 0.55  # of the events applied by the full one
_MEASURED_FROM: Final = 0.12  # of the events applied by the young one; rescores begin after a tenth
_TURN_SECONDS: Final = 4.0
_SETTLE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0
_COSTS: Final = (
    "worker, CPU us an event",
    "Redis, CPU us an event",
    "Kafka, CPU us an event",
    "bytes to Redis an event",
)
# The frozen one remains a member of its group.
_OURS: Final = replace(OURS, environment={"SCORES_SESSION_TIMEOUT_SECONDS": "60"})


@dataclass(frozen=True)
class _Turn:
    """What one worker did while the other was frozen."""

    events: int
    seconds: float
    spent: Costs
    sent: int  # bytes

    @property
    def per_event(self) -> tuple[float, ...]:
        """As ``_COSTS`` names them."""
        return *self.spent.per_event(self.events), self.sent / self.events


class _Side:
    """A worker with its Redis."""

    def __init__(self, name: str, filled: FilledTopic, store: EmbeddedRedis, folder: Path) -> None:
        folder.mkdir()
        self.name, self._filled, self._store = name, filled, store
        self._probe = OurTables(store.url, filled)
        self.worker: Child = _OURS.start(filled, store.url, folder, f"growth-{name}")

    def wait_for(self, share: float) -> None:
        """Until so much of the topic is applied."""
        limit = time.monotonic() + _START_SECONDS
        done = 0
        while done < share * self._filled.events:
            time.sleep(_LOOK_SECONDS)
            if not self.worker.running or time.monotonic() > limit:
                raise SystemExit(f"{self.name}: stuck after {done:,} events:\n{self.worker.last_lines(50)}")
            if (applied := self._probe.applied()) > done:
                done, limit = applied, time.monotonic() + _START_SECONDS

    @property
    def share(self) -> float:
        """How much of the topic is applied."""
        return self._probe.applied() / self._filled.events

    def freeze(self) -> None:
        self.worker.signal(signal.SIGSTOP)

    def turn(self) -> _Turn:
        """Work for one turn, then freeze again."""
        self.worker.signal(signal.SIGCONT)
        time.sleep(_SETTLE_SECONDS)
        events, start, before, sent = self._mark()
        time.sleep(_TURN_SECONDS)
        then, end, after, sent_then = self._mark()
        self.freeze()
        return _Turn(max(1, then - events), end - start, after.since(before), sent_then - sent)

    def check(self) -> None:
        """Every cell against what was produced, once all is applied."""
        self.worker.signal(signal.SIGCONT)
        self.wait_for(1.0)
        if (wrong := self._probe.wrong()).cells:
            raise SystemExit(f"{self.name}: wrong: {wrong}")

    def _mark(self) -> tuple[int, float, Costs, int]:
        spent = costs(self.worker.pid, self._store.pid, self._filled.kafka_pid)
        return self._probe.applied(), time.monotonic(), spent, self._probe.bytes_taken()


def main() -> None:
    """The command."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="scores-growth-"))
    try:
        with (
            progress() as bar,
            replay_topic(folder, options, bar) as filled,
            _side("full", filled, options, folder) as full,
        ):
            full.wait_for(_YOUNG_STARTS)
            with _side("young", filled, options, folder) as young:
                young.wait_for(_MEASURED_FROM)
                print(f"{_shares(young, full)} when turns began", flush=True)
                rounds = _rounds(young, full, options.rounds)
                print(f"{_shares(young, full)} when they ended", flush=True)
                young.freeze()
                full.check()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"\n{_report(rounds)}\n\n{len(filled.ours):,} cells of the full one compared with what was produced; none wrong"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_season_options(parser)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each")
    return parser.parse_args()


@contextmanager
def _side(name: str, filled: FilledTopic, options: argparse.Namespace, folder: Path) -> Iterator[_Side]:
    with EmbeddedRedis(binary=options.redis) as store:
        side = _Side(name, filled, store, folder / name)
        try:
            yield side
        finally:
            side.worker.stop(0)


def _rounds(young: _Side, full: _Side, rounds: int) -> list[tuple[_Turn, _Turn]]:
    """Young and full, in turns; who goes first changes."""
    young.freeze()
    full.freeze()
    taken = []
    for number in range(rounds):
        first, second = (young, full) if number % 2 else (full, young)
        turns = {side.name: side.turn() for side in (first, second)}
        taken.append((turns["young"], turns["full"]))
    return taken


def _shares(young: _Side, full: _Side) -> str:
    return f"young {young.share:.0%}, full {full.share:.0%} of all events"


def _report(rounds: list[tuple[_Turn, _Turn]]) -> str:
    rows = []
    for column, name in enumerate(_COSTS):
        pairs = [(young.per_event[column], full.per_event[column]) for young, full in rounds]
        rows.append(
            [
                name,
                spread([young for young, _ in pairs], ".1f"),
                spread([full for _, full in pairs], ".1f"),
                spread([full / young for young, full in pairs], ".2f"),
                f"{_pooled(rounds, column):.3f}",
            ]
        )
    rows.append(
        [
            "events/s",
            *(spread([turn.events / turn.seconds for turn in side]) for side in zip(*rounds, strict=True)),
            spread(
                [(full.events / full.seconds) / (young.events / young.seconds) for young, full in rounds],
                ".2f",
            ),
            "",
        ]
    )
    return table(["", "young", "full", "full over young, round by round", "all rounds together"], rows)


def _pooled(rounds: list[tuple[_Turn, _Turn]], column: int) -> float:
    young, full = (
        statistics.fmean(turn.per_event[column] for turn in side) for side in zip(*rounds, strict=True)
    )
    return full / young


if __name__ == "__main__":
    main()
