"""Waiting until new partitions can be written to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import DependencyUnavailable

_ANSWER_SECONDS: Final = 5.0


def wait_for_partitions(kafka: str, topics: Mapping[str, int], seconds: float) -> None:
    """Return when every partition of ``topics`` (name to number of partitions) can tell where it ends.

    A record that is sent while its partition is still being made can be lost although it is acknowledged: its first try is
    refused, the batch after it is accepted as the first of a producer yet unknown, and then the second try passes for a
    duplicate.

    Raises:
        DependencyUnavailable: one could not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "scores-topics", "log_level": 0})
    try:
        for name, partitions in topics.items():
            for number in range(partitions):
                _wait(consumer, TopicPartition(name, number), deadline)
    finally:
        consumer.close()


def _wait(consumer: Consumer, partition: TopicPartition, deadline: float) -> None:
    while True:
        try:
            consumer.get_watermark_offsets(partition, timeout=_ANSWER_SECONDS)
            return
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"{partition.topic}/{partition.partition} was created, but has no leader yet: {error.args[0].str()}; "
                    "wait until the cluster is whole before anything is produced"
                ) from error
            time.sleep(0.05)
