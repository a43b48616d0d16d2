"""The same worker against a Redis Cluster of three masters: exact through failovers, also those that lose writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx
import pytest
import stack
from lone_worker import SeasonLog, lone_worker
from redis import Redis
from redis.asyncio import RedisCluster
from stack import SECRET, live_cells, positions, running_worker, wait_for

from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.child import Child
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.ports import free_port
from cli.stack.redis_cluster import EmbeddedRedisCluster
from cli.stack.redis_server import EmbeddedRedis
from cli.stores import opened_store
from cli.verify import compare
from schemas import topics
from schemas.errors import DependencyUnavailable, Fenced, InvalidInput, PositionMoved
from schemas.identifiers import PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys
from streams.accidents import Accident, Accidents
from streams.connection import PackingConnection, check_store, connect
from streams.metrics import Metrics
from streams.tables import Change, Claim, Tables

PARTITIONS = 6  # with three masters, none is without a partition for long


@pytest.fixture(scope="module", params=["embedded", "system"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cluster(kind: str) -> Iterator[EmbeddedRedisCluster]:
    with EmbeddedRedisCluster(binary=stack.redis_binary(kind)) as running:
        yield running


@pytest.fixture(scope="module")
def log() -> SeasonLog:
    return SeasonLog()


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}) as broker:
        yield broker


class Season:
    """A season on its way through Kafka, in a thread."""

    def __init__(self, kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, rate: float = 0) -> None:
        self._kafka = kafka
        self._cluster = cluster
        pool = ThreadPoolExecutor(1)
        self._run: Future[SeasonRun] = pool.submit(self._produce, rate)
        pool.shutdown(wait=False)

    def _produce(self, rate: float) -> SeasonRun:
        return run_season(
            kafka=self._kafka.bootstrap_servers,
            redis_url=self._cluster.url,
            secret=SECRET.encode(),
            options=SeasonOptions(schools=16, results=1_500, rescores=0.2, resets=0.05, moves=0.1),
            rate=rate,
            stop=threading.Event(),
        )

    def applied(self) -> int:
        """Records of all partitions, as the tables have it; -1 while some cannot be asked."""
        with suppress(DependencyUnavailable), opened_store(self._cluster.url) as store:
            return sum(positions(store, PARTITIONS).values())
        return -1

    def wait_until_applied_and_compare(self) -> None:
        run = self._run.result()
        wait_for(lambda: self.applied() == run.produced, "all events are applied", 60)
        assert compare(run.recount.cells(), live_cells(self._cluster.url)) == []


def worker_on(
    kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, folder: Path, **more: str
) -> AbstractContextManager[Child]:
    return running_worker(kafka.bootstrap_servers, cluster.url, folder, SCORES_REDIS_CLUSTER="yes", **more)


def master_of_a_partition(cluster: EmbeddedRedisCluster, number: int = 0) -> EmbeddedRedis:
    with opened_store(cluster.url) as store:
        generation = Generation(store.get(GENERATION).decode())  # type: ignore[union-attr]  # the blocking client
    return cluster.master_of(PartitionKeys(generation, PartitionId(number)).position)


def accidents(port: int, kind: Accident) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    [line] = [
        line
        for line in text.splitlines()
        if line.startswith(f'scores_accidents_total{{kind="{kind.label}"}}')
    ]
    return float(line.split()[-1])


def test_season_on_a_cluster_equals_its_recount(
    kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, tmp_path: Path
) -> None:
    with worker_on(kafka, cluster, tmp_path) as worker:
        season = Season(kafka, cluster)
        season.wait_until_applied_and_compare()
        assert worker.running, worker.last_lines()
    masters = {master_of_a_partition(cluster, number).port for number in range(PARTITIONS)}
    assert len(masters) > 1, "the partitions are spread over the masters"


def test_worker_goes_on_by_itself_when_a_master_is_killed_and_its_replica_elected(
    kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, tmp_path: Path
) -> None:
    with worker_on(kafka, cluster, tmp_path) as worker:
        season = Season(kafka, cluster, rate=250)
        wait_for(lambda: season.applied() > 200, "some progress")
        master = master_of_a_partition(cluster)
        replica = cluster.replica_of(master)
        master.kill()
        cluster.wait_for_failover(replica)
        season.wait_until_applied_and_compare()
        assert worker.running, worker.last_lines()


def test_worker_goes_on_by_itself_when_a_frozen_master_loses_its_place_and_wakes_up(
    kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, tmp_path: Path
) -> None:
    with worker_on(kafka, cluster, tmp_path, SCORES_DEPENDENCY_BUDGET_SECONDS="12") as worker:
        season = Season(kafka, cluster, rate=250)
        wait_for(lambda: season.applied() > 200, "some progress")
        master = master_of_a_partition(cluster)
        replica = cluster.replica_of(master)
        cluster.freeze(master)
        cluster.wait_for_failover(replica)
        cluster.thaw(master)
        season.wait_until_applied_and_compare()
        assert worker.running, worker.last_lines()


@pytest.mark.parametrize("noticed", ["by the next batch", "while nothing comes"])
def test_writes_that_a_failover_lost_are_replayed_and_the_loss_is_named(
    noticed: str, kafka: EmbeddedKafka, cluster: EmbeddedRedisCluster, tmp_path: Path
) -> None:
    """The replica has been cut off for a while and takes over by force: everything since is gone, all of it together."""
    port = free_port()
    with worker_on(kafka, cluster, tmp_path, SCORES_STREAMS_METRICS_PORT=str(port)) as worker:
        season = Season(kafka, cluster, rate=300)
        wait_for(lambda: season.applied() > 200, "some progress")
        master = master_of_a_partition(cluster)
        replica = cluster.replica_of(master)
        cluster.stop_replication(master)
        before = season.applied()
        if noticed == "by the next batch":
            wait_for(lambda: season.applied() > before + 100, "more is applied that the replica does not get")
        else:
            season.wait_until_applied_and_compare()
        master.kill()
        cluster.take_over(replica)
        wait_for(lambda: "tables rolled back partition=" in worker.log.read_text(), "the loss is noticed")
        season.wait_until_applied_and_compare()
        assert worker.running, worker.last_lines()
        assert accidents(port, Accident.TABLES_ROLLED_BACK) >= 1


# --- guards -------------------------------------------------------------------------------------------------------------


def change(to: int) -> Change:
    """A batch in which nothing was to be counted."""
    return Change(to, 0, {}, ())


@pytest.mark.anyio
async def test_guards_hold_on_every_master_and_after_a_failover(cluster: EmbeddedRedisCluster) -> None:
    """A replica that is elected has never seen our scripts; they are loaded, and they refuse as before."""
    redis = connect(cluster.url, 20, Accidents(Metrics().accidents), cluster=True)
    tables = Tables(redis, "worker-1", "log-1")
    names = [PartitionKeys(Generation("g1"), PartitionId(number)) for number in range(PARTITIONS)]

    async def refused(keys: PartitionKeys, zombie: Claim, claim: Claim) -> None:
        with pytest.raises(Fenced):
            await tables.apply(keys, zombie, change(9))
        with pytest.raises(PositionMoved, match="is at 5; the batch starts at 4"):
            await tables.apply(keys, Claim(claim.epoch, 4), change(9))

    claims: dict[int, tuple[Claim, Claim]] = {}
    for number, keys in enumerate(names):
        zombie, claim = await tables.claim(keys), await tables.claim(keys)
        await tables.apply(keys, claim, change(5))
        claims[number] = zombie, claim
        await refused(keys, zombie, claim)
    masters = {cluster.master_of(keys.position).port for keys in names}
    assert len(masters) == 3
    lost = cluster.master_of(names[0].position)
    replica = cluster.replica_of(lost)
    with Redis.from_url(lost.url) as client:
        assert client.wait(1, 5_000) == 1  # not what is tested here: the replica has everything
    lost.kill()
    cluster.wait_for_failover(replica)
    for number, keys in enumerate(names):
        zombie, claim = claims[number]
        await refused(keys, zombie, claim)
        await tables.apply(keys, Claim(claim.epoch, 5), change(6))
    await redis.aclose()


@pytest.mark.anyio
async def test_engine_on_a_cluster_is_exact_while_its_master_fails(
    cluster: EmbeddedRedisCluster, log: SeasonLog
) -> None:
    async with lone_worker(log, cluster.url, cluster=True) as worker:
        assert isinstance(worker.redis, RedisCluster)
        await worker.work(to=100)
        used = [node for node in worker.redis.get_nodes() if node._connections]
        assert {type(connection) for node in used for connection in node._connections} == {PackingConnection}
        master = cluster.master_of(worker.keys.position)
        master.kill()
        await worker.work(batch_records=20)
        assert worker.accidents(Accident.REDIS_AWAY) == 1
    assert compare(log.cells(), live_cells(cluster.url)) == []


@pytest.mark.anyio
async def test_wrong_setting_for_the_cluster_is_named(cluster: EmbeddedRedisCluster) -> None:
    accidents = Accidents(Metrics().accidents)
    with pytest.raises(InvalidInput, match="set SCORES_REDIS_CLUSTER to yes"):
        await check_store(cluster.url, 5, accidents)
    with EmbeddedRedis() as single, pytest.raises(InvalidInput, match="set SCORES_REDIS_CLUSTER to no"):
        await check_store(single.url, 5, accidents, cluster=True)
    await check_store(cluster.url, 5, accidents, cluster=True)
    with Redis.from_url(cluster.nodes[1].url) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
    with pytest.raises(InvalidInput, match="maxmemory-policy allkeys-lfu"):
        await check_store(cluster.url, 5, accidents, cluster=True)
