"""What ``scores plan`` calculates with: figures that were measured, each with the place where it is said, and what is only assumed.

A test reads those places, and fails when a figure there is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RESULTS: Final = "bench/RESULTS.md"


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and where it stands.

    Attributes:
        file: of the project.
        section: a heading of that file.
        said: the words with the figure in them, whatever the lines break at.
    """

    value: float
    file: str
    section: str
    said: str

    @property
    def source(self) -> str:
        """For people: file and section."""
        return f"{self.file}, {self.section}"


@dataclass(frozen=True, slots=True)
class Assumed:
    """A figure that nobody has measured, and why it was chosen."""

    value: float
    why: str

    @property
    def source(self) -> str:
        """For people: that it is none."""
        return f"assumed: {self.why}"


_SEASON: Final = "Replay of a state's season"
# The last tenth, which is the slowest: by then the tables are full.
_LAST_TENTH: Final = "| 100% | 72.8 | 15,041 | 59.8 | 54.6 | 1.9 |"
_WATCHED: Final = "| 15,000 | 15.7 (14.5-17.9) | 58.3 (29.4-997.4) | 103.8 (49.2-1106.8) | 0.49 |"

WORKER_EVENTS: Final = Measured(15_041, RESULTS, _SEASON, _LAST_TENTH)
WORKER_MICROSECONDS: Final = Measured(59.8, RESULTS, _SEASON, _LAST_TENTH)
REDIS_MICROSECONDS: Final = Measured(54.6, RESULTS, _SEASON, _LAST_TENTH)
KAFKA_MICROSECONDS: Final = Measured(1.9, RESULTS, _SEASON, _LAST_TENTH)
REPLAY_EVENTS: Final = Measured(17_881, RESULTS, _SEASON, "| all | 614.9 | 17,881 |")
RESULT_BYTES: Final = Measured(102.1, RESULTS, _SEASON, "| Redis, used_memory | 1,021 MB | 102.1 |")
REDIS_RESIDENT_MB: Final = Measured(1_227, RESULTS, _SEASON, "| Redis, peak RSS | 1,227 MB |")
REDIS_USED_MB: Final = Measured(1_021, RESULTS, _SEASON, "| Redis, used_memory | 1,021 MB |")
WORKER_MB: Final = Measured(822, RESULTS, _SEASON, "| worker, peak RSS | 822 MB |")
SEASON_RESULTS: Final = Measured(10_000_000, RESULTS, _SEASON, "10,000,000 results and 1,000,000 rescores")
SEASON_SCHOOLS: Final = Measured(9_000, RESULTS, _SEASON, "of 9,000 schools in 58 counties")
EVENT_BYTES: Final = Measured(553, RESULTS, "Worker throughput", "mean 553 bytes")

GATEWAY_STREAMS: Final = Measured(15_000, RESULTS, "Push", _WATCHED)
# 200 changed cells a second, one of each of 200 schools, each watched by 75 of these streams: 15,000 messages a second.
GATEWAY_MESSAGES: Final = Measured(15_000, RESULTS, "Push", "200 changed cells a second")
GATEWAY_CORES: Final = Measured(0.49, RESULTS, "Push", _WATCHED)
STREAM_KB: Final = Measured(6.8, RESULTS, "Push", "6.8 kB a stream")
CONNECT_MILLISECONDS: Final = Measured(0.91, RESULTS, "Push", "a connection costs 0.91 ms")
STORM_CLIENTS: Final = Measured(5_000, RESULTS, "Push", "python -m bench.push --storm 5000")
STORM_SECONDS: Final = Measured(4.28, RESULTS, "Push", "| 50 | 0.78 | 4.28 (4.15-4.49) |")

SCHOOL_KB: Final = Measured(
    20,
    "docs/operations/gateways.md",
    "Before the first stream",
    "20 kB for each school that somebody watches",
)
AUDIT_BYTES: Final = Measured(500, "docs/operations/audit.md", "Audit", "An entry has some 500 bytes")
_CAPACITY: Final = "docs/operations/capacity.md"
GATEWAY_MB: Final = Measured(88, _CAPACITY, "What was measured", "| A gateway without streams | 88 MB |")
IMPORT_RECORD_BYTES: Final = Measured(610, _CAPACITY, "What was measured", "record 450, digest 160")
IMPORT_INDEX_BYTES: Final = Measured(131, _CAPACITY, "What was measured", "index of exams 131")
IMPORTS: Final = Measured(
    945, _CAPACITY, "What was measured", "| Documents imported through one gateway | 945 a second"
)

STATE_STUDENTS: Final = 3_200_000  # of whom a season has so many results as SEASON_RESULTS
STATE_EXAMS_AN_HOUR: Final = Assumed(
    1_500_000, "the most that the state's reporting warehouse says to take to its aggregates in an hour"
)
RESCORES: Final = Assumed(0.1, "one result in ten comes once more, as in the season that was replayed")
HALF: Final = Assumed(
    0.5, "no process and no store is planned beyond half of what it did: peaks, other machines, a neighbour"
)
SPARE: Final = Assumed(1, "one of them may be away")
REWRITING: Final = Assumed(
    0.5, "pages that change while the append-only file is rewritten are copied: half of all, at worst"
)
MESSAGES_A_VIEWER: Final = Assumed(1, "a message a second for each viewer, as when that was measured")
VIEWING_HOURS: Final = Assumed(
    500, "as if all viewers watched for so many hours a year, some three on a school day"
)
STREAM_SECONDS: Final = 600  # a stream's age, a fifth more or less; it is opened anew then
ENTRIES_A_STREAM: Final = 2  # of the audit: opened, ended
FEWEST_PARTITIONS: Final = 8
IMPORT_KEEP_DAYS: Final = 400  # the default of SCORES_IMPORT_KEEP_DAYS
PARTITIONS_A_MASTER: Final = 4  # a hash deals them out; with fewer, one master easily has most of them
