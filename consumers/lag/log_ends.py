"""Where logs begin and end, and which logs they are: asked for many partitions at once, over a connection in no group."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from consumers.lag.samples import LogPartition

ANSWER_SECONDS: Final = 3.0
UNNAMED: Final = "-"


class TopicFacts(NamedTuple):
    """A topic as it is now."""

    cluster: str
    identity: (
        str  # of this topic, another one after it was deleted and made again; "-" where the broker cannot say
    )
    partitions: int


class Range(NamedTuple):
    """What is left of one partition's log: its oldest offset, and the one that is written next."""

    start: int
    end: int


class LogEnds:
    """Asks one cluster. Blocking; for one thread."""

    def __init__(self, kafka: str) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": kafka,
            "reconnect.backoff.max.ms": 1_000,
            "socket.timeout.ms": 10_000,  # a broker that accepts and is silent is away, too
            "log_level": 0,
        }
        self._asker = Consumer(
            {
                **settings,
                "group.id": "score-lag",  # the library demands a name; nothing is joined or committed
                "enable.auto.commit": False,
                # The end for whoever reads everything: a reader is not to be taken for one of another log because it is
                # ahead of a transaction that is still open.
                "isolation.level": "read_uncommitted",
            }
        )
        self._admin = AdminClient(settings)

    def topics(self, names: Collection[str], *, named: bool = True) -> dict[str, TopicFacts]:
        """What stands behind each of these names; those that are not there are left out.

        Args:
            named: whether the broker can say which topic it is; the embedded one cannot. Its cluster is new at every start.

        Raises:
            KafkaException, TimeoutError: no answer.
        """
        if named:
            return self._described(names)
        metadata = self._admin.list_topics(timeout=ANSWER_SECONDS)
        counts = {name: len(topic.partitions) for name, topic in metadata.topics.items()}
        return {
            name: TopicFacts(metadata.cluster_id or UNNAMED, UNNAMED, counts[name])
            for name in names
            if counts.get(name)
        }

    def ranges(self, partitions: Collection[LogPartition]) -> dict[LogPartition, Range]:
        """Where each of these logs begins and ends; those that are not there, or have no leader now, are left out.

        Raises:
            KafkaException: no answer.
        """
        if not partitions:
            return {}
        # In this order, or the start of a log that is being deleted could lie behind its end.
        starts = self._offsets(partitions, OFFSET_BEGINNING)
        ends = self._offsets(partitions, OFFSET_END)
        return {key: Range(starts[key], end) for key, end in ends.items() if key in starts}

    def close(self) -> None:
        """Disconnect."""
        self._asker.close()

    def _offsets(self, partitions: Iterable[LogPartition], which: int) -> dict[LogPartition, int]:
        self._asker.poll(0)  # hands out what connections have to say
        asked = [TopicPartition(topic, number, which) for topic, number in partitions]
        found: dict[LogPartition, int] = {}
        failed: KafkaError | None = None
        for answer in self._asker.offsets_for_times(asked, timeout=ANSWER_SECONDS):
            if answer.error is not None:
                failed = answer.error
            elif answer.offset >= 0:
                found[answer.topic, answer.partition] = answer.offset
        if failed is not None and not found and failed.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(failed)
        return found

    def _described(self, names: Collection[str]) -> dict[str, TopicFacts]:
        asked = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=ANSWER_SECONDS)
        cluster = self._admin.describe_cluster(request_timeout=ANSWER_SECONDS).result(timeout=ANSWER_SECONDS)
        found: dict[str, TopicFacts] = {}
        for name, answer in asked.items():
            try:
                topic = answer.result(timeout=ANSWER_SECONDS)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise
            found[name] = TopicFacts(
                cluster.cluster_id or UNNAMED, str(topic.topic_id), len(topic.partitions)
            )
        return found
