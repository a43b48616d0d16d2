"""A results topic, and tables in Redis that say where its reader stands, without any reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis

from consumers.lag.log_ends import LogEnds
from consumers.lag.samples import STREAMS, GroupSample, PartitionSample, Snapshot
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, PARTITION_COUNT, Generation, PartitionKeys
from schemas.topics import EXAM_RESULTS

ROUNDING_SECONDS: Final = 0.002  # two clocks in whole milliseconds


class Written(NamedTuple):
    """When records were written, by this clock, in seconds: not before, and not after."""

    began: float
    done: float

    def is_late_by(self, lag_seconds: float | None, asked_ms: int) -> bool:
        """Whether a lag that was asked for then, and is known now, is the age of these records: no slack for a slow machine."""
        assert lag_seconds is not None
        youngest, oldest = asked_ms / 1000 - self.done, time.time() - self.began
        return youngest - ROUNDING_SECONDS <= lag_seconds <= oldest + ROUNDING_SECONDS


class Stand:
    """One partition of the results topic, read up to where a test says."""

    def __init__(self, kafka: str, redis: Redis, *, named: bool) -> None:
        self.kafka = kafka
        self.redis = redis
        self._named = named
        self._producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0, "log_level": 0})

    def end(self, topic: str = EXAM_RESULTS) -> int:
        """The offset that is written next."""
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "test-ends"})
        try:
            end: int = consumer.get_watermark_offsets(TopicPartition(topic, 0), 30)[1]
            return end
        finally:
            consumer.close()

    def write(self, count: int = 1, topic: str = EXAM_RESULTS, key: bytes | None = None) -> Written:
        """Records."""
        began = time.time()
        for _ in range(count):
            self._producer.produce(topic, value=b"a record", key=key, partition=0)
        assert self._producer.flush(30) == 0
        return Written(began, time.time())

    def serve(self, generation: str = "g1") -> None:
        """Let these tables be the ones that are read."""
        self.redis.set(PARTITION_COUNT, 1)
        self.redis.set(GENERATION, generation)

    def stand_at(self, position: int, generation: str = "g1", **fields: Any) -> None:
        """The tables hold everything before ``position``."""
        ends = LogEnds(self.kafka)
        facts = ends.topics([EXAM_RESULTS], named=self._named)[EXAM_RESULTS]
        ends.close()
        key = PartitionKeys(Generation(generation), PartitionId(0)).position
        stored: dict[Any, Any] = {
            "next": position,
            "epoch": 1,
            "owner": "worker-a",
            "log": f"{facts.cluster}/{facts.identity}",
            "complete_ms": int(time.time() * 1000),
            **fields,
        }
        self.redis.hset(key, mapping=stored)
        self.serve(generation)


def group(snapshot: Snapshot, name: str, topic: str) -> GroupSample:
    """What a snapshot says of one reader."""
    found = [one for one in snapshot.groups if (one.group, one.topic) == (name, topic)]
    assert len(found) == 1, (name, topic, [(one.group, one.topic) for one in snapshot.groups])
    return found[0]


def streams(snapshot: Snapshot) -> PartitionSample:
    """What it says of the first partition of the results."""
    assert snapshot.troubles == ()
    return group(snapshot, STREAMS, EXAM_RESULTS).partitions[0]


def shifted_clock(seconds: float) -> Callable[[], int]:
    """A monitor's clock that is wrong by so much."""
    return lambda: int((time.time() + seconds) * 1000)
