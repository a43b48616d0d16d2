"""Relay processes, Kafka and Redis together: kill -9 at the worst moment, a standby, and one that slept through it all."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Consumer, TopicPartition
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import ORGANIZATIONS, SCHOOL
from redis.asyncio import Redis
from relayed import ELA, Writer
from stack import SECRET, broker, measured, process_environment, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from schemas.aggregate_changes import CellChange, ResultChange, decode_cell_change, decode_result_change
from schemas.changes import ResultNote
from schemas.identifiers import OrganizationId
from schemas.topics import AGGREGATE_CHANGES, RESULT_CHANGES

PARTITIONS = 2
FAILING = Path(__file__).parents[1] / "failing_relay.py"
KEY = f"{SCHOOL}/{ELA}".encode()


@pytest.fixture(params=["embedded", "real"])
def kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with broker(request.param, PARTITIONS, tmp_path) as address:
        yield address


@pytest.fixture
def real_kafka(tmp_path: Path) -> Iterator[str]:
    with broker("real", PARTITIONS, tmp_path) as address:
        yield address


@pytest.fixture
def worker(server: EmbeddedRedis) -> FakeWorker:
    """One school with one result."""
    made = FakeWorker(server.url, partitions=PARTITIONS)
    made.list_organizations(ORGANIZATIONS)
    made.apply(SCHOOL, [scored(2450, 3)])
    made.serve()
    return made


class RelayProcess(Child):
    """A relay, its metrics, and the file that makes it fail; it may be there from the start."""

    def __init__(self, kafka: str, server: EmbeddedRedis, folder: Path, fails: str | None = None) -> None:
        number = len(list(folder.glob("relay-*.log")))
        self.metrics_port = free_port()
        self.order = folder / f"fails-{number}"
        if fails is not None:
            self.order.write_text(fails)
        super().__init__(
            f"relay-{number}",
            [sys.executable, str(FAILING)],
            cwd=folder,
            log=folder / f"relay-{number}.log",
            env=process_environment(
                kafka,
                server.url,
                SCORES_RELAY_SECONDS="0.05",
                SCORES_RELAY_LEASE_SECONDS="1",
                SCORES_RELAY_METRICS_PORT=str(self.metrics_port),
                RELAY_FAILS=str(self.order),
            ),
        )

    def works(self) -> bool:
        """Whether it is the one that works, and has come to the end of a round."""
        return (
            measured(self.metrics_port, "scores_relay_active") == 1
            and measured(self.metrics_port, "scores_relay_last_round_timestamp_seconds") > 0
        )


@contextmanager
def relay(
    kafka: str, server: EmbeddedRedis, folder: Path, fails: str | None = None
) -> Iterator[RelayProcess]:
    running = RelayProcess(kafka, server, folder, fails)
    try:
        yield running
    finally:
        running.signal(signal.SIGCONT)
        running.stop(0.0)


class Reader:
    """Reads one topic from its beginning, as any consumer does: what belongs to no transaction that was given up."""

    def __init__(self, kafka: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": "tests", "enable.auto.commit": False, "log_level": 0}
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        self.values: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self) -> list[tuple[bytes, bytes]]:
        """Everything so far, as key and value."""
        self.values += [
            (record.key() or b"", record.value() or b"")
            for record in self._consumer.consume(1_000, 0.1)
            if record.error() is None
        ]
        return self.values

    def school(self) -> list[CellChange]:
        """The records of the school, one after the other."""
        return [decode_cell_change(value) for key, value in self.read() if key == KEY]

    def wait_for_results(self, count: int) -> None:
        """Until the school's last record tells of so many results."""

        def there() -> bool:
            told = self.school()
            return bool(told) and told[-1].figures is not None and told[-1].figures.results == count

        wait_for(there, f"the last record tells of {count} results")


