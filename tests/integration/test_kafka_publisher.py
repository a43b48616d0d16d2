"""The gateway's producer against a broker: acknowledged means stored, and trouble is told within the budget."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaError, TopicPartition
from fake_imports import student_key

from cli.stack.embedded_kafka import EmbeddedKafka, Request
from gateway.kafka import KafkaPublisher
from schemas.errors import DependencyUnavailable
from schemas.process.outgoing import OutgoingRecord

TOPIC = "results"
PARTITIONS = 4
BUDGET_SECONDS = 1.0  # of those that run out of it
# librdkafka looks for overdue records once a second, and the machine may be busy; left alone, it tries for five minutes.
LATE_SECONDS = 20.0


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({TOPIC: PARTITIONS}) as broker:
        yield broker


@pytest.fixture
async def publisher(kafka: EmbeddedKafka) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher(kafka.bootstrap_servers, produce_seconds=30.0)
    publisher.start()
    yield publisher
    publisher.close(0.1)


@pytest.fixture
async def impatient(kafka: EmbeddedKafka) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher(kafka.bootstrap_servers, produce_seconds=BUDGET_SECONDS)
    publisher.start()
    yield publisher
    publisher.close(0.1)


def records(number: int) -> list[OutgoingRecord]:
    return [OutgoingRecord(TOPIC, f"{n}".encode(), b"a result") for n in range(number)]


def stored(kafka: EmbeddedKafka) -> dict[int, int]:
    """How many records each partition has."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "test"})
    try:
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), 10)[1]
            for partition in range(PARTITIONS)
        }
    finally:
        consumer.close()


@pytest.mark.anyio
async def test_when_publish_returns_every_record_is_stored(
    kafka: EmbeddedKafka, publisher: KafkaPublisher
) -> None:
    await publisher.publish(records(1_000))

    assert sum(stored(kafka).values()) == 1_000


@pytest.mark.anyio
async def test_keys_are_spread_as_the_workers_clients_do(
    kafka: EmbeddedKafka, publisher: KafkaPublisher
) -> None:
    """Murmur2, as Java and aiokafka: without it, topics with two kinds of producers are not co-partitioned."""
    keys = [student_key(f"90000{number:05d}").encode() for number in range(200)]
    await publisher.publish([OutgoingRecord(TOPIC, key, b"a result") for key in keys])

    assert stored(kafka) == Counter((murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in keys)


@pytest.mark.anyio
async def test_more_records_than_the_queue_holds_wait_for_their_turn(
    kafka: EmbeddedKafka, publisher: KafkaPublisher
) -> None:
    await publisher.publish(records(110_000))  # the queue holds 100,000

    assert sum(stored(kafka).values()) == 110_000


@pytest.mark.anyio
async def test_an_absent_broker_is_told_within_the_budget_and_its_return_is_noticed(
    kafka: EmbeddedKafka, impatient: KafkaPublisher
) -> None:
    kafka.set_broker_down()
    started = time.monotonic()
    with pytest.raises(
        DependencyUnavailable, match=f"did not acknowledge all of 10 records within {BUDGET_SECONDS:g} s"
    ):
        await impatient.publish(records(10))
    assert time.monotonic() - started < BUDGET_SECONDS + LATE_SECONDS

    kafka.set_broker_up()
    await published_at_last(impatient)


@pytest.mark.anyio
async def test_a_broker_that_hangs_is_told_within_the_budget(
    kafka: EmbeddedKafka, impatient: KafkaPublisher
) -> None:
    await published_at_last(impatient)
    kafka.set_rtt_ms(60_000)
    started = time.monotonic()
    with pytest.raises(DependencyUnavailable):
        await impatient.publish(records(10))

    assert time.monotonic() - started < BUDGET_SECONDS + LATE_SECONDS


@pytest.mark.anyio
async def test_transient_refusals_of_the_broker_are_nothing_to_the_caller(
    kafka: EmbeddedKafka, publisher: KafkaPublisher
) -> None:
    kafka.push_request_errors(
        Request.PRODUCE, [KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_LEADER_FOR_PARTITION]
    )
    await publisher.publish(records(10))

    assert sum(stored(kafka).values()) == 10


@pytest.mark.anyio
async def test_after_a_fatal_error_a_new_producer_goes_on(
    kafka: EmbeddedKafka, publisher: KafkaPublisher
) -> None:
    await publisher.publish(records(10))
    kafka.push_request_errors(Request.PRODUCE, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 2)
    with pytest.raises(DependencyUnavailable):
        await publisher.publish(records(10))
    kafka.clear_request_errors(Request.PRODUCE)

    await published_at_last(publisher)


@pytest.mark.anyio
async def test_closing_delivers_what_waits_or_says_how_many_records_are_lost(
    kafka: EmbeddedKafka, publisher: KafkaPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    await publisher.publish(records(1))
    kafka.set_broker_down()
    waiting = asyncio.create_task(publisher.publish(records(10)))
    await asyncio.sleep(0)  # handed over, not delivered

    assert await asyncio.to_thread(publisher.close, 0.1) == 10
    assert "records=10" in caplog.text
    waiting.cancel()
    with pytest.raises(DependencyUnavailable, match="not started"):
        await publisher.publish(records(1))


async def published_at_last(publisher: KafkaPublisher) -> None:
    """Publish again until it succeeds; each attempt takes up to the budget."""
    for attempt in range(20):
        try:
            await publisher.publish(records(10))
        except DependencyUnavailable:
            assert attempt < 19, "the producer never recovered"
        else:
            return
