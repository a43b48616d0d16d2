"""A stream worker as a process, on a real server and a broker: exact through duplicates, disorder, kills and zombies."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from redis import Redis
from stack import SECRET, live_cells, positions, running_worker, wait_for

from cli.simulator.expectation import read_expectation, write_expectation
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from schemas import topics
from schemas.keys import PartitionKeys

PARTITIONS = 4


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}) as broker:
        yield broker


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


def run_in_thread(produce: Callable[[], SeasonRun]) -> Future[SeasonRun]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(produce)
    pool.shutdown(wait=False)
    return future


def produce_season(
    kafka: EmbeddedKafka, server: EmbeddedRedis, *, rate: float = 0, **options: float
) -> SeasonRun:
    return run_season(
        kafka=kafka.bootstrap_servers,
        redis_url=server.url,
        secret=SECRET.encode(),
        options=SeasonOptions(schools=16, results=1_500, **options),  # type: ignore[arg-type]  # shares
        rate=rate,
        stop=threading.Event(),
    )


def test_simulated_season_equals_its_recount(
    kafka: EmbeddedKafka, server: EmbeddedRedis, tmp_path: Path
) -> None:
    store = Redis.from_url(server.url)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
        run = produce_season(
            kafka, server, rescores=0.1, duplicates=0.05, disorder=0.1, resets=0.05, moves=0.1
        )
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == run.produced, "all events applied")
        assert compare(run.recount.cells(), live_cells(server.url)) == []
        worker.signal(signal.SIGTERM)
        assert worker.wait(60) and worker.exit_status == 0, worker.last_lines()
    store.close()


def test_worker_killed_again_and_again_loses_and_repeats_nothing(
    kafka: EmbeddedKafka, server: EmbeddedRedis, tmp_path: Path
) -> None:
    store = Redis.from_url(server.url)
    runs: list[SeasonRun] = []
    season = threading.Thread(
        target=lambda: runs.append(produce_season(kafka, server, rate=250, rescores=0.2))
    )
    season.start()
    for kill in range(3):
        with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
            before = sum(positions(store, PARTITIONS).values())
            wait_for(
                lambda before=before: sum(positions(store, PARTITIONS).values()) > before + 50,
                "some progress",
            )
            assert worker.running, worker.last_lines()
            if kill < 2:
                worker.signal(signal.SIGKILL)
                continue
            season.join()
            wait_for(
                lambda: sum(positions(store, PARTITIONS).values()) == runs[0].produced, "all events applied"
            )
    assert compare(runs[0].recount.cells(), live_cells(server.url)) == []
    store.close()


def test_sleeping_worker_that_wakes_as_a_zombie_writes_nothing(
    kafka: EmbeddedKafka, server: EmbeddedRedis, tmp_path: Path
) -> None:
    """SIGSTOP for longer than the session: the second worker takes over, the first wakes and is refused."""
    store = Redis.from_url(server.url)
    runs: list[SeasonRun] = []
    with (
        running_worker(kafka.bootstrap_servers, server.url, tmp_path) as first,
        running_worker(kafka.bootstrap_servers, server.url, tmp_path) as second,
    ):
        season = threading.Thread(target=lambda: runs.append(produce_season(kafka, server, rate=150)))
        season.start()
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 100, "some progress")
        first.signal(signal.SIGSTOP)
        season.join()
        [run] = runs
        wait_for(
            lambda: sum(positions(store, PARTITIONS).values()) == run.produced, "the second goes on alone"
        )
        first.signal(signal.SIGCONT)
        wait_for(lambda: "woke up too late" in first.log.read_text(), "the zombie is awake")
        assert first.running and second.running, (first.last_lines(), second.last_lines())
    assert compare(run.recount.cells(), live_cells(server.url)) == []
    store.close()


def test_rejected_record_keeps_its_bytes_coordinates_and_reason(
    kafka: EmbeddedKafka, server: EmbeddedRedis, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topics.EXAM_RESULTS, key=b"some key", value=b"<TDSReport/>", partition=2)
    producer.flush()
    store = Redis.from_url(server.url)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path):
        wait_for(lambda: positions(store, PARTITIONS)[2] == 1, "the position moves past it")
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topics.REJECTED])
    [message] = consumer.consume(1, timeout=60)
    consumer.close()
    headers = dict(message.headers() or [])
    assert (message.key(), message.value()) == (b"some key", b"<TDSReport/>")
    assert headers["rejected_reason"] == b"undecodable"
    assert (headers["rejected_topic"], headers["rejected_partition"], headers["rejected_offset"]) == (
        b"exam-results.v1",
        b"2",
        b"0",
    )
    store.close()


def test_worker_refuses_tables_that_were_read_from_another_log(server: EmbeddedRedis, tmp_path: Path) -> None:
    wanted = {topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}
    store = Redis.from_url(server.url)
    for start in ("first", "second"):
        with (
            EmbeddedKafka(wanted) as kafka,
            running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker,
        ):
            if start == "first":
                wait_for(
                    lambda: bool(list(store.scan_iter("*:position"))),
                    "the first worker claims its partitions",
                )
                continue
            assert worker.wait(60), "a worker on another log must stop"
            assert "was deleted and created again" in worker.log.read_text()
            assert worker.exit_status == 1
    store.close()


def test_worker_whose_tables_are_lost_stops_and_the_next_rebuilds_them_from_the_log(
    kafka: EmbeddedKafka, server: EmbeddedRedis, tmp_path: Path
) -> None:
    store = Redis.from_url(server.url)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker:
        first = produce_season(kafka, server)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == first.produced, "all events applied")
        store.flushall()
        again = run_in_thread(lambda: produce_season(kafka, server))
        assert worker.wait(60), "a worker that writes into nothing must stop"
        assert worker.exit_status == 1 and "Redis has lost" in worker.log.read_text()
    # Many small batches: the directory must not queue behind results that wait for it.
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path, SCORES_BATCH_RECORDS="10"):
        second = again.result()
        produced = first.produced + second.produced
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == produced, "the whole log is applied")
    # The same season twice: the second time every event is a duplicate.
    assert compare(first.recount.cells(), live_cells(server.url)) == []
    store.close()


def test_expectation_file_says_what_the_tables_must_be(
    tmp_path: Path, kafka: EmbeddedKafka, server: EmbeddedRedis
) -> None:
    store = Redis.from_url(server.url)
    with running_worker(kafka.bootstrap_servers, server.url, tmp_path):
        run = produce_season(kafka, server)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == run.produced, "all events applied")
    file = tmp_path / "expected.jsonl.gz"
    write_expectation(file, run.recount.cells(), run.expectation())
    _, cells = read_expectation(file)
    assert compare(cells, live_cells(server.url)) == []
    name, counted = next(iter(cells.items()))
    counted.score_sum += 1
    [difference] = compare(cells, live_cells(server.url))
    assert name.cds in str(difference)
    store.close()


def test_partition_keys_of_one_partition_share_one_slot() -> None:
    keys = PartitionKeys("g1", 3)  # type: ignore[arg-type]  # plain values
    names = [keys.position, keys.changes, keys.exams(bytes(16)), keys.cells("0" * 14)]  # type: ignore[arg-type]
    assert {name[: name.index("}") + 1] for name in names} == {"{g1.3}"}
