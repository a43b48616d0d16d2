"""What stands behind the topics when a worker starts: which log it is, how many partitions, and the small tables so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.topics import CLOSINGS, EXAM_RESULTS, ORGANIZATIONS, RELEASES
from streams.topic_reading import StoredRecord, read_topic

_ANSWER_SECONDS = 5.0
_UNNAMED = "-"
_READ = (EXAM_RESULTS, ORGANIZATIONS, RELEASES)


class NoTopic(ScoreStreamError):
    """One of our topics does not exist."""


@dataclass(frozen=True, slots=True)
class Log:
    """The log that a worker reads.

    Each identity is cluster id and topic id: offsets of a topic that was deleted and created again mean something else.
    """

    identity: str
    directory_identity: str
    releases_identity: str
    partitions: int

    @property
    def named(self) -> bool:
        """Whether the broker could say which topic it is; the embedded one cannot."""
        return not self.identity.endswith(f"/{_UNNAMED}")


def describe_log(kafka: str, budget_seconds: float) -> Log:
    """Ask Kafka, again and again within the budget.

    Raises:
        DependencyUnavailable: Kafka did not answer, or a topic does not exist, within the budget.
    """
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    deadline = time.monotonic() + budget_seconds
    while True:
        try:
            return ask_for_log(admin, _ANSWER_SECONDS)
        except NoTopic as error:
            problem = str(error)
        except KafkaException as error:
            problem = str(error.args[0].str())
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"no answer from Kafka at {kafka} within {budget_seconds:g} s (SCORES_DEPENDENCY_BUDGET_SECONDS; {problem}); "
                "is it running, and is SCORES_KAFKA right?"
            )
        time.sleep(0.5)


def ask_for_log(admin: AdminClient, answer_seconds: float) -> Log:
    """What stands behind the topics.

    Raises:
        KafkaException: no answer.
        NoTopic: a topic does not exist.
    """
    found = ask_for_topics(admin, (*_READ, CLOSINGS), answer_seconds)
    results, directory, releases = (found[name] for name in _READ)
    return Log(results.identity, directory.identity, releases.identity, results.partitions)


class TopicFacts(NamedTuple):
    """A topic as it is now."""

    identity: str  # cluster id and topic id
    partitions: int


def ask_for_topics(admin: AdminClient, names: Iterable[str], answer_seconds: float) -> dict[str, TopicFacts]:
    """What stands behind some topics, by name.

    Raises:
        KafkaException: no answer.
        NoTopic: a topic does not exist.
    """
    metadata = admin.list_topics(timeout=answer_seconds)
    partitions: dict[str, int] = {}
    for name in names:
        if name not in metadata.topics or not metadata.topics[name].partitions:
            raise _no_topic(name)
        partitions[name] = len(metadata.topics[name].partitions)
    try:
        topic_ids = {name: str(_described(admin, name).topic_id) for name in partitions}
    except (KafkaException, TimeoutError):
        # The embedded broker cannot say; its cluster id is new at every start.
        topic_ids = dict.fromkeys(partitions, _UNNAMED)
    cluster = metadata.cluster_id or _UNNAMED
    return {name: TopicFacts(f"{cluster}/{topic_ids[name]}", count) for name, count in partitions.items()}


def ask_for_results(admin: AdminClient, answer_seconds: float, known: Log) -> tuple[str, int]:
    """Identity and number of partitions of the results topic as they are now, in one question.

    Args:
        known: what ``ask_for_log`` said; a broker that could not name its topics is not asked for their names again.

    Raises:
        KafkaException, TimeoutError: no answer.
        NoTopic: it does not exist.
    """
    if not known.named:
        metadata = admin.list_topics(timeout=answer_seconds)
        if EXAM_RESULTS not in metadata.topics or not metadata.topics[EXAM_RESULTS].partitions:
            raise _no_topic(EXAM_RESULTS)
        return f"{metadata.cluster_id or _UNNAMED}/{_UNNAMED}", len(metadata.topics[EXAM_RESULTS].partitions)
    try:
        described = _described(admin, EXAM_RESULTS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise _no_topic(EXAM_RESULTS) from error
        raise
    cluster, _, _ = known.identity.partition("/")  # the first: topic ids may have one, too
    return f"{cluster}/{described.topic_id}", len(described.partitions)


def _described(admin: AdminClient, topic: str) -> Any:
    return admin.describe_topics(TopicCollection([topic]), request_timeout=2.0)[topic].result(timeout=3.0)


def _no_topic(name: str) -> NoTopic:
    return NoTopic(f"the topic {name} does not exist there; `scores topics create` makes it")


def whole_topic(kafka: str, topic: str) -> Callable[[Mapping[int, int]], dict[int, list[StoredRecord]]]:
    """A function that reads a topic from given offsets to its end, in no consumer group.

    Raises (when called):
        InvalidInput: there is no such topic.
        DependencyUnavailable: Kafka did not answer in time.
    """

    def read(positions: Mapping[int, int]) -> dict[int, list[StoredRecord]]:
        found: dict[int, list[StoredRecord]] = {}
        for record in read_topic(kafka, topic, positions):
            found.setdefault(record.partition, []).append(record)
        return found

    return read
