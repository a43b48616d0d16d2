"""``scores topics create``: the topics of a deployment, made once, with the partitions and settings they need."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import (
    ConfigResource,
)  # the package re-exports it, but not for type checkers
from confluent_kafka.cimpl import NewTopic

from cli.stack.ready_partitions import wait_for_partitions
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.topics import Topic, topics

_ANSWER_SECONDS: Final = 30.0  # a cluster that has just been started elects its leaders first
_FIRST_ANSWER_SECONDS: Final = 10.0  # somebody waits at a terminal
_CLEANUP: Final = "cleanup.policy"
_AS_THE_CLUSTER_SAYS: Final = -1  # copies: default.replication.factor of the cluster
_REFUSED: Final = (
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)


def create_topics(kafka: str, partitions: int) -> int:
    """Create the topics that do not exist yet, and check those that do; a second call changes nothing.

    Topics that exist keep their retention: a deployment may choose its own. Their number of partitions and their
    cleanup policy must be ours.

    Args:
        kafka: ``host:port``, several separated by commas.
        partitions: of the results topic, and of all that is partitioned like it.

    Returns:
        The exit status, 0.

    Raises:
        InvalidInput: a topic exists and differs, or the cluster refuses one.
        DependencyUnavailable: the cluster does not answer.
    """
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    existing = _existing(admin, kafka, _ANSWER_SECONDS)
    wanted = topics(partitions)
    for topic in wanted:
        if topic.name in existing:
            _check_partitions(topic, existing[topic.name])
    _check_cleanup(admin, kafka, [topic for topic in wanted if topic.name in existing])
    missing = [topic for topic in wanted if topic.name not in existing]
    _create(admin, kafka, missing)
    for topic in wanted:
        done = "created" if topic in missing else "exists"
        print(f"{topic.name}: {done}, {topic.partitions} partitions")
    return 0


def require_topics(kafka: str) -> None:
    """Check that a cluster is there and has our topics.

    Raises:
        InvalidInput: a topic is missing.
        DependencyUnavailable: the cluster does not answer.
    """
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    existing = _existing(admin, kafka, _FIRST_ANSWER_SECONDS)
    if missing := [topic.name for topic in topics(1) if topic.name not in existing]:
        raise InvalidInput(
            f"Kafka at {kafka} has no topic {', '.join(missing)}; make them with `scores topics create --kafka {kafka}`"
        )


def _existing(admin: AdminClient, kafka: str, seconds: float) -> dict[str, int]:
    try:
        metadata = admin.list_topics(timeout=seconds)
    except KafkaException as failure:
        raise DependencyUnavailable(
            f"no answer from Kafka at {kafka} within {seconds:g} s ({failure.args[0].str()}); "
            "is it running, and is the address right?"
        ) from failure
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def _check_partitions(topic: Topic, found: int) -> None:
    if found != topic.partitions:
        raise InvalidInput(
            f"topic '{topic.name}' has {found} partitions, and {topic.partitions} are wanted. Another number sends "
            "students elsewhere: give the number it has, or rebuild into new topics; nothing was created"
        )


def _check_cleanup(admin: AdminClient, kafka: str, present: list[Topic]) -> None:
    if not present:
        return
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in present]
    described = admin.describe_configs(resources, request_timeout=_ANSWER_SECONDS)
    for topic, resource in zip(present, resources, strict=True):
        try:
            found = described[resource].result()[_CLEANUP].value
        except KafkaException as failure:
            raise _refusal(kafka, topic, failure) from failure
        if found != topic.config[_CLEANUP]:
            raise InvalidInput(
                f"topic '{topic.name}' has {_CLEANUP}={found}; expected {topic.config[_CLEANUP]}, or events are lost. "
                "Set it with kafka-configs; nothing was created"
            )


def _create(admin: AdminClient, kafka: str, missing: list[Topic]) -> None:
    if not missing:
        return
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=_AS_THE_CLUSTER_SAYS,
            config=topic.config,
        )
        for topic in missing
    ]
    pending = admin.create_topics(new, operation_timeout=_ANSWER_SECONDS)
    for topic in missing:
        try:
            pending[topic.name].result()
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if (
                error.code() != KafkaError.TOPIC_ALREADY_EXISTS
            ):  # else another process was quicker, with the same
                raise _refusal(kafka, topic, failure) from failure
    wait_for_partitions(kafka, {topic.name: topic.partitions for topic in missing}, _ANSWER_SECONDS)


def _refusal(kafka: str, topic: Topic, failure: KafkaException) -> InvalidInput | DependencyUnavailable:
    error: KafkaError = failure.args[0]
    if error.code() in _REFUSED:
        return InvalidInput(f"Kafka at {kafka} refuses the topic '{topic.name}': {error.str()}")
    return DependencyUnavailable(f"Kafka at {kafka} did not create the topic '{topic.name}': {error.str()}")
