"""How far an engine keeps up with the log, by what it stores with its figures."""

from __future__ import annotations

from typing import Final, Protocol
from zlib import crc32

from redis import Redis

from bench.filled_topic import PARTITIONS
from bench.peers.job import decode, exam_id
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys
from tests.chaos.log_reader import LogReader


class Keeping(Protocol):
    """How far an engine is, in numbers that only grow, beside how far it should be."""

    def due(self) -> list[int]:
        """What the log holds."""

    def reached(self) -> list[int]:
        """What the figures contain of it."""


class KeptPositions:
    """Our engine stores its positions with the figures."""

    def __init__(self, url: str, log: LogReader) -> None:
        self._redis = Redis.from_url(url)
        self._log = log

    def due(self) -> list[int]:
        return self._log.ends()

    def reached(self) -> list[int]:
        generation = self._redis.get(GENERATION)
        if not isinstance(generation, bytes):
            return [0] * PARTITIONS
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(PARTITIONS):
                pipe.hget(
                    PartitionKeys(Generation(generation.decode()), PartitionId(number)).position, "next"
                )
            return [int(value or 0) for value in pipe.execute()]


class KeptExams:
    """Stock Faust stores each exam with the figures: in so many hashes, of which an eighth is counted."""

    _HASHES: Final = 16_384  # as in bench.peers.faust_agent
    _COUNTED: Final = _HASHES // 8

    def __init__(self, url: str, log: LogReader) -> None:
        self._redis = Redis.from_url(url)
        self._log = log
        self._read_to = [0] * PARTITIONS
        self._exams: set[str] = set()

    def due(self) -> list[int]:
        for number, end in enumerate(self._log.ends()):
            for record in self._log.between(number, self._read_to[number], end):
                name = exam_id(decode(record.value))
                if crc32(name.encode()) % self._HASHES < self._COUNTED:
                    self._exams.add(name)
            self._read_to[number] = end
        return [len(self._exams)]

    def reached(self) -> list[int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for number in range(self._COUNTED):
                pipe.hlen(f"exams:{number}")
            return [sum(pipe.execute())]
