"""What stands behind the topics when a worker starts: which log it is, how many partitions, how long the directory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import DependencyUnavailable
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Log:
    """The log that a worker reads.

    Both identities are cluster id and topic id: offsets of a topic that was deleted and created again mean something else.
    """

    identity: str
    directory_identity: str
    partitions: int
    organization_ends: Mapping[int, int]


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
                ends = _ends(kafka, metadata.topics[ORGANIZATIONS].partitions)
                return Log(results, directory, len(metadata.topics[EXAM_RESULTS].partitions), ends)
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


def _ends(kafka: str, numbers: Iterable[int]) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "score-streams-start", "log_level": 0})
    try:
        return {
            number: end
            for number in numbers
            for _, end in [
                consumer.get_watermark_offsets(TopicPartition(ORGANIZATIONS, number), _ANSWER_SECONDS)
            ]
            if end > 0
        }
    finally:
        consumer.close()
