"""A stream from a Redis Cluster shows what one from a single server would, also while a master is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from integration.gateway_fixtures import Event, EventReader, gateway_process, stream
from stack import SECRET, live_cells, positions, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_cluster import EmbeddedRedisCluster
from cli.stores import opened_store
from schemas import topics
from schemas.errors import DependencyUnavailable
from schemas.identifiers import STATE, PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys

_PARTITIONS = 6
_CLUSTER = {"SCORES_REDIS_CLUSTER": "yes"}


@pytest.fixture
def cluster() -> Iterator[EmbeddedRedisCluster]:
    with EmbeddedRedisCluster() as running:
        yield running


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics.topics(_PARTITIONS)}) as broker:
        yield broker


class Watcher(threading.Thread):
    """Applies what a stream brings, as a subscriber does."""

    def __init__(self, reader: EventReader) -> None:
        super().__init__(daemon=True)
        self.results: dict[str, int] = {}
        self.went_back: list[str] = []
        self._versions: dict[str, int] = {}
        self._reader = reader

    def shown(self) -> dict[str, int]:
        """Results by cell; cells without any are gone."""
        return {name: count for name, count in self.results.copy().items() if count}

    def run(self) -> None:
        with contextlib.suppress(httpx.HTTPError):  # the test ends before the stream does
            while (event := self._reader.next()) is not None:
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.kind not in ("put", "patch"):
            return
        for name, cell in event.cells(STATE).items():
            if cell["version"] < self._versions.get(name, 0):
                self.went_back.append(name)
            self._versions[name] = cell["version"]
            self.results[name] = cell["results"]


def produced(kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, seed: int) -> SeasonRun:
    return run_season(
        kafka=kafka.bootstrap_servers,
        redis_url=cluster.url,
        secret=SECRET.encode(),
        options=SeasonOptions(schools=8, results=600, rescores=0.2, resets=0.05, moves=0.1, seed=seed),
        rate=0,
        stop=threading.Event(),
    )


def applied(cluster: EmbeddedRedisCluster) -> int:
    try:
        with opened_store(cluster.url) as store:
            return sum(positions(store, _PARTITIONS).values())
    except DependencyUnavailable:
        return -1


def test_stream_from_a_cluster_stays_open_and_right_while_a_master_is_lost(
    kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, tmp_path: Path
) -> None:
    with running_worker(kafka.bootstrap_servers, cluster.url, tmp_path, **_CLUSTER):
        before = produced(kafka, cluster, seed=1)
        wait_for(lambda: applied(cluster) == before.produced, "the first season is applied", 60)
        with gateway_process(cluster.url, **_CLUSTER) as gateway, gateway.client(STATE) as client:
            wait_for(lambda: client.get("/v1/organizations").json()["organizations"], "the directory is read")
            with stream(client, f"state/{STATE}") as reader:
                watcher = Watcher(reader)
                watcher.start()
                wait_for(lambda: sum(watcher.results.values()) > 0, "the first figures")
                with opened_store(cluster.url) as store:
                    generation = Generation(store.get(GENERATION).decode())  # type: ignore[union-attr]
                master = cluster.master_of(PartitionKeys(generation, PartitionId(0)).position)
                replica = cluster.replica_of(master)
                master.kill()
                cluster.wait_for_failover(replica)
                more = produced(kafka, cluster, seed=2)
                total = before.produced + more.produced
                wait_for(lambda: applied(cluster) == total, "the second season is applied", 60)
                wanted = {
                    name.cell: cell.results
                    for name, cell in live_cells(cluster.url).items()
                    if name.cds == STATE and cell.results
                }
                wait_for(lambda: watcher.shown() == wanted, "the stream shows what the tables have", 60)
                assert watcher.is_alive(), "the stream has stayed open"
                assert not watcher.went_back
