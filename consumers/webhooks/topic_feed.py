"""Reading the topics of changes: from given offsets, in no consumer group's charge, and in a thread of its own.

Which offsets those are is kept with what was taken from the records. The group's committed offsets follow, for whoever looks
at its lag; nothing is ever read from them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import DependencyUnavailable
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RELEASES, RESULT_CHANGES

logger = logging.getLogger(__name__)

TOPICS: Final = (AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES, RELEASES)

_ANSWER_SECONDS: Final = 5.0
_RECORDS_AT_ONCE: Final = 2_000
_WAIT_SECONDS: Final = 0.1
_COMMIT_SECONDS: Final = 5.0
_UNNAMED: Final = "-"


class ChangeRecord(NamedTuple):
    """One record of one of the topics."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None


class TopicFeed:
    """All partitions of all topics, as one sequence of batches."""

    def __init__(self, kafka: str, group: str) -> None:
        self._kafka = kafka
        self._group = group
        self._consumer: Consumer | None = None
        self._partitions: Mapping[str, int] = {}
        self._committed_at = 0.0

    async def describe(self) -> tuple[str, Mapping[str, int]]:
        """Which log this is (offsets mean nothing in another), and how many partitions each topic has.

        Raises:
            DependencyUnavailable: Kafka does not answer, or has not all of the topics.
        """
        return await asyncio.to_thread(self._describe)

    async def open(self, positions: Mapping[tuple[str, int], int], partitions: Mapping[str, int]) -> None:
        """Read on from these offsets; a partition without one from its beginning."""
        await asyncio.to_thread(self._open, positions, partitions)

    async def batch(self) -> Sequence[ChangeRecord]:
        """The next records, none when there are none just now.

        Raises:
            DependencyUnavailable: Kafka refuses to be read.
        """
        return await asyncio.to_thread(self._batch)

    async def commit(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Let the group's lag be seen; now and then, and without any promise."""
        if time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self._committed_at = time.monotonic()
            await asyncio.to_thread(self._commit, positions)

    async def lag(self, positions: Mapping[tuple[str, int], int]) -> int:
        """How many records are still to be read, as far as the client knows."""
        return await asyncio.to_thread(self._lag, positions)

    async def close(self) -> None:
        """Stop reading."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await asyncio.to_thread(consumer.close)

    def _describe(self) -> tuple[str, Mapping[str, int]]:
        admin = AdminClient({"bootstrap.servers": self._kafka, "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=_ANSWER_SECONDS)
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka at {self._kafka} does not answer ({error.args[0].str()}); is it running, and is SCORES_KAFKA right?"
            ) from error
        counts: dict[str, int] = {
            name: len(metadata.topics[name].partitions) for name in TOPICS if name in metadata.topics
        }
        missing = [name for name in TOPICS if not counts.get(name)]
        if missing:
            raise DependencyUnavailable(
                f"Kafka at {self._kafka} has no topic {', '.join(missing)}; make them with `scores topics create`"
            )
        try:
            described = admin.describe_topics(TopicCollection(list(TOPICS)), request_timeout=2.0)
            ids = [str(described[name].result(timeout=3.0).topic_id) for name in TOPICS]
        except (KafkaException, TimeoutError):
            ids = [_UNNAMED]  # the embedded broker cannot say; its cluster id is new at every start
        return "/".join((metadata.cluster_id or _UNNAMED, *ids)), counts

    def _open(self, positions: Mapping[tuple[str, int], int], partitions: Mapping[str, int]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._kafka,
                "group.id": self._group,
                "enable.auto.commit": False,
                # An offset that is no more: it was compacted or is too old; what is left has every cell's latest.
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 65_536,
                "log_level": 0,
            }
        )
        self._partitions = partitions
        self._consumer.assign(
            [
                TopicPartition(topic, partition, positions.get((topic, partition), 0))
                for topic, count in partitions.items()
                for partition in range(count)
            ]
        )

    def _batch(self) -> Sequence[ChangeRecord]:
        assert self._consumer is not None
        records: list[ChangeRecord] = []
        for message in self._consumer.consume(_RECORDS_AT_ONCE, _WAIT_SECONDS):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF or error.retriable():
                    continue
                if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                    logger.info("kafka is away error=%s", error.str())
                    continue
                raise DependencyUnavailable(f"{message.topic()} cannot be read: {error.str()}")
            records.append(
                ChangeRecord(
                    message.topic() or "",
                    message.partition() or 0,
                    message.offset() or 0,
                    message.timestamp()[1],
                    message.value(),
                )
            )
        return records

    def _commit(self, positions: Mapping[tuple[str, int], int]) -> None:
        if self._consumer is None or not positions:
            return
        offsets = [TopicPartition(topic, partition, at) for (topic, partition), at in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            logger.info("the group's offsets were not committed error=%s", error.args[0].str())

    def _lag(self, positions: Mapping[tuple[str, int], int]) -> int:
        if self._consumer is None:
            return 0
        left = 0
        for topic, count in self._partitions.items():
            for partition in range(count):
                _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
                left += max(high - positions.get((topic, partition), 0), 0)
        return left
