"""A log, a store and the ``scores`` command, for tests of rebuilds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from stack import SECRET, live_cells, positions, process_environment, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.simulator.recount import CellId, CountedCell, Recount
from cli.stack.child import Child
from cli.verify import compare
from schemas.assessments import load_registry
from schemas.events import decode_exam_result, decode_organization
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, REBUILD, RESULTS_ENDING, Attribution, Generation, PartitionKeys, keys_of
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS
from streams.rebuild_state import decode_rebuild
from streams.topic_reading import read_topic

PARTITIONS = 4

# A log that ends before the tables is refused; these tests need tables that are ahead of it.
_WITHOUT_LOOKING_AT_THE_END = """
import cli.__main__, cli.rebuild.planning
cli.rebuild.planning._shorter = lambda facts: []
cli.__main__.main()
"""


@dataclass
class RebuildStack:
    """Addresses, and what tests ask of what is there."""

    kafka: str
    redis_url: str
    folder: Path
    redis: Redis = field(init=False)
    _outputs: int = 0

    def __post_init__(self) -> None:
        self.redis = Redis.from_url(self.redis_url)

    def season(self, *, results: int = 1_500, rate: float = 0, seed: int = 1) -> SeasonRun:
        """Produce a season with moves, resets and rescores; a worker must run."""
        return run_season(
            kafka=self.kafka,
            redis_url=self.redis_url,
            secret=SECRET.encode(),
            options=SeasonOptions(
                schools=16,
                results=results,
                seed=seed,
                rescores=0.2,
                duplicates=0.05,
                disorder=0.1,
                resets=0.05,
                moves=0.15,
            ),
            rate=rate,
            stop=threading.Event(),
        )

    @contextmanager
    def worker(self, **settings: str) -> Iterator[Child]:
        """A stream worker."""
        with running_worker(self.kafka, self.redis_url, self.folder, **settings) as worker:
            yield worker

    def serving(self) -> Generation:
        """The serving generation."""
        stored: Any = self.redis.get(GENERATION)
        return Generation("" if stored is None else stored.decode())

    def log_ends(self) -> dict[int, int]:
        """Where each partition of the log ends."""
        ends = dict.fromkeys(range(PARTITIONS), 0)
        for record in read_topic(self.kafka, EXAM_RESULTS):
            ends[record.partition] = record.offset + 1
        return ends

    def wait_until_applied(self) -> None:
        """Wait until the serving tables hold the whole log."""
        ends = self.log_ends()
        wait_for(lambda: positions(self.redis, PARTITIONS) == ends, "the whole log is applied", 60)

    def recount(self, rule: Attribution = "current") -> dict[CellId, CountedCell]:
        """What the cells must be after the log as it is now."""
        schools = {
            entry.cds
            for record in read_topic(self.kafka, ORGANIZATIONS)
            if (entry := decode_organization(record.value or b"")).kind == "school"
        }
        recount = Recount(load_registry(), schools, rule)
        for record in read_topic(self.kafka, EXAM_RESULTS):
            recount.add((record.key or b"").decode(), decode_exam_result(record.value or b""))
        return recount.cells()

    def assert_exact(self, rule: Attribution = "current") -> None:
        """The serving cells are the recount of the log under a rule."""
        assert compare(self.recount(rule), live_cells(self.redis_url)) == []

    def run(self, *arguments: str, exit_status: int = 0) -> str:
        """Run ``scores`` to its end; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            check=False,
            env=process_environment(self.kafka, self.redis_url),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == exit_status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + (done.stderr if exit_status else "")

    def rebuild(self, *arguments: str, exit_status: int = 0) -> dict[str, Any]:
        """Run ``scores rebuild`` to its end; returns its summary."""
        output = self.run("rebuild", *arguments, "--json", exit_status=exit_status)
        found: dict[str, Any] = json.loads(output[: output.index("\n")])
        return found

    def status(self) -> dict[str, Any]:
        """What ``scores rebuild status`` says."""
        command = [sys.executable, "-m", "cli", "rebuild", "status", "--json"]
        environment = process_environment(self.kafka, self.redis_url)
        done = subprocess.run(
            command, check=False, env=environment, cwd=self.folder, capture_output=True, timeout=120
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @contextmanager
    def endless_rebuild(self) -> Iterator[Child]:
        """A rebuild in its middle: half of the log is in the new tables, and it waits for more of it.

        It fills as far as the serving tables say that they are; so these say half, and of one partition, more than there is.
        """
        serving = self.serving()
        stored: dict[str, int] = {}
        half: list[int] = []
        for number in range(PARTITIONS):
            name = PartitionKeys(serving, PartitionId(number)).position
            position: Any = self.redis.hget(name, "next")
            stored[name] = int(position)
            half.append(stored[name] if number == 0 else stored[name] // 2)
            self.redis.hset(name, "next", half[-1] + (100_000 if number == 0 else 0))
        self.redis.hdel(REBUILD, "progress")
        self._outputs += 1
        child = Child(
            "rebuild",
            [sys.executable, "-c", _WITHOUT_LOOKING_AT_THE_END, "rebuild", "start"],
            cwd=self.folder,
            log=self.folder / f"rebuild-{self._outputs}.log",
            env=process_environment(self.kafka, self.redis_url),
        )
        try:
            wait_for(lambda: self._filled() >= half, "half of the log is filled", 60)
            yield child
        finally:
            child.signal(signal.SIGCONT)
            child.stop(0.0)
            for name, position in stored.items():
                self.redis.hset(name, "next", position)

    def tables(self, generation: Generation) -> list[str]:
        """The names of a generation's keys, but those that wait for a relay."""
        names = [key.decode() for key in self.redis.scan_iter(keys_of(generation), count=1_000)]
        return [name for name in names if not name.endswith(RESULTS_ENDING)]

    def _filled(self) -> list[int]:
        """How far the rebuild says that its partitions are."""
        stored: Any = self.redis.hgetall(REBUILD)
        rebuild = decode_rebuild(stored)
        if rebuild is None:
            return []
        return [position for _, (position, _) in sorted(rebuild.progress.partitions.items())]
