"""One engine under disturbances: its workers are killed and stopped, and watched until the figures keep up again."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.keeping_up import Keeping
from bench.probes import Wrong
from bench.roster import Engine
from tests.chaos.disturbances import Disturbance, Kind
from tests.chaos.fleet import WorkerSlot
from tests.chaos.settling import Settling

KILLED: Final = "after a kill"
STOPPED: Final = "after a stop"
WOKEN: Final = "after waking up"

_LIMIT_SECONDS: Final = 60.0
_START_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.2
_STEADY_SECONDS: Final = 2.0  # between two disturbances
_WEDGED_AT_MOST: Final = 5


@dataclass(slots=True)
class Held:
    """How one engine held up."""

    events: int = 0
    kills: int = 0
    stops: int = 0
    wedged: int = 0
    ended_by_themselves: int = 0
    settled: dict[str, list[float]] = field(default_factory=dict)
    finally_seconds: float | None = None  # from the last event until all is counted; None for never
    wrong: Wrong | None = None
    crashes: list[str] = field(default_factory=list)


class Fire:
    """The disturbances of one engine, and how it held up so far."""

    def __init__(self, engine: Engine, workers: Sequence[WorkerSlot], keeping: Keeping) -> None:
        self._engine = engine
        self._workers = workers
        self._keeping = keeping
        self._settling = Settling(_LIMIT_SECONDS)
        self._held = Held()

    def wait_for_start(self) -> None:
        """Return when something is counted, and all that is due."""
        deadline = time.monotonic() + _START_SECONDS
        while not (self._look() and any(self._keeping.reached())):
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._engine.title} did not begin:\n{self._workers[0].failure()}")

    def disturb(self, disturbance: Disturbance) -> None:
        """Disturb, and wait until it has settled."""
        worker = self._workers[disturbance.worker]
        if disturbance.kind is Kind.KILL:
            self._held.kills += 1
            worker.kill()
            self._watch(KILLED)
        else:
            self._held.stops += 1
            worker.freeze()
            self._watch(STOPPED, at_least_seconds=disturbance.seconds)
            worker.thaw()
            self._watch(WOKEN)
        self._look_for(_STEADY_SECONDS)

    def wait_for_the_end(self) -> None:
        """Return when everything is counted, or nothing more is to be hoped for."""
        began = time.monotonic()
        while time.monotonic() - began < _LIMIT_SECONDS:
            self._look()
            if self._keeping.reached() == self._keeping.due():
                self._held.finally_seconds = time.monotonic() - began
                self._look_for(_STEADY_SECONDS)  # a worker may still be counting what it counted before
                return

    def result(self) -> Held:
        """How it held up; what was counted is for the caller to say."""
        for watch in self._settling.watches:
            if watch.settled_seconds is not None:
                self._held.settled.setdefault(watch.name, []).append(watch.settled_seconds)
        self._held.ended_by_themselves = sum(worker.ends["by itself"] for worker in self._workers)
        self._held.crashes = [end for worker in self._workers for end in worker.crashes]
        return self._held

    def _watch(self, name: str, at_least_seconds: float = 0.0) -> None:
        began = time.monotonic()
        self._settling.disturbed(name, began)
        while self._settling.pending or time.monotonic() - began < at_least_seconds:
            self._look()
            if self._settling.overdue(time.monotonic()):
                self._start_again()
        seconds = self._settling.watches[-1].settled_seconds
        print(f"{self._engine.name}: settled {seconds or 0:.1f} s {name}", file=sys.stderr, flush=True)

    def _start_again(self) -> None:
        """What an operator would do."""
        self._held.wedged += 1
        if self._held.wedged > _WEDGED_AT_MOST:
            raise SystemExit(f"{self._engine.title} does not go on:\n{self._workers[0].failure()}")
        for watch in self._settling.pending:
            watch.settled_seconds = _LIMIT_SECONDS
        for worker in self._workers:
            worker.kill()
        self._settling.disturbed("after being wedged", time.monotonic())

    def _look_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()

    def _look(self) -> bool:
        for worker in self._workers:
            worker.supervise()
        due = self._keeping.due()  # before what is reached: that may only be further
        settled = self._settling.look(time.monotonic(), self._keeping.reached(), due)
        time.sleep(_LOOK_SECONDS)
        return settled
