"""Lag where only Apache Kafka can tell: gaps in the log, retention, topics made anew, and other people's consumer groups."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis as redis_client
import stack
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from lag_stand import Stand, Written, group, streams

from cli.stack.local_kafka import LocalKafka
from consumers.lag.sampling import Sampler
from consumers.webhooks.connection import connect
from schemas.topics import EXAM_RESULTS, topics

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("time_for_records")]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    wanted = {topic.name: (1, topic.config) for topic in topics(1)}
    wanted["compacted"] = (
        1,
        {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"},
    )
    folder = tmp_path_factory.mktemp("kafka")
    properties = {"log.cleaner.backoff.ms": "200"}  # instead of 15 seconds
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"not run: real Kafka needs {program} on the PATH")
    with LocalKafka(folder, topics=wanted, jars=stack.JARS, properties=properties) as local:
        yield local.bootstrap_servers


@pytest.fixture
def stand(kafka: str) -> Iterator[Stand]:
    with stack.store("embedded") as server, redis_client.Redis.from_url(server.url) as redis:
        yield Stand(kafka, redis, named=True)


@pytest.fixture
async def sampler(kafka: str, stand: Stand) -> AsyncIterator[Sampler]:
    redis = connect(f"redis://127.0.0.1:{stand.redis.get_connection_kwargs()['port']}/0")
    made = Sampler(kafka, redis)
    yield made
    await made.close()
    await redis.aclose()


@pytest.fixture
def other(kafka: str, request: pytest.FixtureRequest) -> str:
    """A topic of somebody else."""
    name = f"other-{abs(hash(request.node.name))}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])[name].result(30)
    return name


def commit(kafka: str, name: str, topic: str, offset: int) -> None:
    """As a program does that is no member of its group."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": name})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def transaction(kafka: str, topic: str, count: int, *, abort: bool = False) -> Written:
    """Records that are seen together or not at all."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": "test-transactions", "log_level": 0})
    producer.init_transactions(30)
    began = time.time()
    producer.begin_transaction()
    for _ in range(count):
        producer.produce(topic, value=b"a record", partition=0)
    producer.flush(30)
    if abort:
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(30)
    return Written(began, time.time())


async def test_marker_behind_the_last_record_is_no_lag_for_ever(
    kafka: str, sampler: Sampler, other: str
) -> None:
    transaction(kafka, other, 3)
    commit(kafka, "reader", other, 3)  # the marker is at 3, and the end at 4
    for _ in range(2):
        one = group(await sampler.sample(), "reader", other).partitions[0]
        assert (one.position, one.end) == (3, 4)
        assert (one.lag_records, one.lag_seconds) == (0, 0.0)


async def test_aborted_records_are_passed_over_to_the_first_that_counts(
    kafka: str, sampler: Sampler, other: str
) -> None:
    transaction(kafka, other, 5, abort=True)
    commit(kafka, "reader", other, 0)
    one = group(await sampler.sample(), "reader", other).partitions[0]
    assert (one.lag_records, one.lag_seconds) == (0, 0.0)
    written = transaction(kafka, other, 1)
    snapshot = await sampler.sample()
    one = group(snapshot, "reader", other).partitions[0]
    assert written.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_compacted_record_at_the_position_is_no_reason_not_to_know_the_lag(
    kafka: str, stand: Stand, sampler: Sampler
) -> None:
    began = stand.write(200, "compacted", b"one key").began
    commit(kafka, "reader", "compacted", 1)

    def first_left() -> int:
        stand.write(1, "compacted", b"another key")  # rolls the segment that holds the rest
        consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test", "log_level": 0})
        consumer.assign([TopicPartition("compacted", 0, 1)])
        message = consumer.poll(30)
        consumer.close()
        assert message is not None and message.error() is None
        return message.offset() or 0

    stack.wait_for(lambda: first_left() > 100, "compaction has left a gap", 60)
    before = time.time()
    snapshot = await sampler.sample()
    one = group(snapshot, "reader", "compacted").partitions[0]
    assert one.position == 1 and one.lost_records == 0
    assert Written(began, before).is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_results_that_retention_deleted_unread_are_counted_as_lost(
    kafka: str, stand: Stand, sampler: Sampler
) -> None:
    position = stand.end()
    stand.write(4)
    later = stand.write(2)
    stand.stand_at(position)
    admin = AdminClient({"bootstrap.servers": kafka})
    before = TopicPartition(EXAM_RESULTS, 0, position + 4)
    admin.delete_records([before])[before].result(30)
    snapshot = await sampler.sample()
    one = streams(snapshot)
    assert (one.start, one.lost_records, one.lag_records) == (position + 4, 4, 2)
    assert later.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_topic_that_is_made_anew_has_none_of_the_offsets_from_before(
    kafka: str, stand: Stand, sampler: Sampler
) -> None:
    stand.write(4)
    stand.stand_at(2)
    assert streams(await sampler.sample()).lag_seconds is not None
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([EXAM_RESULTS])[EXAM_RESULTS].result(30)
    stack.wait_for(lambda: EXAM_RESULTS not in admin.list_topics(timeout=30).topics, "it is gone")
    admin.create_topics([NewTopic(EXAM_RESULTS, num_partitions=1, replication_factor=1)])[
        EXAM_RESULTS
    ].result(30)
    stack.wait_for(lambda: EXAM_RESULTS in admin.list_topics(timeout=30).topics, "it is there again")
    stand.write(4)
    one = streams(await sampler.sample())
    assert (one.log_replaced, one.lag_seconds, one.lag_records) == (True, None, None)
    written = stand.write(1)
    stand.stand_at(4)
    snapshot = await sampler.sample()
    one = streams(snapshot)
    assert (one.log_replaced, one.lag_records) == (False, 1)
    assert written.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_members_of_a_group_own_partitions_until_they_leave(
    kafka: str, stand: Stand, sampler: Sampler, other: str
) -> None:
    stand.write(3, other)
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "district-export",
            "client.id": "exporter",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([other])
    messages = consumer.consume(2, 30)
    assert len(messages) == 2
    found = group(await sampler.sample(), "district-export", other)
    one = found.partitions[0]
    assert (found.state, found.members) == ("Stable", 1)
    assert one.owner.startswith("exporter") and one.owner_known and one.heard_ms is not None
    assert (one.position, one.lag_seconds) == (None, None)  # nothing is committed
    consumer.commit(message=messages[-1], asynchronous=False)
    one = group(await sampler.sample(), "district-export", other).partitions[0]
    assert (one.position, one.lag_records) == (2, 1)
    assert one.lag_seconds is not None
    consumer.close()
    found = group(await sampler.sample(), "district-export", other)
    one = found.partitions[0]
    assert (found.state, found.members, one.owner, one.owner_known) == ("Empty", 0, "", True)


async def test_two_groups_at_different_offsets_of_one_partition_have_each_its_own_lag(
    kafka: str, stand: Stand, sampler: Sampler, other: str
) -> None:
    first = stand.write(1, other)
    stack.wait_for(lambda: time.time() > first.done + 1, "a second")
    second = stand.write(1, other)
    commit(kafka, "reader-a", other, 0)
    commit(kafka, "reader-b", other, 1)
    snapshot = await sampler.sample()
    for name, written in (("reader-a", first), ("reader-b", second)):
        one = group(snapshot, name, other).partitions[0]
        assert written.is_late_by(one.lag_seconds, snapshot.at_ms), name
        assert (one.owner_known, one.owner) == (False, "")  # who only commits is no member
