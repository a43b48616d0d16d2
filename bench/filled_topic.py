"""A real Kafka whose results topic holds one season, produced once and read by every engine in turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis
from rich.progress import Progress

from bench.recount_log import Cells, ends, recount_log
from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.production import Progress as SeasonProgress
from cli.simulator.production import run_season
from cli.simulator.recount import CellId, CountedCell
from cli.stack.local_kafka import DEFAULT_FOLDER, LocalKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.events import encode_event
from schemas.keys import ORGANIZATIONS
from schemas.topics import EXAM_RESULTS, topics

PARTITIONS: Final = 8
SECRET: Final = "a secret of the benchmark"

_EVENTS_A_RESULT: Final = 1.15  # with rescores, resets, moves and duplicates


@dataclass(frozen=True)
class FilledTopic:
    """Where the season lies, and what must come of it."""

    kafka: str
    kafka_pid: int
    name: str
    ends: dict[int, int]  # next offset of each partition once all is read
    kinds: dict[str, int]
    ours: dict[CellId, CountedCell]  # the figures of our cells
    peers: Cells  # the figures of the peers' cells

    @property
    def events(self) -> int:
        """How many there are to read."""
        return sum(self.ends.values())


@contextmanager
def local_kafka(folder: Path) -> Iterator[LocalKafka]:
    """A Kafka with our topics, its log below ``folder``."""
    wanted = {topic.name: (topic.partitions, topic.config) for topic in topics(PARTITIONS)}
    # The options of a server that runs for long, in place of those for a quick start.
    with LocalKafka(
        folder / "kafka", topics=wanted, jars=DEFAULT_FOLDER, java_options=("-XX:+UseG1GC",)
    ) as kafka:
        yield kafka


@contextmanager
def filled_topic(folder: Path, events: int, schools: int, seed: int) -> Iterator[FilledTopic]:
    """Kafka with about so many events of so many schools."""
    with local_kafka(folder) as kafka:
        address = kafka.bootstrap_servers
        options = SeasonOptions(
            schools=schools, results=max(1, int(events / _EVENTS_A_RESULT)), rescores=0.1, seed=seed
        )
        with EmbeddedRedis() as store, Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
            # The producer waits until a worker has stored the directory; this store has it already, and goes away.
            with Redis.from_url(store.url) as redis:
                entries = plan_county(schools, seed).entries
                redis.hset(ORGANIZATIONS, mapping={entry.cds: encode_event(entry) for entry in entries})
            task = bar.add_task("Producing", total=events)

            def show(progress: SeasonProgress) -> None:
                bar.update(task, completed=progress.produced)

            run = run_season(
                kafka=address,
                redis_url=store.url,
                secret=SECRET.encode(),
                options=options,
                rate=0,
                stop=threading.Event(),
                on_progress=show,
            )
        counted, peers = recount_log(address, EXAM_RESULTS)
        if run.lost or counted != run.acknowledged:
            raise SystemExit(
                f"produced {run.produced:,}, acknowledged {run.acknowledged:,}, read {counted:,}; expected all the same"
            )
        kinds = {kind.value: number for kind, number in run.kinds.most_common()}
        yield FilledTopic(
            address, kafka.pid, EXAM_RESULTS, ends(address, EXAM_RESULTS), kinds, run.recount.cells(), peers
        )
