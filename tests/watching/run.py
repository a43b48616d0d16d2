"""One run: a season is produced, a worker counts it, clients watch two gateways, faults happen, and all is compared."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from redis import Redis

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from schemas.assessments import load_registry
from schemas.errors import InvalidInput
from schemas.topics import EXAM_RESULTS
from tests.chaos.fleet import WorkerSlot
from tests.chaos.log_reader import LogReader
from tests.chaos.surroundings import Surroundings
from tests.stack import SECRET, positions, process_environment, wait_for
from tests.watching.belief import Belief, Shared
from tests.watching.cast import factories, watches
from tests.watching.clients import Followed
from tests.watching.conductor import Conductor
from tests.watching.expected import differences, figures_in_tables
from tests.watching.faults import Fault, Kind, planned
from tests.watching.network import Network

PARTITIONS: Final = 8
SETTLE_LIMIT_SECONDS: Final = 60.0

_ROOT: Final = Path(__file__).parents[2]
_SCHOOLS: Final = 16  # two districts
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_SHOWN: Final = 10
_RETRY_SECONDS: Final = 8.0  # the longest pause before a stream comes back
_YOUNGEST: Final = (
    0.79  # share of the maximum age at which the first streams are sent away; their own jitter is a fifth
)
_EVENTS_KEPT: Final = 50_000  # by the embedded broker, which has room for 5 MiB a partition
_MAX_AGE_SECONDS: Final = 30
_SETTINGS: Final = {
    "SCORES_STREAM_MAX_AGE_SECONDS": str(
        _MAX_AGE_SECONDS
    ),  # forced reconnects, for everybody at a time of its own
    "SCORES_PROGRESS_SECONDS": "0.5",
    "SCORES_DRAIN_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    seconds: float
    seed: int
    rate: float  # events a second
    real_kafka: bool
    system_redis: bool
    clients: Collection[str]
    kinds: Sequence[Kind] = tuple(Kind)


@dataclass(slots=True)
class Result:
    """What came of it; ``failures`` empty means that all went well."""

    failures: list[str] = field(default_factory=list)
    faults: Counter[Kind] = field(default_factory=Counter)
    settle_seconds: dict[Kind, list[float]] = field(default_factory=dict)
    beliefs: list[Belief] = field(default_factory=list)
    events: int = 0
    cells: int = 0  # compared in the end, over all clients
    mismatches: int = 0
    rollbacks: int = 0
    final_seconds: float | None = None  # until everybody had everything, after the last fault and event


def watch(options: Options, folder: Path, say: Callable[[str], None]) -> Result:
    """Run it; logs, and every frame of every client, are in ``folder``.

    Raises:
        ScoreStreamError: a program is missing, or a process did not start.
    """
    if not options.real_kafka and options.seconds * options.rate > _EVENTS_KEPT:
        raise InvalidInput(
            f"{options.seconds * options.rate:,.0f} events are more than the embedded broker keeps; give --kafka real."
        )
    began = time.monotonic()

    def tell(line: str) -> None:
        elapsed = int(time.monotonic() - began)
        say(f"{elapsed // 60:2d}:{elapsed % 60:02d}  {line}")

    made = factories(options.clients, folder)
    district, watched = watches(plan_county(_SCHOOLS, options.seed))
    shared = Shared()
    with ExitStack() as stack:
        surroundings = stack.enter_context(
            Surroundings(
                folder,
                real_kafka=options.real_kafka,
                system_redis=options.system_redis,
                partitions=PARTITIONS,
                ways=0,
            )
        )
        log = stack.enter_context(LogReader(surroundings.kafka, EXAM_RESULTS, PARTITIONS))
        network = Network(
            list(made),
            kafka=surroundings.kafka,
            redis_url=surroundings.redis.url,
            folder=folder,
            settings=_SETTINGS,
            attended=[_worker(surroundings, folder)],
            seed=options.seed,
            say=tell,
        )
        stack.enter_context(network)
        season = stack.enter_context(_Season(options, surroundings))
        network.wait_until_ready(network.nodes)
        token = network.token(district)
        followed = {name: [Followed(name, one, shared, folder) for one in watched] for name in made}
        for name, factory in made.items():
            for one in followed[name]:
                stack.callback(one.close)
            stack.enter_context(factory(network.address(name), token, followed[name]))
        beliefs = [one.belief for several in followed.values() for one in several]
        conductor = Conductor(
            network=network, surroundings=surroundings, shared=shared, folder=folder, say=tell
        )
        run = _Run(options, surroundings, season, conductor, beliefs, log, tell)
        run.carry_out()
        run.result.rollbacks = len(shared.rollbacks)
        run.result.failures += [
            f"a gateway ended: {crash}" for node in network.nodes for crash in node.crashes
        ]
        return run.result


class _Season:
    """Events, produced in a thread inside ``with``."""

    def __init__(self, options: Options, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._stop = threading.Event()
        self._run: Future[SeasonRun] = Future()

    def __enter__(self) -> Self:
        pool = ThreadPoolExecutor(1, "season")
        self._run = pool.submit(self._produce)
        pool.shutdown(wait=False)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to produce, though it was not stopped."""
        return self._run.done()

    def end(self) -> SeasonRun:
        """Stop; returns when all is acknowledged."""
        self._stop.set()
        return self._run.result(_START_SECONDS)

    def _produce(self) -> SeasonRun:
        return run_season(
            kafka=self._surroundings.kafka,
            redis_url=self._surroundings.redis.url,
            secret=SECRET.encode(),
            options=SeasonOptions(
                schools=_SCHOOLS,
                # More than needed: a run goes on until every kind of fault came.
                students=int(self._options.rate * (self._options.seconds + 300)),
                seed=self._options.seed,
                rescores=0.2,
                resets=0.1,
                moves=0.1,
                oddities=0.05,
                duplicates=0.05,
                disorder=0.1,
            ),
            rate=self._options.rate,
            stop=self._stop,
        )


