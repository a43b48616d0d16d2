"""The relay's way into Kafka: some records at a time, all acknowledged or none.

Guarantee: when ``publish`` returns, every in-sync replica has all of its records; when it raises, readers see all of them or
none. Each call is a transaction, and its name belongs to whoever began last: a relay that slept while another took over
cannot put an old cell behind a newer one, which in a compacted topic would be there to stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from schemas.errors import DependencyUnavailable, Fenced
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES
from streams.log import TopicFacts, ask_for_topics
from streams.relay.records import Outgoing

TOPICS: Final = (AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES)

_NAME: Final = "score-relay"  # of the transactions; a cluster that asks who may write must allow this one
_ANSWER_SECONDS: Final = 10.0
_FULL_QUEUE_SECONDS: Final = 0.1
_FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
)

Answer = TypeVar("Answer")


class Publisher(Protocol):
    """What the relay needs of Kafka."""

    async def begin(self) -> Mapping[str, TopicFacts]:
        """Become the one who publishes; returns what stands behind each topic."""
        ...

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when all are acknowledged."""
        ...


class TransactionalPublisher:
    """Publishes from a thread of its own; use it from one task."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._producer: Producer | None = None
        self._partitions: dict[str, int] = {}
        # One: calls follow each other, also when whoever waits for one was cancelled.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay-kafka")

    async def begin(self) -> Mapping[str, TopicFacts]:
        """Become the one who publishes; whoever was it before is fenced.

        Raises:
            DependencyUnavailable: Kafka did not answer.
            NoTopic: one of the topics does not exist.
        """
        return await self._call(self._begin)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when every record is acknowledged.

        Raises:
            Fenced: another relay publishes now; readers see nothing of these.
            DependencyUnavailable: Kafka did not answer in time. ``begin`` anew before the next; these may be there.
        """
        await self._call(lambda: self._publish(records))

    async def close(self) -> None:
        """Give up what is under way, and end."""
        await self._call(self._drop)
        self._thread.shutdown(wait=False)

    def _begin(self) -> Mapping[str, TopicFacts]:
        self._drop()
        try:
            admin = AdminClient({"bootstrap.servers": self._kafka, "log_level": 0})
            found = ask_for_topics(admin, TOPICS, _ANSWER_SECONDS)
            producer = Producer(
                {
                    "bootstrap.servers": self._kafka,
                    "client.id": "scores-relay",
                    "transactional.id": _NAME,  # implies an idempotent producer, and acknowledgement by all
                    "transaction.timeout.ms": 60_000,
                    "delivery.timeout.ms": int(_ANSWER_SECONDS * 1000),
                    "linger.ms": 5,
                    "compression.type": "lz4",
                    "reconnect.backoff.max.ms": 1000,
                    "log_level": 0,  # whatever matters is raised
                }
            )
            producer.init_transactions(_ANSWER_SECONDS)
        except KafkaException as error:
            raise self._away(error) from None
        self._producer = producer
        self._partitions = {name: facts.partitions for name, facts in found.items()}
        return found

    def _publish(self, records: Sequence[Outgoing]) -> None:
        producer = self._producer
        if producer is None:
            raise DependencyUnavailable(f"nothing was begun with Kafka at {self._kafka}")
        try:
            producer.begin_transaction()
            for record in records:
                self._hand_over(producer, record)
            producer.commit_transaction(_ANSWER_SECONDS)
        except KafkaException as error:
            # Whether a commit came through is not known. The next ``begin`` ends it, one way or the other.
            self._drop()
            if error.args[0].code() in _FENCED:
                raise Fenced(f"another relay publishes to Kafka at {self._kafka} now") from None
            raise self._away(error) from None

    def _hand_over(self, producer: Producer, record: Outgoing) -> None:
        while True:
            try:
                producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    partition=record.partition(self._partitions),
                )
            except BufferError:  # the queue is full; what is acknowledged leaves it
                producer.poll(_FULL_QUEUE_SECONDS)
            else:
                return

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def _away(self, error: KafkaException) -> DependencyUnavailable:
        return DependencyUnavailable(
            f"Kafka at {self._kafka} did not take the relay's records: {error.args[0].str()}; is it running, and may "
            f"transaction {_NAME} be used?"
        )

    async def _call(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
