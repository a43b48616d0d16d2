"""What befalls the log while a worker runs: each is noticed, named in the log and in a metric, and costs no result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from redis import Redis
from stack import SECRET, broker, live_cells, measured, positions, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.embedded_kafka import EmbeddedKafka, Request
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from schemas import topics
from schemas.keys import GENERATION, Generation, PartitionKeys
from streams.tables import Tables

PARTITIONS: Final = 2


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}) as running:
        yield running


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker("real", PARTITIONS, tmp_path_factory.mktemp("broker")) as address:
        yield address


@contextmanager
def measured_worker(
    kafka: str, server: EmbeddedRedis, folder: Path, **more: str
) -> Iterator[tuple[Child, int]]:
    """A worker and the port of its metrics."""
    port = free_port()
    settings = {"SCORES_STREAMS_METRICS_PORT": str(port), **more}
    with running_worker(kafka, server.url, folder, **settings) as worker:
        yield worker, port


class Season:
    """A season that is produced while the test goes on."""

    def __init__(self, kafka: str, server: EmbeddedRedis, rate: float = 0, results: int = 1_000) -> None:
        self._server = server
        self._run: SeasonRun | None = None

        def produce() -> None:
            self._run = run_season(
                kafka=kafka,
                redis_url=server.url,
                secret=SECRET.encode(),
                options=SeasonOptions(schools=8, results=results, rescores=0.2, moves=0.1),
                rate=rate,
                stop=threading.Event(),
            )

        self._thread = threading.Thread(target=produce)
        self._thread.start()

    def require_exact(self, store: Redis) -> None:
        """When all is produced and applied, the tables equal a recount."""
        self._thread.join()
        assert self._run is not None
        produced = self._run.produced
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == produced, "all is applied", 60)
        assert compare(self._run.recount.cells(), live_cells(self._server.url)) == []


def produce(kafka: str, count: int, value: bytes = b"not an event", partition: int = 0) -> None:
    """Records that no worker can apply; each still moves the position."""
    producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 10_000_000})
    for _ in range(count):
        producer.produce(topics.EXAM_RESULTS, key=b"key", value=value, partition=partition)
    assert producer.flush(60) == 0


def ended(worker: Child, phrase: str, seconds: float = 120) -> str:
    """Its log, when it has ended by itself as a fault, and said why."""
    assert worker.wait(seconds), worker.last_lines()
    log = worker.log.read_text()
    assert worker.exit_status == 1 and phrase in log, worker.last_lines(40)
    return log


def test_kafka_away_for_a_while_is_waited_out_and_nothing_is_lost_or_counted_twice(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    with measured_worker(kafka.bootstrap_servers, server, tmp_path) as (worker, port):
        season = Season(kafka.bootstrap_servers, server, rate=100)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 200, "some progress")
        kafka.set_broker_down()
        wait_for(lambda: measured(port, "scores_accidents_total", kind="kafka_away") == 1, "it is noticed")
        before = complete_of(store)
        kafka.set_broker_up()
        wait_for(lambda: "kafka serves again" in worker.log.read_text(), "it is noticed, too")
        season.require_exact(store)
        wait_for(lambda: complete_of(store) > before, "the figures are complete up to a later time")
        assert worker.running and "address=" + kafka.bootstrap_servers in worker.log.read_text()


def complete_of(store: Redis) -> int:
    """The time up to which the serving tables are complete."""
    generation = Generation((store.get(GENERATION) or b"").decode())
    names = [PartitionKeys(generation, number).position for number in range(PARTITIONS)]  # type: ignore[arg-type]
    return min(int(store.hget(name, "complete_ms") or 0) for name in names)


def test_nothing_is_called_complete_while_kafka_is_away(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    """Whoever still reaches Kafka goes on producing; a worker that does not must not speak for that time."""
    with measured_worker(kafka.bootstrap_servers, server, tmp_path) as (_, port):
        wait_for(lambda: complete_of(store) > 0, "an empty log is complete up to now")
        kafka.set_rtt_ms(20_000)
        wait_for(lambda: measured(port, "scores_accidents_total", kind="kafka_away") == 1, "it is noticed")
        noticed = complete_of(store)
        kafka.set_rtt_ms(0)
        wait_for(lambda: complete_of(store) > noticed, "complete up to now again")


@pytest.mark.parametrize(
    "break_it",
    [lambda kafka: kafka.set_broker_down(), lambda kafka: kafka.set_rtt_ms(60_000)],
    ids=["refusing", "silent"],
)
def test_kafka_away_for_longer_than_the_budget_ends_the_worker_with_the_remedy(
    kafka: EmbeddedKafka,
    server: EmbeddedRedis,
    store: Redis,
    tmp_path: Path,
    break_it: Callable[[EmbeddedKafka], None],
) -> None:
    with running_worker(
        kafka.bootstrap_servers, server.url, tmp_path, SCORES_DEPENDENCY_BUDGET_SECONDS="6"
    ) as worker:
        wait_for(lambda: complete_of(store) > 0, "it works")
        break_it(kafka)
        log = ended(worker, "kafka does not answer, waiting")
    assert f"Kafka at {kafka.bootstrap_servers} did not serve us within 6 s" in log
    assert "SCORES_DEPENDENCY_BUDGET_SECONDS" in log and "is SCORES_KAFKA right?" in log


def test_errors_of_fetches_are_passed_over(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    names = (
        "NOT_LEADER_FOR_PARTITION LEADER_NOT_AVAILABLE UNKNOWN_TOPIC_OR_PART KAFKA_STORAGE_ERROR UNKNOWN INVALID_MSG "
        "REQUEST_TIMED_OUT OFFSET_NOT_AVAILABLE FENCED_LEADER_EPOCH BROKER_NOT_AVAILABLE _TRANSPORT"
    )
    with measured_worker(kafka.bootstrap_servers, server, tmp_path) as (worker, _):
        season = Season(kafka.bootstrap_servers, server, rate=100)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 50, "some progress")
        kafka.push_request_errors(Request.FETCH, [getattr(KafkaError, name) for name in names.split()])
        season.require_exact(store)
        assert worker.running
        assert "kafka cannot be read for a moment" in worker.log.read_text()


def test_broker_that_wrongly_says_out_of_range_is_asked_again(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    with measured_worker(kafka.bootstrap_servers, server, tmp_path) as (worker, port):
        season = Season(kafka.bootstrap_servers, server, rate=100)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 50, "some progress")
        kafka.push_request_errors(Request.FETCH, [KafkaError.OFFSET_OUT_OF_RANGE] * 2)
        season.require_exact(store)
        assert worker.running
        assert measured(port, "scores_accidents_total", kind="log_gap") == 0


def test_fetches_that_fail_for_ever_end_the_worker_instead_of_letting_it_sit_there(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    impatient = {"SCORES_DEPENDENCY_BUDGET_SECONDS": "5", "SCORES_STALL_SECONDS": "1"}
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path, **impatient) as worker:
        wait_for(lambda: complete_of(store) > 0, "it works")
        kafka.push_request_errors(Request.FETCH, [KafkaError.UNKNOWN] * 100_000)
        produce(kafka.bootstrap_servers, 3)
        ended(worker, "records wait and nothing is applied, starting again")
    kafka.clear_request_errors(Request.FETCH)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path):
        wait_for(lambda: positions(store, PARTITIONS)[0] == 3, "the next one reads them")


def test_position_below_the_start_of_the_log_stops_the_worker_and_is_named(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    produce(kafka.bootstrap_servers, 10)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path):
        wait_for(lambda: positions(store, PARTITIONS)[0] == 10, "the first ten are read")
    produce(kafka.bootstrap_servers, 10)
    kafka.delete_records(topics.EXAM_RESULTS, 0, 15)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
        log = ended(worker, "records are missing from the log, refusing to go on")
    assert "stands at 10, but the log begins at 15" in log
    assert positions(store, PARTITIONS)[0] == 10


def test_topic_recreated_under_a_running_worker_stops_it(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    produce(kafka.bootstrap_servers, 10)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
        wait_for(lambda: positions(store, PARTITIONS)[0] == 10, "all is read")
        kafka.delete_topic(topics.EXAM_RESULTS)
        kafka.create_topic(topics.EXAM_RESULTS, PARTITIONS)
        produce(kafka.bootstrap_servers, 4)
        ended(worker, "the log is another one, refusing to go on")
    assert positions(store, PARTITIONS)[0] == 10


@pytest.mark.parametrize("records", [4, 40], ids=["shorter than the position", "longer than the position"])
def test_topic_recreated_on_real_kafka_stops_the_worker(
    records: int, real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    """Longer, it can be read from the old position without any error."""
    recreate(real)
    produce(real, 10)
    group = {"SCORES_STREAMS_GROUP": f"recreated-{records}"}
    with running_worker(real, server.url, tmp_path, **group) as worker:
        wait_for(lambda: positions(store, PARTITIONS)[0] == 10, "all is read")
        recreate(real)
        produce(real, records)
        ended(worker, "the log is another one, refusing to go on")
    with running_worker(real, server.url, tmp_path, **group) as worker:
        ended(worker, "the log is another one, refusing to go on")


def test_nothing_is_read_of_another_topic_that_takes_the_place_of_a_missing_one(
    real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    recreate(real)
    produce(real, 10)
    with measured_worker(real, server, tmp_path, SCORES_STREAMS_GROUP="replaced") as (worker, port):
        wait_for(lambda: positions(store, PARTITIONS)[0] == 10, "all is read")
        delete(AdminClient({"bootstrap.servers": real}))
        wait_for(lambda: measured(port, "scores_accidents_total", kind="kafka_away") == 1, "it is missed")
        assert "`scores topics create` makes it" in worker.log.read_text()
        recreate(real)
        produce(real, 40)
        ended(worker, "the log is another one, refusing to go on")
    assert positions(store, PARTITIONS)[0] == 10


def test_worker_refuses_to_go_on_when_partitions_are_added(
    real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    recreate(real)
    group = {"SCORES_STREAMS_GROUP": "more-partitions"}
    with running_worker(real, server.url, tmp_path, **group) as worker:
        wait_for(lambda: bool(list(store.scan_iter("*:position"))), "it has its partitions")
        admin = AdminClient({"bootstrap.servers": real})
        [added] = admin.create_partitions([NewPartitions(topics.EXAM_RESULTS, 3)]).values()
        added.result()
        ended(worker, "the log has another number of partitions, refusing to go on")
    with running_worker(real, server.url, tmp_path, **group) as worker:
        log = ended(worker, "the log has another number of partitions, refusing to go on")
    assert "built from 2 partitions, but exam-results.v1 now has 3" in log


def recreate(address: str) -> None:
    """Delete the results topic, where there is one, and create it again, empty."""
    admin = AdminClient({"bootstrap.servers": address})
    if topics.EXAM_RESULTS in admin.list_topics(timeout=60).topics:
        delete(admin)

    def created() -> bool:
        wanted = NewTopic(topics.EXAM_RESULTS, PARTITIONS, 1, config={"max.message.bytes": "5000000"})
        [answer] = admin.create_topics([wanted]).values()
        return answer.exception() is None

    wait_for(created, "the deletion is over")


def delete(admin: AdminClient) -> None:
    """Delete the results topic."""
    [deleted] = admin.delete_topics([topics.EXAM_RESULTS]).values()
    deleted.result()


def test_record_larger_than_a_fetch_does_not_hold_up_those_behind_it(
    real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    recreate(real)
    produce(real, 1)
    produce(real, 1, value=b"x" * 3_000_000)
    produce(real, 1)
    with running_worker(real, server.url, tmp_path, SCORES_STREAMS_GROUP="large-record") as worker:
        wait_for(lambda: positions(store, PARTITIONS)[0] == 3, "all three are dealt with")
        assert worker.running


def test_log_that_ends_with_the_marker_of_a_transaction_is_read_to_its_end(
    real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    """Nothing waits behind it: the figures are whole and complete, and the worker is not taken for a stalled one."""
    recreate(real)
    producer = Producer({"bootstrap.servers": real, "transactional.id": "a producer of its own"})
    producer.init_transactions()
    producer.begin_transaction()
    for _ in range(3):
        producer.produce(topics.EXAM_RESULTS, key=b"key", value=b"not an event", partition=0)
    producer.commit_transaction()
    impatient = {"SCORES_DEPENDENCY_BUDGET_SECONDS": "5", "SCORES_STALL_SECONDS": "1"}
    with measured_worker(real, server, tmp_path, SCORES_STREAMS_GROUP="transactions", **impatient) as (
        worker,
        _,
    ):
        wait_for(
            lambda: positions(store, PARTITIONS)[0] == 3, "the records are dealt with; the log ends at 4"
        )
        wait_for(lambda: complete_of(store) > 0, "both partitions are complete up to some time")
        first = complete_of(store)
        # Longer than the watchdog waits.
        wait_for(lambda: complete_of(store) > first + 15_000, "complete up to later and later times")
        generation = Generation((store.get(GENERATION) or b"").decode())
        keys = PartitionKeys(generation, 0)  # type: ignore[arg-type]  # a plain number
        assert store.hget(keys.position, "catch_up") is None
        assert worker.running


def test_worker_without_partitions_waits_and_is_not_taken_for_a_stalled_one(
    server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    impatient = {"SCORES_DEPENDENCY_BUDGET_SECONDS": "5", "SCORES_STALL_SECONDS": "1"}
    with (
        EmbeddedKafka({topic.name: 1 for topic in topics.topics(1)}) as kafka,
        measured_worker(kafka.bootstrap_servers, server, tmp_path, **impatient) as (first, first_port),
    ):
        wait_for(lambda: measured(first_port, "scores_partitions_owned") == 1, "the only partition is taken")
        with measured_worker(kafka.bootstrap_servers, server, tmp_path, **impatient) as (second, second_port):
            wait_for(lambda: "Worker ready" in second.log.read_text(), "the second is in the group", 60)
            both = (first_port, second_port)
            started = time.time()
            wait_for(lambda: time.time() > started + 15, "longer than the watchdog waits")
            assert first.running and second.running, (first.last_lines(), second.last_lines())
            assert sum(measured(port, "scores_partitions_owned") for port in both) == 1


@pytest.mark.anyio
async def test_worker_whose_partition_was_claimed_by_a_zombie_takes_it_back_by_itself(
    kafka: EmbeddedKafka, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    from redis.asyncio import Redis as AsyncRedis

    with measured_worker(kafka.bootstrap_servers, server, tmp_path) as (worker, port):
        season = Season(kafka.bootstrap_servers, server, rate=150)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 100, "some progress")
        generation = Generation((store.get(GENERATION) or b"").decode())
        keys = PartitionKeys(generation, 0)  # type: ignore[arg-type]  # a plain number
        log = (store.hget(keys.position, "log") or b"").decode()
        async with AsyncRedis.from_url(server.url) as client:
            await Tables(client, "zombie", log).claim(keys)
        assert store.hget(keys.position, "owner") == b"zombie"
        wait_for(lambda: store.hget(keys.position, "owner") != b"zombie", "the worker takes it back")
        season.require_exact(store)
        assert worker.running
        assert measured(port, "scores_fenced_writes_total") >= 1
