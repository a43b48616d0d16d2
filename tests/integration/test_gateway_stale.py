"""Figures that are being built from the log say so, wherever they are shown, and no longer than that."""

from __future__ import annotations

import csv
import io
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    Event,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from redis import Redis
from stack import SECRET, broker, live_cells, positions, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import run_season
from cli.verify import compare

ELA = "2026:ELA-SUM:03"
TOPIC = f"school/{SCHOOL}"


@pytest.fixture
def worker() -> Iterator[FakeWorker]:
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        made.apply(SCHOOL, [scored(2450, 3)])
        made.stand_at(10, catch_up=30)
        made.serve()
        yield made


@pytest.fixture
def gateway(worker: FakeWorker) -> Iterator[GatewayProcess]:
    address = worker.redis.connection_pool.connection_kwargs
    # Progress is reported once in a minute, for which no reader waits: what comes sooner was sent at once.
    url = f"redis://{address['host']}:{address['port']}/0"
    with gateway_process(url, SCORES_PROGRESS_SECONDS="60") as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(DISTRICT) as made:
        yield made


def is_stale(event: Event) -> bool:
    return bool(event.data.get("stale", False))


def test_subscriber_is_told_in_every_message_until_the_figures_are_whole_and_then_at_once(
    client: httpx.Client, worker: FakeWorker
) -> None:
    with stream(client, TOPIC) as reader:
        assert is_stale(reader.until("put"))
        progress = reader.until("progress")
        assert is_stale(progress) and progress.data["complete"] is None and progress.data["live"] is True
        worker.stand_at(20, catch_up=30)
        worker.apply(SCHOOL, [scored(2400, 2)])
        assert is_stale(reader.until("patch"))
        worker.stand_at(30, catch_up=30)
        worker.apply(SCHOOL, [scored(2500, 4)])
        last = reader.until("patch", lambda event: event.cells(SCHOOL)[ELA]["results"] == 3)
        whole = reader.until("progress", lambda event: not is_stale(event))
        assert "stale" not in whole.data and whole.data["complete"] is not None
        assert reader.seen.index(last) < reader.seen.index(whole)


def test_catching_up_without_any_change_of_a_figure_is_told_at_once_too(
    client: httpx.Client, worker: FakeWorker
) -> None:
    with stream(client, TOPIC) as reader:
        assert is_stale(reader.until("put"))
        worker.stand_at(30, catch_up=30)
        reader.until("progress", lambda event: not is_stale(event))


def test_plain_answers_and_spreadsheets_say_so(
    client: httpx.Client, gateway: GatewayProcess, worker: FakeWorker
) -> None:
    def answer() -> dict[str, object]:
        found: dict[str, object] = client.get(f"/v1/aggregates/{SCHOOL}").json()
        return found

    def column() -> set[str]:
        text = client.get(f"/v1/aggregates/{SCHOOL}", params={"format": "csv"}).text
        return {row["stale"] for row in csv.DictReader(io.StringIO(text))}

    assert answer()["stale"] is True and answer()["complete"] is None
    assert column() == {"true"}
    assert client.get("/readyz").status_code == 200
    assert "scores_gateway_tables_stale 1.0" in client.get("/metrics").text
    worker.stand_at(30, catch_up=30)
    wait_until(lambda: "stale" not in answer(), what="whole figures")
    assert column() == {"false"} and answer()["complete"] is not None
    assert "scores_gateway_tables_stale 0.0" in client.get("/metrics").text


def test_partition_whose_tables_are_lost_makes_the_figures_stale_until_it_is_built_again(
    client: httpx.Client, worker: FakeWorker
) -> None:
    """One master of a cluster came back empty; the other partitions go on."""
    worker.stand_at(30, catch_up=30)
    worker.apply(SCHOOL, [scored(2400, 2)], partition=1)
    with stream(client, TOPIC) as reader:
        reader.until("put", lambda event: event.cells(SCHOOL)[ELA]["results"] == 2)
        worker.lose(1)
        lost = reader.until("put", lambda event: event.cells(SCHOOL)[ELA]["results"] == 1)
        assert is_stale(lost)
        worker.stand_at(0, catch_up=5, partition=1)
        worker.stand_at(5, catch_up=5, partition=1)
        worker.apply(SCHOOL, [scored(2400, 2)], partition=1)
        reader.until("progress", lambda event: not is_stale(event))
        shown: dict[str, int] = {}
        for event in reader.seen:
            if event.kind in ("put", "patch"):
                shown |= {name: cell["results"] for name, cell in event.cells(SCHOOL).items()}
        assert shown[ELA] == 2


def test_redis_that_lost_everything_is_filled_again_while_subscribers_are_told(tmp_path: Path) -> None:
    partitions = 2
    options = SeasonOptions(schools=8, results=2_000, rescores=0.2)
    with (
        redis_server() as server,
        Redis.from_url(server.url) as store,
        broker("embedded", partitions, tmp_path) as kafka,
    ):
        with running_worker(kafka, server.url, tmp_path) as first:
            run = run_season(
                kafka=kafka,
                redis_url=server.url,
                secret=SECRET.encode(),
                options=options,
                rate=0,
                stop=threading.Event(),
            )
            wait_for(lambda: sum(positions(store, partitions).values()) == run.produced, "all is applied")
            expected = run.recount.cells()
            school = next(
                name.cds for name, cell in expected.items() if name.cds in {s.cds for s in run.county.schools}
            )
            results = sum(cell.results for name, cell in expected.items() if name.cds == school)
            with gateway_process(server.url) as gateway, gateway.client("00000000000000") as client:
                with stream(client, f"school/{school}") as reader:
                    assert shown_results(reader.until("put")) == results
                    store.flushall()
                    assert first.wait(60), "the worker notices"
                    # It stops on the way until the gateway has looked.
                    with running_worker(kafka, server.url, tmp_path, SCORES_BATCH_RECORDS="4") as second:
                        wait_for(lambda: sum(positions(store, partitions).values()) > 0, "it has begun")
                        second.signal(signal.SIGSTOP)
                        reader.until("progress", is_stale)
                        second.signal(signal.SIGCONT)
                        put = reader.until("put")
                        assert shown_results(put) <= results
                        reader.until("progress", lambda event: event.data["complete"] and not is_stale(event))
                body = client.get(f"/v1/aggregates/{school}").json()
                assert "stale" not in body
                assert sum(cell["results"] for cell in body["organizations"][0]["cells"]) == results
        assert compare(expected, live_cells(server.url)) == []


def shown_results(put: Event) -> int:
    """How many results a put shows, of all tests and grades."""
    return sum(cell["results"] for one in put.data["organizations"] for cell in one["cells"])
