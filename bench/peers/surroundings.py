"""What the benchmark tells a peer about where to read, where to write and where to keep state between restarts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# How often a peer makes what it has done visible and safe. Our worker does both several times a second; many default
# to 5 or 30 s, which would only add a wait to the end of each run.
FLUSH_SECONDS = 1.0

# A killed consumer's partitions stand still so long; brokers allow no less.
SESSION_SECONDS = 6


@dataclass(frozen=True)
class Surroundings:
    """The addresses and names of one run."""

    kafka: str
    redis_host: str
    redis_port: int
    topic: str
    group: str  # of this run alone; the same after a restart
    folder: Path  # for local state; kept through restarts
    exactly_once: bool  # ask for it where the engine offers it

    @classmethod
    def from_environment(cls) -> Self:
        """As ``bench.roster`` sets them."""
        env = os.environ
        return cls(
            kafka=env["BENCH_KAFKA"],
            redis_host=env["BENCH_REDIS_HOST"],
            redis_port=int(env["BENCH_REDIS_PORT"]),
            topic=env["BENCH_TOPIC"],
            group=env["BENCH_GROUP"],
            folder=Path(env["BENCH_FOLDER"]),
            exactly_once=env.get("BENCH_EXACTLY_ONCE") == "yes",
        )
