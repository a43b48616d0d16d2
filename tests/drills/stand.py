"""The stack of a drill: Kafka, Redis, every process that reads or writes them, the monitor that judges them, and Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from redis import Redis

from cli.stack.child import Child
from cli.stack.ports import free_port
from tests.chaos.fleet import WorkerSlot
from tests.chaos.surroundings import Surroundings, Way
from tests.drills.load import Load, county
from tests.drills.prometheus import Prometheus
from tests.drills.seen import Seen, look
from tests.stack import measured, process_environment, wait_for
from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.fleet import KEY, enlist, fleet
from tests.webhook_fleet.producing import TESTS
from tests.webhook_fleet.receivers import Receivers
from tests.webhook_fleet.receiving import Hook

PARTITIONS: Final = 4
ENDPOINTS: Final = 20

_ROOT: Final = Path(__file__).parents[2]
_HERE: Final = Path(__file__).parent
_CLI: Final = (sys.executable, "-m", "cli")
_PROGRAMS: Final = {
    "streams": (sys.executable, str(_HERE / "faulty_worker.py")),
    "relay": (*_CLI, "relay"),
    "webhooks": (*_CLI, "webhooks", "run"),
    "publisher": (*_CLI, "publisher"),
}
_MONITOR: Final = (*_CLI, "lag", "run")
_SKEWED_MONITOR: Final = (sys.executable, str(_HERE / "skewed_monitor.py"))
_METRICS: Final = {
    "streams": "SCORES_STREAMS_METRICS_PORT",
    "relay": "SCORES_RELAY_METRICS_PORT",
    "webhooks": "SCORES_WEBHOOKS_METRICS_PORT",
    "publisher": "SCORES_PUBLISHER_METRICS_PORT",
    "lag": "SCORES_LAG_METRICS_PORT",
}
_RATE: Final = 40.0  # results a second: enough that something waits a moment after a reader has stopped
_SEED: Final = 7
_START_SECONDS: Final = 60.0


class Stand:
    """Everything, running inside ``with``. ``step`` has to be called now and then: it restarts what has ended.

    Args:
        every_seconds: how often the monitor takes a sample.
        say: called with a line when a process is started again.
    """

    def __init__(self, folder: Path, *, every_seconds: float, say: Callable[[str], None]) -> None:
        self.every_seconds = every_seconds
        self._folder = folder
        self._say = say
        self._resources = ExitStack()
        self._ports = {name: free_port() for name in _METRICS}
        self._fault = folder / "fault"
        self._skew_seconds = 0.0
        self._members = fleet(ENDPOINTS, county(), TESTS, _SEED)
        self.processes: dict[str, WorkerSlot] = {}
        self.surroundings = Surroundings(
            folder, real_kafka=True, system_redis=True, partitions=PARTITIONS, ways=3
        )

    def __enter__(self) -> Self:
        with self._resources as resources:
            resources.enter_context(self.surroundings)
            self.receivers = resources.enter_context(Receivers(_SEED))
            self.processes = {name: self._slot(name) for name in _METRICS}
            resources.callback(self._end)
            for name in _METRICS:
                self.processes[name].start()
            targets = {f"scores-{name}": port for name, port in self._ports.items()}
            self.prometheus = resources.enter_context(Prometheus(targets, self._folder / "prometheus"))
            self.load = Load(self.surroundings.kafka, rate=_RATE)
            self.load.introduce(self.surroundings.redis.url)
            self._enlist()
            resources.enter_context(self.load)
            wait_for(self._judged, "the monitor judges every reader", _START_SECONDS)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def way(self, name: str) -> Way:
        """How a process reaches Kafka and Redis: the stream worker and the monitor by ways of their own."""
        return self.surroundings.ways[{"streams": 0, "lag": 1}.get(name, 2)]

    def step(self) -> None:
        """Restart what has ended, unless it shall stay away."""
        for process in self.processes.values():
            if line := process.supervise():
                self._say(f"  {line.splitlines()[0].partition('. Its log')[0]}")

    def look(self) -> Seen:
        """What the monitor says now."""
        return look(self._ports["lag"])

    def measured(self, name: str, metric: str) -> float:
        """The present value of one of a process's metrics."""
        return measured(self._ports[name], metric)

    def stop(self, name: str) -> None:
        """Stop a process in an orderly way; it stays away until ``bring_back``."""
        self.processes[name].leave()

    def bring_back(self, name: str) -> None:
        """End ``stop``."""
        self.processes[name].come_back()

    def restart(self, name: str) -> None:
        """Stop a process and start it again."""
        self.stop(name)
        wait_for(lambda: self.processes[name].pid is None, f"{name} has stopped")
        self.bring_back(name)

    def give_fault(self, fault: str) -> None:
        """To the stream worker; see ``faulty_worker``. Empty takes it away."""
        unfinished = self._fault.with_suffix(".unfinished")
        unfinished.write_text(fault)
        unfinished.rename(self._fault)

    def skew_the_monitor(self, seconds: float) -> None:
        """Restart the monitor with a clock that is ahead by so much."""
        self._skew_seconds = seconds
        self.restart("lag")

    def receivers_behave(self, conduct: Conduct) -> None:
        """All receivers of webhooks do that from now on."""
        self.receivers.behave({member.id: conduct for member in self._members})

    def crashes(self) -> list[str]:
        """Why processes ended by themselves."""
        return [crash for process in self.processes.values() for crash in process.crashes]

    def _judged(self) -> bool:
        self.step()
        seen = self.look().verdicts
        return {"streams", "relay", "webhooks", "publisher"} <= seen.keys()

    def _enlist(self) -> None:
        ports = self.receivers.open([Hook(member.id, "") for member in self._members])
        self.receivers_behave(Conduct.LIVE)
        with Redis.from_url(self.surroundings.redis.url) as redis:
            enlist(redis, self._members, ports, _SEED)

    def _slot(self, name: str) -> WorkerSlot:
        way = self.way(name)

        def launch(start: int) -> Child:
            settings = {
                _METRICS[name]: str(self._ports[name]),
                "SCORES_WEBHOOK_KEY": KEY,
                "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes",
                "SCORES_AUDIT_DIR": str(self._folder / "audit"),
                "SCORES_PUBLISH_SECONDS": "5",
                "SCORES_BATCH_RECORDS": "200",
                "SCORES_STALL_SECONDS": "600",  # a hanging worker is to be seen, not to be ended by its watchdog
                "SCORES_LAG_EVERY_SECONDS": f"{self.every_seconds:g}",
                "DRILL_FAULT": str(self._fault),
                "DRILL_SKEW_SECONDS": f"{self._skew_seconds:g}",
            }
            environment = process_environment(way.kafka, way.redis_url, **settings)
            log = self._folder / f"{name}.{start}.log"
            return Child(name, self._command(name), cwd=_ROOT, log=log, env=environment)

        return WorkerSlot(name, launch, self._folder)

    def _command(self, name: str) -> Sequence[str]:
        if name == "lag":
            return _SKEWED_MONITOR if self._skew_seconds else _MONITOR
        return _PROGRAMS[name]

    def _end(self) -> None:
        for process in self.processes.values():
            process.end()
