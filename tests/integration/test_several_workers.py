"""``scores streams --workers N`` and the end of a worker: who has which partition, and what a restart disturbs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, TopicPartition
from redis import Redis
from stack import (
    SECRET,
    broker,
    live_cells,
    measured,
    positions,
    process_environment,
    running_worker,
    wait_for,
)

import cli.supervisor
import cli.workers
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.simulator.recount import Recount
from cli.stack.child import Child
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from cli.workers import run_workers
from schemas.assessments import load_registry
from schemas.events import decode_exam_result
from schemas.keys import GENERATION, Generation, PartitionKeys
from schemas.topics import EXAM_RESULTS
from streams.topic_reading import read_topic

PARTITIONS: Final = 4
NAME: Final = "tests"
EMBEDDED: Final = {"SCORES_STATIC_MEMBERSHIP": "no"}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[str]:
    with broker("embedded", PARTITIONS, tmp_path) as address:
        yield address


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    with broker("real", PARTITIONS, tmp_path) as address:
        yield address


@contextmanager
def workers(kafka: str, server: EmbeddedRedis, folder: Path, count: int, **more: str) -> Iterator[Child]:
    """The supervisor of some workers, in a process of its own."""
    supervisor = Child(
        "workers",
        [sys.executable, "-m", "cli", "streams", "--workers", str(count)],
        cwd=folder,
        log=folder / "workers.log",
        env=process_environment(kafka, server.url, SCORES_INSTANCE_ID=NAME, **more),
    )
    try:
        yield supervisor
    finally:
        supervisor.stop(0.0)


def process_ids(supervisor: Child) -> dict[str, int]:
    """The workers' process ids, by name."""
    found = {}
    for task in Path(f"/proc/{supervisor.pid}/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                named = [one for one in environment if one.startswith(b"SCORES_INSTANCE_ID=")]
                found[named[0].decode().partition("=")[2]] = int(child)
    return found


def claims(store: Redis) -> dict[int, tuple[str, int]]:
    """Owner and epoch of each partition that is claimed."""
    generation = Generation((store.get(GENERATION) or b"none").decode())
    found = {}
    for number in range(PARTITIONS):
        owner, epoch = store.hmget(PartitionKeys(generation, number).position, "owner", "epoch")  # type: ignore[arg-type]
        if owner:
            found[number] = (owner.decode(), int(epoch))
    return found


def owners(store: Redis) -> set[str]:
    return {owner for owner, _ in claims(store).values()}


def season(
    kafka: str, server: EmbeddedRedis, results: int, rate: float = 0, stop: threading.Event | None = None
) -> SeasonRun:
    return run_season(
        kafka=kafka,
        redis_url=server.url,
        secret=SECRET.encode(),
        options=SeasonOptions(schools=8, results=results, rescores=0.2, moves=0.1),
        rate=rate,
        stop=stop or threading.Event(),
    )


def test_two_workers_share_the_partitions_and_the_result_equals_its_recount(
    embedded: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    ports = two_ports()
    with workers(
        embedded, server, tmp_path, 2, SCORES_STREAMS_METRICS_PORT=str(ports), **EMBEDDED
    ) as supervisor:
        wait_for(lambda: owners(store) == {f"{NAME}-0", f"{NAME}-1"}, "each has some", 60)
        run = season(embedded, server, 1_500)
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == run.produced, "all is applied", 60)
        assert compare(run.recount.cells(), live_cells(server.url)) == []
        for port in (ports, ports + 1):
            assert measured(port, "scores_batches_total") > 0
        assert f"{NAME}-1: " in supervisor.log.read_text()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.wait(60) and supervisor.exit_status == 0, supervisor.last_lines()


def log_end(kafka: str) -> int:
    """How many results were ever produced."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "tests"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(EXAM_RESULTS, number), 30)[1]
            for number in range(PARTITIONS)
        )
    finally:
        consumer.close()


def two_ports() -> int:
    """A free port whose successor is free, too."""
    while True:
        port = free_port()
        with suppress(OSError):
            create_server(("127.0.0.1", port + 1)).close()
            return port


def test_worker_killed_comes_back_to_its_partitions_and_the_other_is_not_disturbed(
    real: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    """Static membership: whoever is back within the session timeout was never away, as the group sees it."""
    ports = two_ports()
    settings = {"SCORES_STREAMS_METRICS_PORT": str(ports), "SCORES_SESSION_TIMEOUT_SECONDS": "40"}
    with workers(real, server, tmp_path, 2, **settings) as supervisor:
        wait_for(lambda: len(claims(store)) == PARTITIONS and len(owners(store)) == 2, "each has some", 60)
        runs: list[SeasonRun] = []
        producing = threading.Thread(target=lambda: runs.append(season(real, server, 1_500, rate=150)))
        producing.start()
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 100, "some progress")
        before, ids = claims(store), process_ids(supervisor)
        rebalances = measured(ports + 1, "scores_rebalances_total")
        with suppress(ProcessLookupError):
            os.kill(ids[f"{NAME}-0"], signal.SIGKILL)
        lost = {number for number, (owner, _) in before.items() if owner == f"{NAME}-0"}
        wait_for(
            lambda: all(claims(store)[number][1] > before[number][1] for number in lost),
            "it claims its partitions again",
            60,
        )
        producing.join()
        [run] = runs
        wait_for(lambda: sum(positions(store, PARTITIONS).values()) == run.produced, "all is applied", 60)
        assert compare(run.recount.cells(), live_cells(server.url)) == []
        assert {number: owner for number, (owner, _) in claims(store).items()} == {
            number: owner for number, (owner, _) in before.items()
        }
        undisturbed = before.keys() - lost
        assert {number: claims(store)[number] for number in undisturbed} == {
            number: before[number] for number in undisturbed
        }
        assert measured(ports + 1, "scores_rebalances_total") == rebalances
        assert process_ids(supervisor)[f"{NAME}-1"] == ids[f"{NAME}-1"]
        assert f"{NAME}-0 ended with status -9" in supervisor.log.read_text()
        assert "restarts=" in supervisor.log.read_text()


def test_worker_stopped_in_the_middle_leaves_whole_batches_and_nothing_else(
    embedded: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    enough = threading.Event()
    with running_worker(embedded, server.url, tmp_path, SCORES_BATCH_RECORDS="300") as worker:
        runs: list[SeasonRun] = []
        producing = threading.Thread(
            target=lambda: runs.append(season(embedded, server, 20_000, rate=2_000, stop=enough))
        )
        producing.start()
        try:
            wait_for(lambda: sum(positions(store, PARTITIONS).values()) > 600, "some batches")
            worker.signal(signal.SIGTERM)
            assert worker.wait(60) and worker.exit_status == 0, worker.last_lines()
            stopped_at = positions(store, PARTITIONS)
            wait_for(lambda: log_end(embedded) > sum(stopped_at.values()), "results go on coming")
        finally:
            enough.set()
            producing.join()
    [run] = runs
    assert 0 < sum(stopped_at.values()) < run.produced, "it was not stopped in the middle"
    recount = Recount(load_registry(), [school.cds for school in run.county.schools])
    for record in read_topic(embedded, EXAM_RESULTS, dict.fromkeys(range(PARTITIONS), 0)):
        if record.offset < stopped_at[record.partition]:
            assert record.key is not None and record.value is not None
            recount.add(record.key.decode(), decode_exam_result(record.value))
    assert compare(recount.cells(), live_cells(server.url)) == []


def test_supervisor_gives_up_with_the_last_words_when_all_die_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def dies(self: Any, command: Any) -> Child:
        program = [sys.executable, "-c", "import sys; sys.exit('the log is gone')"]
        return cli.workers._Relayed(self.name, program, self._environment, self._prefix)

    monkeypatch.setattr(cli.workers.Worker, "_spawn", dies)
    monkeypatch.setattr(cli.supervisor, "_LONGEST_PAUSE_SECONDS", 0.01)
    settings = {"SCORES_STUDENT_KEY_SECRET": SECRET, "SCORES_INSTANCE_ID": NAME}
    assert run_workers(2, settings) == 1
    told = capfd.readouterr().err
    assert f"{NAME}-1 ended with:\nthe log is gone" in told
    assert "it is restarted in a loop" in told


def test_supervisor_stops_all_when_the_settings_are_wrong(
    embedded: str, server: EmbeddedRedis, store: Redis, tmp_path: Path
) -> None:
    store.config_set("maxmemory-policy", "allkeys-lru")
    with workers(embedded, server, tmp_path, 2, **EMBEDDED) as supervisor:
        assert supervisor.wait(60) and supervisor.exit_status == 2, supervisor.last_lines()
        assert "set it to noeviction" in supervisor.log.read_text()
