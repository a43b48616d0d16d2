"""Processes and comparisons that integration tests share."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from cli.simulator.recount import CellId, CountedCell
from cli.stack.child import Child
from cli.stored_cells import stored_cells
from cli.verify import counted_cells
from schemas.assessments import load_registry

SECRET = "a secret of the tests, of no value"


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until ``condition`` holds, and fail with ``what`` when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def process_environment(kafka: str, redis_url: str, **more: str) -> dict[str, str]:
    """Settings for a worker or gateway of a test."""
    return {
        **os.environ,
        "SCORES_KAFKA": kafka,
        "SCORES_REDIS_URL": redis_url,
        "SCORES_STUDENT_KEY_SECRET": SECRET,
        "SCORES_SESSION_TIMEOUT_SECONDS": "6",
        "SCORES_FETCH_WAIT_MS": "20",
        "SCORES_COMMIT_SECONDS": "0",
        "SCORES_DEPENDENCY_BUDGET_SECONDS": "20",
        **more,
    }


@contextmanager
def running_worker(kafka: str, redis_url: str, folder: Path, **more: str) -> Iterator[Child]:
    """A stream worker in a process of its own, killed in the end if the test did not stop it."""
    number = len(list(folder.glob("worker-*.log")))
    child = Child(
        "worker",
        [sys.executable, "-m", "cli", "streams"],
        cwd=folder,
        log=folder / f"worker-{number}.log",
        env=process_environment(kafka, redis_url, **more),
    )
    try:
        yield child
    finally:
        child.signal(signal.SIGCONT)
        child.stop(0.0)


def live_cells(redis_url: str) -> dict[CellId, CountedCell]:
    """Every cell of the serving generation, in the form of the recount."""
    with stored_cells(redis_url) as stored:
        return counted_cells(stored.everywhere(), load_registry())


def positions(redis: Redis, partitions: int, generation: str = "g1") -> Mapping[int, int]:
    """The next offset of each partition, as stored with the tables."""
    names = {number: f"{{{generation}.{number}}}:position" for number in range(partitions)}
    return {number: int(redis.hget(name, "next") or 0) for number, name in names.items()}
