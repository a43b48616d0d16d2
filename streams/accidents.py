"""What befalls Redis and the log while a worker runs: one name for each, which the log and the metric share.

Each is handled as said here, and none costs a result: what Redis has lost is replayed from the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final

from prometheus_client import Counter

from schemas.errors import GroupFailed, LogGap, LogReplaced, PartitionsChanged, ScoreStreamError, Stalled

logger = logging.getLogger(__name__)


class Accident(Enum):
    """From harmless to grave: the metric's label, how loud the log is, and its constant phrase."""

    BATCH_SPLIT = ("batch_split", logging.INFO, "batch too large for one script, applied in parts")
    ANSWER_LOST = ("answer_lost", logging.WARNING, "batch was applied, but the answer got lost")
    REDIS_AWAY = ("redis_away", logging.WARNING, "redis does not answer, waiting")
    REDIS_READ_ONLY = ("redis_read_only", logging.WARNING, "redis is a replica now, looking for the master")
    REDIS_OUT_OF_MEMORY = (
        "redis_out_of_memory",
        logging.ERROR,
        "redis is out of memory, raise its maxmemory; nothing is written meanwhile",
    )
    DIRECTORY_ROLLED_BACK = (
        "directory_rolled_back",
        logging.WARNING,
        "directory rolled back, read again from the log",
    )
    RELEASES_ROLLED_BACK = (
        "releases_rolled_back",
        logging.WARNING,
        "release states rolled back, read again from the log",
    )
    KAFKA_AWAY = ("kafka_away", logging.WARNING, "kafka does not answer, waiting")
    TABLES_ROLLED_BACK = ("tables_rolled_back", logging.WARNING, "tables rolled back")
    TABLES_LOST = ("tables_lost", logging.ERROR, "tables lost, built again from the log")
    GROUP_FAILED = ("group_failed", logging.ERROR, "membership of the group broke down, starting again")
    STALLED = ("stalled", logging.ERROR, "records wait and nothing is applied, starting again")
    LOG_GAP = ("log_gap", logging.ERROR, "records are missing from the log, refusing to go on")
    LOG_REPLACED = ("log_replaced", logging.ERROR, "the log is another one, refusing to go on")
    PARTITIONS_CHANGED = (
        "partitions_changed",
        logging.ERROR,
        "the log has another number of partitions, refusing to go on",
    )

    def __init__(self, label: str, level: int, phrase: str) -> None:
        self.label = label
        self.level = level
        self.phrase = phrase


# What ends a worker for a reason of the log.
_ENDING: Final[Mapping[type[ScoreStreamError], Accident]] = {
    LogGap: Accident.LOG_GAP,
    LogReplaced: Accident.LOG_REPLACED,
    PartitionsChanged: Accident.PARTITIONS_CHANGED,
    Stalled: Accident.STALLED,
    GroupFailed: Accident.GROUP_FAILED,
}


class Accidents:
    """Where a worker's accidents are named: once in the log, once in ``scores_accidents_total{kind}``."""

    def __init__(self, counter: Counter) -> None:
        """``counter`` has the one label ``kind``; every kind is there from the start, at 0, so that alerts see a rise."""
        self._counter = counter
        for kind in Accident:
            counter.labels(kind.label)

    def happened(self, kind: Accident, **fields: object) -> None:
        """Count it and log it with ``fields``."""
        self._counter.labels(kind.label).inc()
        logger.log(kind.level, "%s%s", kind.phrase, "".join(f" {name}={fields[name]}" for name in fields))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name what passes through and ends the worker; everything else passes as it is."""
        try:
            yield
        except tuple(_ENDING) as error:
            self.happened(_ENDING[type(error)], error=error)
            raise
