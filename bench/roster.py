"""The engines that are compared: how each is started, watched, and what it promises."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.environments import java_of, python_of
from bench.filled_topic import SECRET, FilledTopic
from bench.peers.ceiling import WHOLE
from bench.peers.surroundings import FLUSH_SECONDS, SESSION_SECONDS
from bench.probes import DecodedOnly, OurTables, PeersCells, Probe
from cli.stack.child import Child

_ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Engine:
    """One system.

    Args:
        command: gives the command line for a run's folder; makes the system's environment first where it needs one.
    """

    name: str  # for --only
    title: str
    promises: str
    command: Callable[[Path], list[str]]
    probe: Callable[[str, FilledTopic], Probe] = PeersCells
    environment: Mapping[str, str] = field(default_factory=dict)
    by_default: bool = True  # False: only where --only names it

    def start(self, filled: FilledTopic, redis_url: str, folder: Path, group: str) -> Child:
        """Start it in ``folder``; starting it there again is what its supervisor would do after a crash.

        Raises:
            CannotSetUp: the system's environment cannot be made on this machine.
        """
        redis = urlsplit(redis_url)
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "BENCH_KAFKA": filled.kafka,
            "BENCH_REDIS_HOST": str(redis.hostname),
            "BENCH_REDIS_PORT": str(redis.port),
            "BENCH_TOPIC": filled.name,
            "BENCH_GROUP": group,
            "BENCH_FOLDER": str(folder),
            "SCORES_KAFKA": filled.kafka,
            "SCORES_REDIS_URL": redis_url,
            "SCORES_STUDENT_KEY_SECRET": SECRET,
            "SCORES_STREAMS_GROUP": group,
            "SCORES_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
            **self.environment,
        }
        number = len(list(folder.glob("output-*.log")))
        log = folder / f"output-{number}.log"
        return Child(self.title, self.command(folder), cwd=folder, log=log, env=environment)


def _here(*module: str) -> Callable[[Path], list[str]]:
    return lambda folder: [sys.executable, "-m", *module]


def _bytewax(folder: Path) -> list[str]:
    flow = ["bench.peers.bytewax_flow:get_flow()", "-r", str(folder / "recovery")]
    return [python_of("bytewax"), "-m", "bytewax.run", *flow, "-s", str(int(FLUSH_SECONDS)), "-b", "0"]


def _kafka_streams(folder: Path) -> list[str]:
    options = ["-Xmx1500m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return java_of("kafka_streams", "ExamCells", options)


_QUIX: Final = "bench.peers.quix_dataframe"

OURS: Final = Engine(
    "ours",
    "ours",
    "exact: versions, position, epoch and figures change in one guarded script; a zombie is fenced",
    _here("cli", "streams"),
    OurTables,
)
TWO_OF_OURS: Final = Engine(
    "ours-two-workers",
    "ours, two workers",
    OURS.promises,
    _here("cli", "streams", "--workers", "2"),
    OurTables,
    by_default=False,
)
CEILING: Final = Engine(
    "ceiling",
    "ceiling: consume, and decode the fields that count",
    "nothing: it aggregates nothing",
    _here("bench.peers.ceiling"),
    DecodedOnly,
)
CEILING_OF_WHOLE_EVENTS: Final = Engine(
    "ceiling-whole",
    "consume, and decode whole events",
    "nothing: it aggregates nothing",
    _here("bench.peers.ceiling"),
    DecodedOnly,
    environment={WHOLE: "yes"},
)
ENGINES: Final[tuple[Engine, ...]] = (
    OURS,
    TWO_OF_OURS,
    Engine(
        "faust-increments",
        "Faust, a MULTI of increments for each event",
        "at least once; stored versions make replays harmless, but workers that overlap both add",
        _here("bench.peers.faust_agent"),
    ),
    Engine(
        "faust-script",
        "Faust, a Lua script for each event",
        "at least once; the version check in the script makes replays and overlaps harmless",
        _here("bench.peers.faust_agent"),
        environment={"BENCH_WAY": "script"},
    ),
    Engine(
        "plain",
        "confluent-kafka and a redis-py pipeline",
        "at least once; stored versions make replays harmless, but consumers that overlap both add",
        _here("bench.peers.plain"),
    ),
    Engine(
        "bytewax",
        "Bytewax",
        "state and offsets in one snapshot each second; the sink at least once, with absolute figures; one owner assumed",
        _bytewax,
    ),
    Engine(
        "quix",
        "Quix Streams, at least once",
        "at least once: differences that were sent to the repartition topic before a crash are sent again",
        lambda folder: [python_of("quix"), "-m", _QUIX],
    ),
    Engine(
        "quix-exactly-once",
        "Quix Streams, exactly once",
        "exactly once within Kafka and state; the sink at least once, with absolute figures",
        lambda folder: [python_of("quix"), "-m", _QUIX],
        environment={"BENCH_EXACTLY_ONCE": "yes"},
    ),
    Engine(
        "pathway",
        "Pathway",
        "input persisted and replayed; the sink at least once (exactly once is in the paid edition)",
        lambda folder: [python_of("pathway"), "-m", "bench.peers.pathway_tables"],
    ),
    Engine(
        "kafka-streams",
        "Kafka Streams, at least once",
        "at least once: additions and retractions sent before a crash are sent again; the sink writes absolute figures",
        _kafka_streams,
    ),
    Engine(
        "kafka-streams-exactly-once",
        "Kafka Streams, exactly_once_v2",
        "exactly once within Kafka and state; the sink at least once, with absolute figures",
        _kafka_streams,
        environment={"BENCH_EXACTLY_ONCE": "yes"},
    ),
    CEILING,
    CEILING_OF_WHOLE_EVENTS,
)