def test_relay_killed_between_the_acknowledgement_and_its_note_loses_nothing_and_repeats_the_version(
    kafka: str, server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with Reader(kafka, AGGREGATE_CHANGES) as reader:
        with relay(kafka, server, tmp_path) as first:
            reader.wait_for_results(1)
            wait_for(first.works, "the relay works")
            first.order.write_text("die after")
            worker.apply(SCHOOL, [scored(2460, 3)])
            wait_for(lambda: not first.running, "the relay has died")
            assert first.exit_status == -signal.SIGKILL
        reader.wait_for_results(2)
        worker.apply(SCHOOL, [scored(2470, 3)])
        with relay(kafka, server, tmp_path):
            reader.wait_for_results(3)
        versions = [one.version for one in reader.school()]
        assert versions == sorted(versions)
        assert versions[-1] == 3


def test_relay_killed_before_anything_is_new_publishes_the_same_version_again(
    kafka: str, server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with Reader(kafka, AGGREGATE_CHANGES) as reader:
        with relay(kafka, server, tmp_path) as first:
            wait_for(first.works, "the relay works")
            first.order.write_text("die after")
            worker.apply(SCHOOL, [scored(2460, 3)])
            wait_for(lambda: not first.running, "the relay has died")
        reader.wait_for_results(2)
        with relay(kafka, server, tmp_path) as second:
            wait_for(second.works, "the second relay works")
            wait_for(lambda: [one.version for one in reader.school()] == [1, 2, 2], "it is there again")
        first_time, again = reader.school()[1:]
        assert first_time == again


def test_results_noted_before_a_relay_is_killed_are_published_with_the_same_id(
    kafka: str, server: EmbeddedRedis, tmp_path: Path
) -> None:
    async def note_a_rescore() -> None:
        async with Redis.from_url(server.url, protocol=2) as redis:
            writer = Writer(redis, partitions=PARTITIONS)
            await writer.serve()
            rescored = ResultNote(
                7, "rescored", OrganizationId(SCHOOL), "an assessment", "1", 2026, "2026-05-04T12:00:00Z"
            )
            await writer.score(SCHOOL, notes=[rescored])

    asyncio.run(note_a_rescore())
    with Reader(kafka, RESULT_CHANGES) as reader:
        with relay(kafka, server, tmp_path, fails="die after") as first:
            wait_for(lambda: not first.running, "the relay has died")
        with relay(kafka, server, tmp_path) as second:
            wait_for(second.works, "the second relay works")
        wait_for(lambda: len(reader.read()) == 2, "it was told by both")
        told = [decode_result_change(value) for _, value in reader.values]
        assert {one.id for one in told} == {"0-7"}
        assert {(one.kind, one.organization, one.opportunity_id) for one in told} == {
            ("rescored", SCHOOL, "1")
        }


def test_standby_takes_over_from_a_killed_relay_and_at_once_from_one_that_is_stopped(
    kafka: str, server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with Reader(kafka, AGGREGATE_CHANGES) as reader, relay(kafka, server, tmp_path) as first:
        wait_for(first.works, "the first relay works")
        with relay(kafka, server, tmp_path) as second:
            wait_for(lambda: "standing by" in second.last_lines(), "the second stands by")
            first.signal(signal.SIGKILL)
            worker.apply(SCHOOL, [scored(2460, 3)])
            reader.wait_for_results(2)
            wait_for(second.works, "the second works")
            with relay(kafka, server, tmp_path) as third:
                wait_for(lambda: "standing by" in third.last_lines(), "the third stands by")
                assert not third.works()
                second.stop(60.0)
                assert second.exit_status == 0
                worker.apply(SCHOOL, [scored(2470, 3)])
                reader.wait_for_results(3)


def test_relay_that_slept_with_an_old_cell_in_hand_cannot_put_it_behind_the_newer_one(
    real_kafka: str, server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    """What the embedded broker cannot do: it lets both write."""
    with (
        Reader(real_kafka, AGGREGATE_CHANGES) as reader,
        relay(real_kafka, server, tmp_path) as sleeper,
    ):
        wait_for(sleeper.works, "the first relay works")
        sleeper.order.write_text("stand before")
        worker.apply(SCHOOL, [scored(2460, 3)])
        wait_for(lambda: not sleeper.order.exists(), "it sleeps")
        with relay(real_kafka, server, tmp_path) as second:
            reader.wait_for_results(2)
            worker.apply(SCHOOL, [scored(2470, 3)])
            reader.wait_for_results(3)
            sleeper.signal(signal.SIGCONT)
            wait_for(lambda: "another relay" in sleeper.last_lines(), "the sleeper has noticed")
            worker.apply(SCHOOL, [scored(2480, 3)])
            reader.wait_for_results(4)
            assert second.works()
        versions = [one.version for one in reader.school()]
        assert versions == sorted(versions)


def test_after_a_season_with_killed_relays_the_last_record_of_every_cell_is_what_a_recount_says(
    kafka: str, server: EmbeddedRedis, tmp_path: Path
) -> None:
    options = SeasonOptions(schools=8, results=400, rescores=0.3, resets=0.1, moves=0.1)
    with (
        running_worker(kafka, server.url, tmp_path),
        Reader(kafka, AGGREGATE_CHANGES) as cells,
        Reader(kafka, RESULT_CHANGES) as results,
        ThreadPoolExecutor(1) as pool,
    ):
        season = pool.submit(
            run_season,
            kafka=kafka,
            redis_url=server.url,
            secret=SECRET.encode(),
            options=options,
            rate=150,
            stop=threading.Event(),
        )
        for _ in range(3):
            with relay(kafka, server, tmp_path) as dying:
                die_in_the_middle(dying, season)
        expected = {
            (name.cds, name.cell): (cell.results, cell.with_scores, cell.under_appeal)
            for name, cell in season.result().recount.cells().items()
        }
        with relay(kafka, server, tmp_path):
            wait_for(lambda: latest(cells) == expected, "the records tell what the recount says")

        def told() -> list[ResultChange]:
            return [decode_result_change(value) for _, value in results.read()]

        wait_for(lambda: {one.kind for one in told()} == {"rescored", "invalidated"}, "both kinds are told")
        by_id = {one.id: one for one in told()}
        assert all(by_id[one.id] == one for one in told())


def die_in_the_middle(dying: RelayProcess, season: Future[SeasonRun]) -> None:
    """Let a relay die between an acknowledgement and its note, while there are results on their way."""
    wait_for(lambda: dying.works() or season.done(), "the relay works")
    dying.order.write_text("die after")
    wait_for(lambda: not dying.running or season.done(), "it has died")


def latest(reader: Reader) -> dict[tuple[str, str], tuple[int | None, int | None, int | None]]:
    """The counts of every cell that has results, as the last record of each tells them."""
    last = {key: decode_cell_change(value) for key, value in reader.read()}
    return {
        (one.organization, one.cell): (
            one.figures.results,
            one.figures.with_scores,
            one.figures.under_appeal,
        )
        for one in last.values()
        if one.figures is not None
    }
