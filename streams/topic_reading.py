"""Reads a whole topic once, from given offsets to where it ends now, in no consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import DependencyUnavailable, InvalidInput

_ANSWER_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 30.0  # without a single record, while there should be some
_AT_ONCE: Final = 1_000
_FROM_THE_BEGINNING: Final[Mapping[int, int]] = MappingProxyType({})


class StoredRecord(NamedTuple):
    """One record of a topic."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int  # milliseconds since 1970
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def read_topic(
    kafka: str,
    topic: str,
    starts: Mapping[int, int] = _FROM_THE_BEGINNING,
    *,
    partitions: Collection[int] | None = None,
    on_start: Callable[[int], None] = lambda records: None,
) -> Generator[StoredRecord, None, None]:
    """Every record from the given offsets (else the beginning) up to the end that the topic has when reading begins.

    Records come in the order of each partition; ``partitions`` restricts reading to some of them. ``on_start`` is told
    how many records there are at most.

    Raises:
        InvalidInput: the topic does not exist.
        DependencyUnavailable: Kafka did not answer in time.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "score-readers",  # librdkafka wants a name; it joins nothing and commits nothing
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    try:
        ends = _ends(consumer, kafka, topic, starts, partitions)
        on_start(sum(end - start for start, end in ends.values()))
        consumer.assign([TopicPartition(topic, number, start) for number, (start, _) in ends.items()])
        yield from _read(consumer, topic, {number: end for number, (_, end) in ends.items()})
    except KafkaException as error:
        raise DependencyUnavailable(
            f"Kafka at {kafka} did not answer ({error.args[0].str()}); is it running, and is the address right?"
        ) from error
    finally:
        consumer.close()


def _ends(
    consumer: Consumer,
    kafka: str,
    topic: str,
    starts: Mapping[int, int],
    partitions: Collection[int] | None,
) -> dict[int, tuple[int, int]]:
    """Where reading starts and ends, of each partition that has something to read."""
    # Without a name: asking for a topic by name may create it.
    found = consumer.list_topics(timeout=_ANSWER_SECONDS).topics.get(topic)
    if found is None:
        raise InvalidInput(
            f"Kafka at {kafka} has no topic {topic}; make it with `scores topics create --kafka {kafka}`"
        )
    ends: dict[int, tuple[int, int]] = {}
    for number in found.partitions if partitions is None else partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_SECONDS)
        start = max(low, starts.get(number, low))
        if start < high:
            ends[number] = (start, high)
    return ends


def _read(consumer: Consumer, topic: str, ends: dict[int, int]) -> Iterator[StoredRecord]:
    heard = time.monotonic()
    while ends:
        messages = consumer.consume(_AT_ONCE, 0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > _QUIET_SECONDS:
            raise DependencyUnavailable(
                f"nothing came of the topic {topic} for {_QUIET_SECONDS:g} s, though it has more; is Kafka well?"
            )
        for message in messages:
            error, partition = message.error(), message.partition() or 0
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                ends.pop(partition, None)  # what was left of it are no records: markers of transactions
                continue
            if error is not None:
                raise KafkaException(error)
            end, offset = ends.get(partition), message.offset() or 0
            if end is None:
                continue  # written after reading began
            if offset + 1 >= end:
                del ends[partition]
            if offset < end:
                yield StoredRecord(
                    message.key(),
                    message.value(),
                    offset,
                    message.timestamp()[1],
                    partition,
                    _headers(message),
                )


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    headers = message.headers() or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, value if isinstance(value, bytes) else b"") for name, value in pairs)
