"""One chaos run: a season produced in an open loop, workers under a supervisor, disturbances, and the comparisons."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Self

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.verify import compare, contradictions
from schemas.assessments import Registry, load_registry
from schemas.topics import EXAM_RESULTS
from tests.chaos.conductor import Conductor
from tests.chaos.disturbances import Kind, kinds_for, planned
from tests.chaos.fleet import WorkerSlot
from tests.chaos.log_reader import LogReader
from tests.chaos.poison import Poison, rejected_coordinates
from tests.chaos.prefix import merged
from tests.chaos.settling import Settling
from tests.chaos.snapshots import Checker, Snapshots
from tests.chaos.surroundings import Surroundings
from tests.stack import SECRET, live_cells, positions, process_environment, wait_for

PARTITIONS: Final = 8
SETTLE_LIMIT_SECONDS: Final = 60.0

_ROOT: Final = Path(__file__).parents[2]
_FAILING_WORKER: Final = Path(__file__).with_name("failing_worker.py")
_STEP_SECONDS: Final = 0.1
_SCHOOLS: Final = 48
_START_SECONDS: Final = 60.0
# What the workers' logs tell, by the constant part of the line.
_TOLD: Final = {
    "fenced writes": re.compile("write refused"),
    "positions moved": re.compile("batch out of order"),
    "assignments": re.compile("partitions claimed"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    seconds: float
    seed: int
    workers: int
    rate: float  # events a second
    real_kafka: bool
    system_redis: bool
    session_seconds: float
    static_membership: bool
    kinds: Sequence[Kind] = ()  # empty for all that can be done


@dataclass(slots=True)
class Result:
    """What came of it; ``failures`` empty means that all went well."""

    failures: list[str] = field(default_factory=list)
    disturbances: Counter[Kind] = field(default_factory=Counter)
    missed: Counter[Kind] = field(default_factory=Counter)
    settle_seconds: dict[str, list[float]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    events: int = 0
    rejected: int = 0
    snapshots: int = 0
    rolled_back: int = 0
    mismatches: int = 0
    final_seconds: float | None = None  # until all was applied, after the last disturbance and event

    @property
    def all_settle_seconds(self) -> list[float]:
        return sorted(second for seconds in self.settle_seconds.values() for second in seconds)


def run_chaos(options: Options, folder: Path, say: Callable[[str], None]) -> Result:
    """Run it; logs and what differs are in ``folder``."""
    county = plan_county(_SCHOOLS, options.seed)
    registry = load_registry()
    with ExitStack() as stack:
        surroundings = stack.enter_context(
            Surroundings(
                folder,
                real_kafka=options.real_kafka,
                system_redis=options.system_redis,
                partitions=PARTITIONS,
                ways=options.workers + 1,
            )
        )
        redis = stack.enter_context(Redis.from_url(surroundings.redis.url, retry=Retry(NoBackoff(), 0)))
        log = stack.enter_context(LogReader(surroundings.kafka, EXAM_RESULTS, PARTITIONS))
        checker = Checker(
            snapshots=Snapshots(redis, [entry.cds for entry in county.entries]),
            log=log,
            partitions=PARTITIONS,
            registry=registry,
            schools=[school.cds for school in county.schools],
            folder=folder,
        )
        workers = [_worker(number, options, surroundings, folder) for number in range(options.workers + 1)]
        stack.callback(_stop, workers)
        run = _Run(options, surroundings, workers, redis, log, checker, say)
        with run:
            run.carry_out()
        run.compare_in_the_end(registry)
        return run.result


class _Run:
    def __init__(
        self,
        options: Options,
        surroundings: Surroundings,
        workers: list[WorkerSlot],
        redis: Redis,
        log: LogReader,
        checker: Checker,
        say: Callable[[str], None],
    ) -> None:
        self.result = Result()
        self._options = options
        self._surroundings = surroundings
        self._workers = workers
        self._redis = redis
        self._log = log
        self._checker = checker
        self._say = say
        self._began = time.monotonic()
        self._settling = Settling(SETTLE_LIMIT_SECONDS)
        self._settled = False
        self._season: Future[SeasonRun] = Future()
        self._stop_season = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_season.set()

    def carry_out(self) -> None:
        """Produce and disturb until the time is over; then wait until all is applied."""
        *permanent, guest = self._workers
        for worker in permanent:
            worker.start()
        guest.away = True
        pool = ThreadPoolExecutor(1, "season")
        self._season = pool.submit(self._produce)
        pool.shutdown(wait=False)
        wait_for(
            lambda: sum(self._log.ends()) > 0 or self._season.done(),
            "events are produced",
            _START_SECONDS,
        )
        plan = planned(
            self._options.seed,
            self._options.workers,
            self._options.session_seconds,
            self._options.kinds or kinds_for(real_kafka=self._options.real_kafka),
        )
        conductor = Conductor(
            plan,
            surroundings=self._surroundings,
            workers=permanent,
            guest=guest,
            checker=self._checker,
            disturbed=self._disturbed,
            say=self.say,
        )
        with Poison(self._surroundings.kafka, self._log, PARTITIONS) as poison, self._checker, conductor:
            end = time.monotonic() + self._options.seconds
            for tick in count():
                if time.monotonic() > end or self._hopeless():
                    break
                self._step()
                conductor.step(time.monotonic(), self._settled)
                if tick % 50 == 0:
                    self.say(self._progress(conductor))
                time.sleep(_STEP_SECONDS)
            self.say("no more disturbances; production ends")
            conductor.finish()
            poison.stop()
            self._stop_season.set()
            run = self._season.result()
            self._wait_until_applied()
        if run.lost:
            self.say(f"{run.lost} events were not acknowledged; the log decides whether they are in")
        self.result.disturbances, self.result.missed = conductor.done, conductor.missed

    def compare_in_the_end(self, registry: Registry) -> None:
        """All cells, the rejected topic, and the recount that was carried along, against one from scratch."""
        result, checker = self.result, self._checker
        for prefix, end in zip(checker.prefixes, self._log.ends(), strict=True):
            prefix.move_to(end)
        expected = merged(prefix.cells for prefix in checker.prefixes)
        found = live_cells(self._surroundings.redis.url)
        checker.report("in the end, expected from the log", compare(expected, found))
        checker.report("in the end, sum of those below", contradictions(found))
        scratch = merged(prefix.from_scratch() for prefix in checker.prefixes)
        checker.report("the recount itself, carried along", compare(scratch, expected))
        self._compare_rejected()
        self._collect()
        result.failures += checker.mismatches
        if checker.checked == 0:
            result.failures.append("no snapshot was compared")

    def say(self, line: str) -> None:
        """One line of the run's story."""
        elapsed = int(time.monotonic() - self._began)
        self._say(f"{elapsed // 60:2d}:{elapsed % 60:02d}  {line}")

    def _disturbed(self, name: str, outage_over: bool) -> None:
        now = time.monotonic()
        if outage_over:
            self._settling.outage_over(now)
        self._settling.disturbed(name, now)

    def _produce(self) -> SeasonRun:
        options = self._options
        return run_season(
            kafka=self._surroundings.kafka,
            redis_url=self._surroundings.redis.url,
            secret=SECRET.encode(),
            options=SeasonOptions(
                schools=_SCHOOLS,
                students=max(2_000, int(options.rate * options.seconds)),  # more than can be used
                seed=options.seed,
                rescores=0.15,
                resets=0.05,
                moves=0.1,
                oddities=0.05,
                corrections=0.01,
                strays=0.005,
                duplicates=0.05,
                disorder=0.1,
            ),
            rate=options.rate,
            stop=self._stop_season,
        )

    def _step(self) -> None:
        for worker in self._workers:
            if line := worker.supervise():
                self.say(line.splitlines()[0])
        try:
            at = list(positions(self._redis, PARTITIONS).values())
        except RedisError:
            at = None
        before = len(self._settling.pending)
        self._settled = (
            self._settling.look(time.monotonic(), at, self._log.ends()) and not self._settling.pending
        )
        if before and self._settled:
            seconds = self._settling.watches[-1].settled_seconds
            self.say(f"settled, {seconds:.1f} s after the last disturbance")

    def _hopeless(self) -> bool:
        if self._season.done():
            self._season.result()  # raises what went wrong
            self.result.failures.append("the season is over too early; it has too few students")
        overdue = self._settling.overdue(time.monotonic())
        if overdue:
            self.result.failures.append(
                f"not settled within {SETTLE_LIMIT_SECONDS:g} s of: {', '.join(watch.name for watch in overdue)}"
            )
        return bool(self.result.failures)

    def _wait_until_applied(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < SETTLE_LIMIT_SECONDS:
            self._step()
            try:
                at = list(positions(self._redis, PARTITIONS).values())
            except RedisError:
                at = []
            if at == self._log.ends() and not self._settling.pending:
                self.result.final_seconds = time.monotonic() - began
                return
            time.sleep(_STEP_SECONDS)
        self.result.failures.append(
            f"in the end positions are {at} and the log's ends {self._log.ends()}, "
            f"after {SETTLE_LIMIT_SECONDS:g} s without a disturbance"
        )

    def _compare_rejected(self) -> None:
        expected = {
            (number, offset)
            for number, prefix in enumerate(self._checker.prefixes)
            for offset in prefix.rejected
        }
        found = rejected_coordinates(self._surroundings.kafka)
        self.result.rejected = len(expected)
        if missing := expected - found:
            self.result.failures.append(f"{len(missing)} records vanished, first {min(missing)}")
        if surplus := found - expected:
            self.result.failures.append(
                f"{len(surplus)} records were rejected and are sound, first {min(surplus)}"
            )

    def _collect(self) -> None:
        result = self.result
        result.events = sum(self._log.ends())
        result.snapshots = self._checker.checked
        result.rolled_back = self._checker.rolled_back
        result.mismatches = len(self._checker.mismatches)
        for watch in self._settling.watches:
            if watch.settled_seconds is not None:
                result.settle_seconds.setdefault(watch.name, []).append(watch.settled_seconds)
        for worker in self._workers:
            result.ends += worker.ends
            result.crashes += worker.crashes
            for log in worker.logs:
                text = log.read_text(errors="replace")
                for what, phrase in _TOLD.items():
                    result.told[what] += len(phrase.findall(text))

    def _progress(self, conductor: Conductor) -> str:
        ends, applied = sum(self._log.ends()), sum(prefix.position for prefix in self._checker.prefixes)
        doing = ", ".join(what.kind.value for what in conductor.under_way) or "nothing"
        restarts = sum(sum(worker.ends.values()) for worker in self._workers)
        return (
            f"{ends:,} events, {applied:,} compared; {self._checker.checked:,} snapshots, "
            f"{len(self._checker.mismatches)} mismatches; {conductor.done.total()} disturbances, "
            f"{restarts} workers ended; now: {doing}"
        )


def _worker(number: int, options: Options, surroundings: Surroundings, folder: Path) -> WorkerSlot:
    way, name = surroundings.ways[number], f"worker-{number}"
    more = {
        "SCORES_SESSION_TIMEOUT_SECONDS": f"{options.session_seconds:g}",
        "SCORES_COMMIT_SECONDS": "1",  # often, because commits have disturbed rebalances
        "CHAOS_FAIL_POINT": str(folder / f"{name}.fail-point"),
    }
    if options.static_membership:
        more["SCORES_INSTANCE_ID"] = f"chaos-{number}"
    environment = process_environment(way.kafka, way.redis_url, **more)
    command = [sys.executable, str(_FAILING_WORKER)]

    def launch(start: int) -> Child:
        return Child(name, command, cwd=_ROOT, log=folder / f"{name}.{start}.log", env=environment)

    return WorkerSlot(name, launch, folder)


def _stop(workers: Sequence[WorkerSlot]) -> None:
    for worker in workers:
        worker.end()
