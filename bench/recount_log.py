"""The oracle of the peers' job: the whole topic read again, newest versions counted from scratch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from bench.peers.job import (
    FIGURES,
    Figures,
    Version,
    decode,
    exam_id,
    figures_of,
    organizations,
    supersedes,
    version_of,
)

Cells = dict[tuple[str, str], Figures]  # by organization and cell


def recount_log(kafka: str, topic: str) -> tuple[int, Cells]:
    """How many events the topic has, and what the cells must be after all of them."""
    newest: dict[str, Version] = {}
    events = 0
    for value in _values(kafka, topic):
        exam = decode(value)
        name, version = exam_id(exam), version_of(exam)
        events += 1
        if supersedes(version, newest.get(name)):
            newest[name] = version
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * len(FIGURES))
    for version in newest.values():
        if version.school:
            figures = figures_of(version)
            for organization in organizations(version.school):
                total = totals[organization, version.cell]
                for index, figure in enumerate(figures):
                    total[index] += figure
    return events, {name: tuple(total) for name, total in totals.items()}


def ends(kafka: str, topic: str) -> dict[int, int]:
    """The offset at which each partition ends now."""
    consumer = _consumer(kafka)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def _values(kafka: str, topic: str) -> Iterator[bytes]:
    left = {number: end for number, end in ends(kafka, topic).items() if end}
    consumer = _consumer(kafka)
    consumer.assign([TopicPartition(topic, number, 0) for number in left])
    try:
        while left:
            for message in consumer.consume(10_000, 0.2):
                if (error := message.error()) is not None:
                    raise SystemExit(f"Kafka: {error.str()}")
                yield message.value() or b""
                number, offset = message.partition(), message.offset()
                assert number is not None and offset is not None  # as it was consumed
                if offset + 1 >= left.get(number, 0):
                    left.pop(number, None)
    finally:
        consumer.close()


def _consumer(kafka: str) -> Consumer:
    return Consumer({"bootstrap.servers": kafka, "group.id": "recount", "enable.auto.commit": False})