class _Run:
    def __init__(
        self,
        options: Options,
        surroundings: Surroundings,
        season: _Season,
        conductor: Conductor,
        beliefs: list[Belief],
        log: LogReader,
        say: Callable[[str], None],
    ) -> None:
        self.result = Result(beliefs=beliefs)
        self._options = options
        self._surroundings = surroundings
        self._season = season
        self._conductor = conductor
        self._beliefs = beliefs
        self._log = log
        self._say = say

    def carry_out(self) -> None:
        """Disturb until the time is over and every kind came; then let all come to rest, and compare."""
        began = time.time()
        if self._whole(began) is None:
            return
        self._say("everybody watches")
        end = time.monotonic() + self._options.seconds
        plan = planned(
            self._options.seed, nodes=2, clients=len(self._options.clients), kinds=self._options.kinds
        )
        done = self._conductor.done
        counted: tuple[Fault, float, float] | None = None
        for fault in plan:
            if counted is not None and fault.waits:
                self._get_over(*counted)
                counted = None
            every_kind = all(done[kind] for kind in self._options.kinds)
            if self.result.failures or (time.monotonic() > end and every_kind):
                break
            if self._season.over:
                self._season.end()
                self.result.failures.append("the season was over too early: it has too few students")
                break
            time.sleep(fault.pause_seconds)
            begin = time.time()
            counted = fault, begin, self._conductor.carry_out(fault)
        if counted is not None:
            self._get_over(*counted)
        self.result.faults = done
        self._come_to_rest()
        self._judge()

    def _get_over(self, fault: Fault, begin: float, counted: float) -> None:
        seconds = self._whole(counted)
        if seconds is None:
            return
        self.result.settle_seconds.setdefault(fault.kind, []).append(seconds)
        self._say(f"everybody is whole again, {seconds:.1f} s after: {fault.kind.value}")
        if fault.kind is Kind.ROLLING_RESTART:
            self._judge_rolling_restart(begin)

    def _whole(self, since: float) -> float | None:
        """Seconds until everybody was told of a time after ``since``; None, and a failure, when somebody is stuck."""
        waiting = list(self._beliefs)
        while waiting := [belief for belief in waiting if not belief.current_since(since)]:
            now = time.time()
            # A gateway that is not ready asks newcomers for patience; what it asked for is not being stuck.
            stuck = [
                belief.name
                for belief in waiting
                if now > max(since, belief.asked_to_wait_until) + SETTLE_LIMIT_SECONDS
            ]
            if stuck:
                self.result.failures.append(
                    f"not whole within {SETTLE_LIMIT_SECONDS:g} s: {'; '.join(stuck)}"
                )
                return None
            time.sleep(_LOOK_SECONDS)
        return time.time() - since

    def _judge_rolling_restart(self, begin: float) -> None:
        """Everybody was told to go because of it, or had just gone of age, and nobody was sent everything anew."""
        told = 0
        for belief in self._beliefs:
            ends = [end for end in belief.ends if end.at > begin - _RETRY_SECONDS]
            drained = [end for end in ends if end.reason == "draining"]
            aged = [
                end for end in ends if end.reason == "max_age" and end.seconds > _YOUNGEST * _MAX_AGE_SECONDS
            ]
            told += bool(drained)
            if not drained and not aged:
                self.result.failures.append(
                    f"{belief.name}: no bye in a rolling restart of all gateways: {ends}"
                )
            if puts := [generation for at, generation in belief.puts if at > begin]:
                self.result.failures.append(f"{belief.name}: everything anew after a rolling restart: {puts}")
        if not told:
            self.result.failures.append("a rolling restart, and no stream was told")

    def _come_to_rest(self) -> None:
        """Until everybody has what the tables have, after the last event."""
        self.result.events = self._season.end().acknowledged
        with Redis.from_url(self._surroundings.redis.url) as redis:
            wait_for(
                lambda: list(positions(redis, PARTITIONS).values()) == self._log.ends(),
                "all events are applied",
                2 * SETTLE_LIMIT_SECONDS,
            )
        since = time.time()
        registry = load_registry()
        url = self._surroundings.redis.url
        waiting = {belief.name: belief for belief in self._beliefs}
        while waiting:
            for belief in list(waiting.values()):
                due = figures_in_tables(url, sorted(belief.organizations), registry)
                wrong = differences(due, belief.state())
                if not wrong and any(due.values()):
                    self.result.cells += sum(map(len, due.values()))
                    del waiting[belief.name]
                elif time.time() > max(since, belief.asked_to_wait_until) + SETTLE_LIMIT_SECONDS:
                    self.result.mismatches += max(1, len(wrong))
                    self.result.failures += [f"{belief.name}: {line}" for line in wrong[:_SHOWN]]
                    self.result.failures.append(f"{belief.name}: {len(wrong)} cells differ from the tables")
                    del waiting[belief.name]
            time.sleep(_LOOK_SECONDS)
        self.result.final_seconds = time.time() - since

    def _judge(self) -> None:
        for belief in self._beliefs:
            self.result.mismatches += len(belief.wrong)
            self.result.failures += belief.wrong[:_SHOWN]
            for end in belief.ends:
                if end.reason is None and end.at not in self._conductor.violent:
                    self.result.failures.append(
                        f"{belief.name}: a stream ended at {end.at:.3f} without bye, and nothing had cut it"
                    )


def _worker(surroundings: Surroundings, folder: Path) -> WorkerSlot:
    environment = process_environment(surroundings.kafka, surroundings.redis.url)
    command = [sys.executable, "-m", "cli", "streams"]

    def launch(start: int) -> Child:
        return Child("worker", command, cwd=_ROOT, log=folder / f"worker.{start}.log", env=environment)

    return WorkerSlot("worker", launch, folder)
