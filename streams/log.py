"""What stands behind the topics when a worker starts: which log it is, how many partitions, and the directory so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from schemas.errors import DependencyUnavailable
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS

_ANSWER_SECONDS = 5.0
_READ_SECONDS = 30.0  # 11,000 entries take about a second


@dataclass(frozen=True, slots=True)
class Log:
    """The log that a worker reads.

    Both identities are cluster id and topic id: offsets of a topic that was deleted and created again mean something else.
    """

    identity: str
    directory_identity: str
    partitions: int


class StoredRecord(NamedTuple):
    """One record of a topic."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int


def describe_log(kafka: str, budget_seconds: float) -> Log:
    """Ask Kafka, again and again within the budget.

    Raises:
        DependencyUnavailable: Kafka did not answer, or a topic does not exist, within the budget.
    """
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    deadline = time.monotonic() + budget_seconds
    while True:
        try:
            metadata = admin.list_topics(timeout=_ANSWER_SECONDS)
            missing = [name for name in (EXAM_RESULTS, ORGANIZATIONS) if name not in metadata.topics]
            if not missing:
                results, directory = (
                    f"{metadata.cluster_id or '-'}/{_topic_id(admin, name)}"
                    for name in (EXAM_RESULTS, ORGANIZATIONS)
                )
                return Log(results, directory, len(metadata.topics[EXAM_RESULTS].partitions))
            problem = f"the topic {missing[0]} does not exist there; `scores topics create` makes it"
        except KafkaException as error:
            problem = str(error.args[0].str())
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"no answer from Kafka at {kafka} within {budget_seconds:g} s ({problem}); "
                "is it running, and is SCORES_KAFKA right?"
            )
        time.sleep(0.5)


def _topic_id(admin: AdminClient, topic: str) -> str:
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=2.0)
        return str(described[topic].result(timeout=3.0).topic_id)
    except (KafkaException, TimeoutError):
        return "-"  # the embedded broker cannot say; its cluster id is new at every start


def read_organizations(kafka: str) -> Callable[[Mapping[int, int]], dict[int, list[StoredRecord]]]:
    """A function that reads the organizations topic from given offsets to its end, in no consumer group.

    Raises (when called):
        DependencyUnavailable: Kafka did not answer in time.
    """

    def read(positions: Mapping[int, int]) -> dict[int, list[StoredRecord]]:
        consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "score-streams-directory",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        try:
            partitions = consumer.list_topics(ORGANIZATIONS, _ANSWER_SECONDS).topics[ORGANIZATIONS].partitions
            found: dict[int, list[StoredRecord]] = {number: [] for number in partitions}
            consumer.assign(
                [TopicPartition(ORGANIZATIONS, n, positions.get(n, OFFSET_BEGINNING)) for n in partitions]
            )
            _read_to_end(consumer, found)
            return found
        except KafkaException as error:
            raise DependencyUnavailable(f"Kafka at {kafka} did not answer: {error.args[0].str()}") from error
        finally:
            consumer.close()

    return read


def _read_to_end(consumer: Consumer, found: dict[int, list[StoredRecord]]) -> None:
    open_ends = set(found)
    deadline = time.monotonic() + _READ_SECONDS
    while open_ends:
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"the topic {ORGANIZATIONS} could not be read within {_READ_SECONDS:g} s"
            )
        for message in consumer.consume(1_000, 0.2):
            error, partition = message.error(), message.partition()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                open_ends.discard(partition or 0)
            elif error is not None:
                raise KafkaException(error)
            elif partition is not None and (offset := message.offset()) is not None:
                found[partition].append(
                    StoredRecord(message.key(), message.value(), offset, message.timestamp()[1])
                )
