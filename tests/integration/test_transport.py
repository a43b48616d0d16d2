"""What we rely on inside Faust and aiokafka; each of these would break silently in another release."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from pathlib import Path

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from confluent_kafka import KafkaError, Producer
from faust.transport.drivers import aiokafka as driver
from redis import Redis
from stack import positions, running_worker, wait_for

from cli.stack.embedded_kafka import EmbeddedKafka, Request
from cli.stack.redis_server import EmbeddedRedis
from schemas import topics
from streams.transport import Consumer, Transport

PARTITIONS = 2


def test_batch_transport_is_registered_with_faust() -> None:
    [entry] = [point for point in entry_points(group="faust.transports") if point.name == "batch"]
    assert entry.load() is Transport


def test_methods_that_we_override_exist_with_their_arguments() -> None:
    assert list(inspect.signature(driver.Consumer.getmany).parameters) == ["self", "timeout"]
    assert list(inspect.signature(driver.Consumer._getmany).parameters) == [
        "self",
        "active_partitions",
        "timeout",
    ]
    assert list(inspect.signature(driver.Consumer.seek_to_committed).parameters) == ["self"]
    assert inspect.iscoroutinefunction(driver.Consumer.on_stop)
    assert issubclass(Consumer, driver.Consumer)


def test_attributes_that_we_read_are_still_there() -> None:
    source = inspect.getsource(driver.Consumer.__mro__[2])  # the abstract consumer
    for attribute in (
        "_buffered_partitions",
        "_read_offset",
        "flow_active",
        "perform_seek",
        "_wait_next_records",
    ):
        assert attribute in source, attribute
    assert "fetch_context" in inspect.getsource(SubscriptionState)
    coordinator = inspect.getsource(GroupCoordinator)
    for attribute in (
        "fetcher_idle_time",
        "_coordination_task",
        "_pending_exception",
        "_performed_join_prepare",
        "_rejoin_needed_fut",
        "coordinator_id",
        "_do_commit_offsets",
    ):
        assert attribute in coordinator, attribute
    assert "self._consumer" in inspect.getsource(driver.AIOKafkaConsumerThread)


def test_worker_whose_position_fell_below_the_start_of_the_log_stops_loudly(tmp_path: Path) -> None:
    """Retention overtook the position: going on from the log's new start would skip results without a word."""
    wanted = {topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}
    with EmbeddedKafka(wanted) as kafka, EmbeddedRedis() as server, Redis.from_url(server.url) as store:
        produce(kafka, 10)
        with running_worker(kafka.bootstrap_servers, server.url, tmp_path):
            wait_for(lambda: positions(store, PARTITIONS)[0] == 10, "the first ten are read")
        produce(kafka, 10)
        kafka.delete_records(topics.EXAM_RESULTS, 0, 15)
        with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
            assert worker.wait(60), "a worker that cannot read on must stop"
            assert worker.exit_status == 1
            assert "Records are missing" in worker.log.read_text()
        assert positions(store, PARTITIONS)[0] == 10


def test_batches_are_chained_from_where_they_were_fetched(tmp_path: Path) -> None:
    """Records one at a time, many at a time, and many batches of one fetch, end at the same position."""
    wanted = {topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}
    with EmbeddedKafka(wanted) as kafka, EmbeddedRedis() as server, Redis.from_url(server.url) as store:
        produce(kafka, 250)
        with running_worker(
            kafka.bootstrap_servers, server.url, tmp_path, SCORES_BATCH_RECORDS="7"
        ) as worker:
            wait_for(lambda: positions(store, PARTITIONS)[0] == 250, "250 in batches of seven")
            for expected in (251, 252, 253):
                produce(kafka, 1)
                wait_for(
                    lambda expected=expected: positions(store, PARTITIONS)[0] == expected,
                    f"offset {expected}",
                )
            assert "out of order" not in worker.log.read_text()


def produce(kafka: EmbeddedKafka, count: int) -> None:
    """Records that no worker can apply; each still moves the position."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(count):
        producer.produce(
            topics.EXAM_RESULTS, key=b"key", value=f"not an event {number}".encode(), partition=0
        )
    assert producer.flush(60) == 0


def test_worker_that_the_group_refuses_ends_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    """aiokafka stops joining after such an answer, and says so only to whoever fetches from it."""
    wanted = {topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}
    with EmbeddedKafka(wanted) as kafka, EmbeddedRedis() as server:
        kafka.push_request_errors(Request.SYNC_GROUP, [KafkaError.INVALID_REQUEST])
        with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
            assert worker.wait(60), "it must end"
            assert worker.exit_status == 1
            assert "membership of the group broke down, starting again" in worker.log.read_text()
