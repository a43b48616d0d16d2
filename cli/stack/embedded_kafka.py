"""A Kafka-protocol broker inside this process: librdkafka's mock cluster, for trying out and for tests.

Real TCP on 127.0.0.1, so every client works, and every process on this machine. It has threads of its own and no
Python in its way. What it lacks: disk, compaction, admin requests (topics are made here, before a client connects),
time-based offsets, transactions that hide aborted records, and the cooperative-sticky assignor. A member of a classic
group that joins again waits out its session timeout, so keep that at 2-6 s.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

from cli.stack import mock_library
from cli.stack.child import ServerFailed
from schemas.errors import InvalidInput

EVERY_BROKER: Final = -1

_PRODUCER: Final = 0  # rd_kafka_type_t; the cluster needs an instance of either type to live in
_MESSAGE_SIZE: Final = 512
_GENERATED_ID_PREFIX: Final = b"mockCluster"
_METADATA_SECONDS: Final = 10.0


class Request(IntEnum):
    """Kinds of requests that can be made to fail, by their number in the Kafka protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


class EmbeddedKafka:
    """A broker that runs inside ``with``, or from ``start`` to ``close``; it may be started again, empty.

    Its port cannot be chosen: librdkafka always lets the kernel pick one.

    Args:
        topics: name to number of partitions. Any other topic that a client names appears with 4.
        brokers: how many; each listens on a port of its own.
    """

    limits = (
        "keeps nothing on disk; holds at most 5 MiB or 100,000 messages a partition, then drops the oldest; "
        "compacts nothing"
    )

    def __init__(self, topics: Mapping[str, int], *, brokers: int = 1) -> None:
        if brokers < 1:
            raise InvalidInput(f"An embedded Kafka of {brokers} brokers cannot be; expected 1 or more.")
        for topic, partitions in topics.items():
            _require_partitions(topic, partitions)
        self._topics = dict(topics)
        self._brokers = brokers
        self._library = mock_library.load()
        self._instance: int | None = None
        self._cluster: int | None = None
        self._bootstrap_servers = ""
        self._cluster_id = ""

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``, one per broker, separated by commas."""
        self._running()
        return self._bootstrap_servers

    @property
    def cluster_id(self) -> str:
        """New at every start, as the log is: positions stored under another id mean nothing here."""
        self._running()
        return self._cluster_id

    @property
    def running(self) -> bool:
        return self._cluster is not None

    def start(self) -> Self:
        """Start the brokers and create the topics.

        Raises:
            InvalidInput: it runs already, or this librdkafka lacks a function that is needed.
            ServerFailed: librdkafka could not start it, or it does not answer as configured.
        """
        if self.running:
            raise InvalidInput(f"The embedded Kafka is running already, at {self._bootstrap_servers}.")
        try:
            self._instance = self._new_instance()
            self._cluster = self._library.call("rd_kafka_mock_cluster_new", self._instance, self._brokers)
            if not self._cluster:
                raise ServerFailed("librdkafka could not start its mock cluster; see its message above.")
            expected_id = self._renew_cluster_id(self._cluster)
            # A group's first members would otherwise wait 3 s for others to join them.
            self._library.call("rd_kafka_mock_group_initial_rebalance_delay_ms", self._cluster, 0)
            for topic, partitions in self._topics.items():
                self.create_topic(topic, partitions)
            bootstraps: bytes = self._library.call("rd_kafka_mock_cluster_bootstraps", self._cluster)
            self._bootstrap_servers = bootstraps.decode()
            self._cluster_id = self._verify(expected_id)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop the brokers; their threads and sockets are gone on return. Closing twice is fine."""
        cluster, self._cluster = self._cluster, None
        instance, self._instance = self._instance, None
        if cluster:
            self._library.call("rd_kafka_mock_cluster_destroy", cluster)
        if instance:
            self._library.call("rd_kafka_destroy", instance)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create one more topic, replicated to every broker (three at most)."""
        _require_partitions(topic, partitions)
        replicas = min(3, self._brokers)
        self._library.check(
            "rd_kafka_mock_topic_create", self._running(), topic.encode(), partitions, replicas
        )

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with all that it holds; creating it again starts another log under the same name."""
        self._library.check("rd_kafka_mock_topic_delete", self._running(), topic.encode())

    def push_request_errors(self, request: Request, codes: Sequence[int]) -> None:
        """Let the next requests of this kind fail, one per code of ``confluent_kafka.KafkaError``.

        ``KafkaError._TRANSPORT`` cuts the connection instead; 0 lets one request pass.
        """
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.call(
            "rd_kafka_mock_push_request_errors_array", self._running(), request, len(codes), array
        )

    def clear_request_errors(self, request: Request) -> None:
        """Forget the errors that no request has met yet."""
        self._library.call("rd_kafka_mock_clear_request_errors", self._running(), request)

    def set_broker_down(self, broker: int = EVERY_BROKER) -> None:
        """Cut the broker's connections and refuse new ones; it remains leader of its partitions."""
        self._library.check("rd_kafka_mock_broker_set_down", self._running(), broker)

    def set_broker_up(self, broker: int = EVERY_BROKER) -> None:
        """Accept connections again, on the same port and with the same log."""
        self._library.check("rd_kafka_mock_broker_set_up", self._running(), broker)

    def set_rtt_ms(self, milliseconds: int, broker: int = EVERY_BROKER) -> None:
        """Delay every answer; 0 ends the delay."""
        self._library.check("rd_kafka_mock_broker_set_rtt", self._running(), broker, milliseconds)

    def set_coordinator(self, group: str, broker: int) -> None:
        """Move a consumer group to another coordinator."""
        self._library.check(
            "rd_kafka_mock_coordinator_set", self._running(), b"group", group.encode(), broker
        )

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Move a partition to another leader; -1 leaves it without one."""
        self._library.check(
            "rd_kafka_mock_partition_set_leader", self._running(), topic.encode(), partition, broker
        )

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the records below the offset ``before``, as retention does to a reader who was away too long."""
        self._library.check(
            "rd_kafka_mock_partition_delete_records", self._running(), topic.encode(), partition, before
        )

    def _running(self) -> int:
        if not self._cluster:
            raise InvalidInput("The embedded Kafka is not running; start it first.")
        return self._cluster

    def _new_instance(self) -> int:
        message = ctypes.create_string_buffer(_MESSAGE_SIZE)
        configuration = self._library.call("rd_kafka_conf_new")
        # Errors only: at its default it warns that this instance, which is no client, has no broker to connect to.
        self._library.call("rd_kafka_conf_set", configuration, b"log_level", b"3", message, _MESSAGE_SIZE)
        instance: int | None = self._library.call(
            "rd_kafka_new", _PRODUCER, configuration, message, _MESSAGE_SIZE
        )
        if not instance:
            raise ServerFailed(f"librdkafka could not be started: {message.value.decode(errors='replace')}")
        return instance

    def _renew_cluster_id(self, cluster: int) -> str:
        """Overwrite the generated cluster id by a random one of the same length, and return it.

        librdkafka makes the id from two heap addresses. Within one process the allocator returns the same two after
        a restart, so a new, empty log would pass for the old one. The id is the first field of the cluster's
        struct; we touch it only where we recognize it, before any client knows the port.
        """
        generated = ctypes.string_at(cluster, len(_GENERATED_ID_PREFIX))
        if generated != _GENERATED_ID_PREFIX:
            raise ServerFailed(
                "This librdkafka keeps the mock cluster's id elsewhere, so restarts could not be told apart; "
                "install the locked version of confluent-kafka (requirements/)."
            )
        length = len(ctypes.string_at(cluster))
        renewed = secrets.token_hex(length)[:length]
        ctypes.memmove(cluster, renewed.encode(), length)
        return renewed

    def _verify(self, expected_id: str) -> str:
        """Ask as a client would, and return the cluster id that clients see."""
        client = Producer({"bootstrap.servers": self._bootstrap_servers, "log_level": 3})
        try:
            metadata = client.list_topics(timeout=_METADATA_SECONDS)
        except KafkaException as error:
            raise ServerFailed(
                f"The embedded Kafka at {self._bootstrap_servers} does not answer: {error}"
            ) from error
        finally:
            client.close()
        created = {name: len(topic.partitions) for name, topic in metadata.topics.items()}
        if metadata.cluster_id != expected_id or created != self._topics:
            raise ServerFailed(
                f"The embedded Kafka answers as {metadata.cluster_id} with topics {created}; "
                f"expected {expected_id} with {self._topics}."
            )
        return expected_id


def _require_partitions(topic: str, partitions: int) -> None:
    if partitions < 1:
        raise InvalidInput(f"Topic '{topic}' with {partitions} partitions cannot be; expected 1 or more.")
