"""What befalls a Redis while a worker writes to it: each accident has its name, and the figures are exact afterwards."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
import stack
from lone_worker import SeasonLog, lone_worker
from redis import Redis
from redis.exceptions import OutOfMemoryError
from stack import live_cells, positions
from tcp_proxy import TcpProxy

import streams.connection
import streams.tables
from cli.simulator.options import SeasonOptions
from cli.simulator.production import SeasonRun, run_season
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from schemas import topics
from schemas.errors import BatchTooLarge, DependencyUnavailable, InvalidInput, TablesLost
from schemas.events import OrganizationEntry, encode_event
from schemas.identifiers import PartitionId
from schemas.keys import (
    ORGANIZATIONS,
    ORGANIZATIONS_POSITION,
    ORGANIZATIONS_VERSION,
    Generation,
    PartitionKeys,
)
from streams.accidents import Accident, Accidents
from streams.committed import committed_offsets
from streams.connection import check_store
from streams.directory import DirectoryStore
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.tables import Change, Claim, Tables


@pytest.fixture(scope="module")
def log() -> SeasonLog:
    return SeasonLog()


@pytest.fixture(params=["embedded", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    with stack.store(request.param) as running:
        yield running


@pytest.fixture
def proxy(server: EmbeddedRedis) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as running:
        yield running


def url_of(proxy: TcpProxy) -> str:
    return f"redis://{proxy.address}/0"


def assert_exact(log: SeasonLog, server_url: str, position: int | None = None) -> None:
    """The tables are the recount of the log up to ``position``, integer by integer."""
    assert compare(log.cells(position), live_cells(server_url)) == []


def stored_position(client: Redis) -> int:
    """The next offset, as Redis has it."""
    return positions(client, 1)[0]


def assert_exact_now(log: SeasonLog, server_url: str, client: Redis) -> int:
    """The same while somebody may be writing; returns the position at which it was found to be true."""
    while True:
        position = stored_position(client)
        found = live_cells(server_url)
        if stored_position(client) == position:
            assert compare(log.cells(position), found) == []
            return position


async def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.01)


# --- answers and connections that get lost -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_batch_whose_answer_got_lost_is_counted_once(
    log: SeasonLog, server: EmbeddedRedis, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script ran, and the connection broke before its answer: sent again, it finds its own position."""
    apply = streams.tables.Tables.apply

    async def losing(tables: Any, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        proxy.cut_before_answer()
        await apply(tables, keys, claim, change)

    async with lone_worker(log, url_of(proxy)) as worker:
        await worker.work(to=100)  # from here on Redis knows the script: the answer is that of the script
        monkeypatch.setattr(streams.tables.Tables, "apply", losing)
        await worker.work(batch_records=100)
        batches = -(-(len(log) - 100) // 100)
        assert worker.accidents(Accident.ANSWER_LOST) == batches
        assert worker.metrics.registry.get_sample_value("scores_claims_total") == 1
        assert worker.metrics.registry.get_sample_value("scores_batches_total") == batches + 2
    assert_exact(log, server.url)


@pytest.mark.anyio
async def test_connections_cut_again_and_again_lose_and_repeat_nothing(
    log: SeasonLog, server: EmbeddedRedis, proxy: TcpProxy
) -> None:
    async with lone_worker(log, url_of(proxy)) as worker:
        for end in range(20, len(log) + 20, 20):
            working = asyncio.create_task(worker.work(to=min(end, len(log)), batch_records=5))
            while not working.done():  # once at least, before it asks for anything, and then at any moment
                proxy.cut()
                await asyncio.sleep(0.015)
            await working
    assert proxy.connections > len(log) // 20
    assert_exact(log, server.url)


@pytest.mark.anyio
async def test_redis_that_hangs_for_longer_than_one_timeout_is_waited_for(
    log: SeasonLog, server: EmbeddedRedis, proxy: TcpProxy
) -> None:
    """With a budget of 6 s an answer may take 2 s; the connection stands still for longer, then everything arrives."""
    async with lone_worker(log, url_of(proxy), budget_seconds=6) as worker:
        await worker.work(to=100)
        proxy.pause()
        working = asyncio.create_task(worker.work())
        await until(lambda: worker.accidents(Accident.REDIS_AWAY) == 1, "the silence is noticed")
        proxy.resume()
        await working
    assert_exact(log, server.url)


@pytest.mark.anyio
async def test_redis_away_for_longer_than_the_budget_ends_the_work_with_the_remedy(
    log: SeasonLog, server: EmbeddedRedis, proxy: TcpProxy
) -> None:
    async with lone_worker(log, url_of(proxy), budget_seconds=1) as worker:
        await worker.work(to=100)
        proxy.refuse()
        with pytest.raises(DependencyUnavailable) as refusal:
            await worker.work()
        proxy.accept()
    message = str(refusal.value)
    assert f"Redis at redis://{proxy.address}/0" in message
    assert "within 1 s (SCORES_DEPENDENCY_BUDGET_SECONDS" in message
    assert "is SCORES_REDIS_URL right?" in message
    assert_exact(log, server.url, 100)


@pytest.mark.anyio
async def test_password_of_redis_is_not_in_the_message() -> None:
    metrics = Metrics()
    with pytest.raises(DependencyUnavailable) as refusal:
        await check_store("redis://somebody:hidden@127.0.0.1:1/0", 0.2, Accidents(metrics.accidents))
    assert "hidden" not in str(refusal.value) and "somebody" not in str(refusal.value)


# --- what Redis loses ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def kept_on_disk(kind: str, folder: Path) -> AsyncIterator[EmbeddedRedis]:
    settings = {"appendfsync": "always", "auto-aof-rewrite-percentage": "0"}
    with stack.store(kind, folder, settings) as running:
        yield running


def lose_tail(server: EmbeddedRedis, folder: Path, share_kept: float) -> None:
    """Kill the server, cut its append-only file, start it again: as if the end had never reached the disk."""
    server.kill()
    [file] = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    with file.open("rb+") as content:
        content.truncate(int(file.stat().st_size * share_kept))
    server.start()


@pytest.mark.parametrize("kind", ["embedded", "system"])
@pytest.mark.parametrize("noticed", ["by the next batch", "while nothing comes"])
@pytest.mark.anyio
async def test_tail_that_redis_lost_is_replayed(
    kind: str, noticed: str, log: SeasonLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept_on_disk(kind, tmp_path) as server, lone_worker(log, server.url) as worker:
        reached = 300 if noticed == "by the next batch" else len(log)
        await worker.work(to=reached, batch_records=20)
        assert_exact(log, server.url, reached)
        lose_tail(server, tmp_path, 0.7)
        with Redis.from_url(server.url) as client:
            left = stored_position(client)
            assert 0 < left < reached
        assert_exact(log, server.url, left)  # position and cells went back together
        if noticed == "while nothing comes":
            await worker.look()
        await worker.work(batch_records=20)
        assert worker.accidents(Accident.TABLES_ROLLED_BACK) == 1
        assert f"tables rolled back partition=0 from={reached} to={left}" in caplog.text
        assert_exact(log, server.url)


@pytest.mark.parametrize("noticed", ["by the next batch", "while nothing comes"])
@pytest.mark.anyio
async def test_tables_that_redis_lost_end_the_work_and_the_next_start_builds_them_again(
    noticed: str, log: SeasonLog, server: EmbeddedRedis
) -> None:
    async with lone_worker(log, server.url) as worker:
        await worker.work(to=100)
        with Redis.from_url(server.url) as client:
            client.flushall()
        with pytest.raises(TablesLost, match="Redis has lost the tables"):
            await (worker.work() if noticed == "by the next batch" else worker.look())
        assert worker.accidents(Accident.TABLES_LOST) == 1
    async with lone_worker(log, server.url) as worker:
        await worker.work()
    assert_exact(log, server.url)


class Topic:
    """The organizations topic, of one partition."""

    def __init__(self, names: list[str]) -> None:
        self.records = [
            stack_record(
                number, encode_event(OrganizationEntry(cds=f"99{number:012d}", kind="school", name=name))
            )
            for number, name in enumerate(names)
        ]

    def read(self, starts: Any) -> dict[int, list[Any]]:
        return {0: self.records[starts.get(0, 0) :]}


def stack_record(offset: int, value: bytes) -> Any:
    from lone_worker import LoggedRecord

    return LoggedRecord(b"", value, offset)


@pytest.mark.parametrize("noticed", ["by the next entry", "while nothing comes"])
@pytest.mark.parametrize("lost", ["all", "the tail"])
@pytest.mark.anyio
async def test_directory_that_redis_lost_is_read_again(
    noticed: str, lost: str, server: EmbeddedRedis
) -> None:
    topic = Topic(["Alder", "Birch", "Cedar", "Dogwood"])
    metrics = Metrics()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        store = DirectoryStore(client, "log-1", topic.read, Accidents(metrics.accidents))
        topic.records, to_come = topic.records[:3], topic.records[3:]
        await store.catch_up()
        assert await client.hlen(ORGANIZATIONS) == 3
        if lost == "all":
            await client.delete(ORGANIZATIONS, ORGANIZATIONS_VERSION, ORGANIZATIONS_POSITION)
        else:  # as it was after the first entry
            await client.hdel(ORGANIZATIONS, *[f"99{number:012d}" for number in (1, 2)])
            await client.set(ORGANIZATIONS_VERSION, 0)
            await client.hset(ORGANIZATIONS_POSITION, "0", 1)
        if noticed == "while nothing comes":
            await store.refresh()
            assert await client.hlen(ORGANIZATIONS) == 3
        topic.records += to_come
        await store.apply(Batch("organizations.v1", 0, 3, to_come))
        await store.refresh()
        assert await client.hlen(ORGANIZATIONS) == len(store.directory) == 4
    assert metrics.registry.get_sample_value("scores_accidents_total", {"kind": "directory_rolled_back"}) == 1


# --- failover of a single server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["embedded", "system"])
@pytest.mark.anyio
async def test_replica_that_is_promoted_takes_over_from_a_master_that_answers_read_only(
    kind: str, log: SeasonLog
) -> None:
    """The address leads to the old master until somebody moves it, as a proxy or a name does."""
    with ExitStack() as running:
        master, replica = (running.enter_context(stack.store(kind)) for _ in range(2))
        old, new = (running.enter_context(Redis.from_url(node.url)) for node in (master, replica))
        new.replicaof("127.0.0.1", master.port)
        proxy = running.enter_context(TcpProxy(master.port))
        async with lone_worker(log, url_of(proxy)) as worker:
            await worker.work(to=100)
            await until(lambda: new.info("replication")["master_link_status"] == "up", "the replica follows")
            old.wait(1, 5_000)
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", replica.port)
            working = asyncio.create_task(worker.work())
            await until(lambda: worker.accidents(Accident.REDIS_READ_ONLY) == 1, "the old master refuses")
            port = proxy.port
            proxy.close()
            running.enter_context(TcpProxy(replica.port, port=port))
            await working
        assert_exact(log, replica.url)


# --- memory -------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_batch_refused_for_want_of_memory_leaves_nothing_behind_and_goes_on_when_there_is_some(
    log: SeasonLog, server: EmbeddedRedis
) -> None:
    """Wherever the limit strikes, the tables are the recount of whole batches."""
    with Redis.from_url(server.url) as client:
        async with lone_worker(log, server.url) as worker:
            await worker.work(to=20, batch_records=10)
            working = asyncio.create_task(worker.work(batch_records=10))
            stops = 0

            def refused() -> float:
                return worker.accidents(Accident.REDIS_OUT_OF_MEMORY)

            def refused_again(before: float) -> Callable[[], bool]:
                return lambda: working.done() or refused() > before

            def beyond(position: int) -> Callable[[], bool]:
                return lambda: working.done() or stored_position(client) > position

            while not working.done() and stops < 8:
                before = refused()
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 8_000 * (stops + 1))
                stops += 1
                await until(refused_again(before), "memory runs out")
                position = assert_exact_now(log, server.url, client)
                client.config_set("maxmemory", 0)
                await until(beyond(position), "it goes on")
            await working
            assert refused() >= 3
    assert_exact(log, server.url)


@pytest.mark.anyio
async def test_batch_is_written_whole_or_not_at_all_wherever_memory_ends(server: EmbeddedRedis) -> None:
    """Redis looks at its memory before a script writes, and not again before the script ends."""
    keys = PartitionKeys(Generation("g1"), PartitionId(0))
    rows = {number.to_bytes(16): bytes(500) for number in range(2_000)}
    refused = 0
    async with redis.asyncio.Redis.from_url(server.url) as client:
        tables = Tables(client, "worker-1", "log-1")
        claim = await tables.claim(keys)
        used = int((await client.info("memory"))["used_memory"])
        for limit in range(used, used + 8_000_000, 25_000):
            await client.config_set("maxmemory", limit)
            try:
                await tables.apply(keys, claim, Change(5, 0, rows, ()))
            except OutOfMemoryError:
                refused += 1
                assert await tables.read_rows(keys, rows) == {}
                assert await client.hget(keys.position, "next") is None
                continue
            assert await tables.read_rows(keys, rows) == rows
            assert await client.hget(keys.position, "next") == b"5"
            break
    assert refused > 3


@pytest.mark.anyio
async def test_redis_without_memory_for_longer_than_the_budget_ends_the_work_with_the_remedy(
    log: SeasonLog, server: EmbeddedRedis
) -> None:
    async with lone_worker(log, server.url, budget_seconds=0.5) as worker:
        await worker.work(to=100)
        with Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(DependencyUnavailable, match=r"raise its maxmemory(.|\n)*Nothing is lost"):
                await worker.work()
            assert worker.accidents(Accident.REDIS_OUT_OF_MEMORY) == 1
            client.config_set("maxmemory", "0")
            assert_exact(log, server.url, 100)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
@pytest.mark.anyio
async def test_redis_that_would_evict_cells_is_refused(policy: str, server: EmbeddedRedis) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", policy)
    with pytest.raises(InvalidInput, match=f"maxmemory-policy {policy}(.|\n)*set it to noeviction"):
        await check_store(server.url, 5, Accidents(Metrics().accidents))


@pytest.mark.anyio
async def test_redis_that_does_not_say_its_policy_is_believed(
    server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    await check_store(server.url, 5, Accidents(Metrics().accidents))
    assert "must not evict keys" in caplog.text


# --- batches too large for one script -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["arguments", "bytes"])
@pytest.mark.anyio
async def test_batch_too_large_for_one_script_is_applied_in_parts(
    limit: str, log: SeasonLog, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "arguments":
        monkeypatch.setattr(streams.tables, "LARGEST_ARGUMENTS", 400)
    else:
        monkeypatch.setattr(streams.connection, "LARGEST_SCRIPT_BYTES", 12_000)
    async with lone_worker(log, server.url) as worker:
        await worker.work(to=200, batch_records=200)
        assert worker.accidents(Accident.BATCH_SPLIT) > 1
        assert_exact(log, server.url, 200)
        await worker.work(batch_records=10)
        [counted] = worker.metrics.events.collect()
    assert_exact(log, server.url)
    assert sum(sample.value for sample in counted.samples if sample.name == "scores_events_total") == len(log)


@pytest.mark.anyio
async def test_single_result_too_large_for_one_script_stops_the_work(
    log: SeasonLog, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.tables, "LARGEST_ARGUMENTS", 10)
    async with lone_worker(log, server.url) as worker:
        with pytest.raises(BatchTooLarge):
            await worker.work(batch_records=4)
    assert live_cells(server.url) == {}


# --- the worker as a process --------------------------------------------------------------------------------------------

PARTITIONS = 2


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({topic.name: topic.partitions for topic in topics.topics(PARTITIONS)}) as broker:
        yield broker


def produce_season(kafka: EmbeddedKafka, redis_url: str, results: int = 400) -> SeasonRun:
    return run_season(
        kafka=kafka.bootstrap_servers,
        redis_url=redis_url,
        secret=stack.SECRET.encode(),
        options=SeasonOptions(schools=6, results=results),
        rate=0,
        stop=threading.Event(),
    )


def wait_until_applied(redis_url: str, run: SeasonRun) -> None:
    with Redis.from_url(redis_url) as client:
        stack.wait_for(
            lambda: sum(positions(client, PARTITIONS).values()) == run.produced,
            "all events are applied",
        )
    assert compare(run.recount.cells(), live_cells(redis_url)) == []


def accidents_of(port: int, kind: Accident) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return next(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(f'scores_accidents_total{{kind="{kind.label}"}}')
    )


def test_worker_waits_for_a_redis_that_is_killed_or_stopped_and_goes_on(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """With a budget of 9 s an answer may take 3 s; a Redis that is stopped takes longer."""
    folder = tmp_path / "redis"
    port = free_port()
    with (
        stack.store("embedded", folder, {"appendfsync": "always"}) as server,
        stack.running_worker(
            kafka.bootstrap_servers,
            server.url,
            tmp_path,
            SCORES_DEPENDENCY_BUDGET_SECONDS="9",
            SCORES_STREAMS_METRICS_PORT=str(port),
        ) as worker,
    ):
        wait_until_applied(server.url, produce_season(kafka, server.url))
        server.kill()
        stack.wait_for(lambda: accidents_of(port, Accident.REDIS_AWAY) == 1, "the worker misses it")
        server.start()
        stack.wait_for(lambda: "redis serves again" in worker.log.read_text(), "the worker goes on")
        server.signal(signal.SIGSTOP)
        stack.wait_for(lambda: accidents_of(port, Accident.REDIS_AWAY) == 2, "the worker misses it again")
        server.signal(signal.SIGCONT)
        run = produce_season(kafka, server.url)  # the same season: every event is a duplicate
        with Redis.from_url(server.url) as client:
            stack.wait_for(
                lambda: sum(positions(client, PARTITIONS).values()) == 2 * run.produced,
                "all are applied",
            )
        assert compare(run.recount.cells(), live_cells(server.url)) == []
        assert worker.running, worker.last_lines()
        assert accidents_of(port, Accident.TABLES_ROLLED_BACK) == 0


@pytest.mark.parametrize("away", ["from the start", "in the middle"])
def test_worker_ends_with_the_remedy_when_redis_stays_away_longer_than_the_budget(
    away: str, kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    with stack.store("embedded") as server:
        url = server.url
        if away == "from the start":
            server.kill()
        with stack.running_worker(
            kafka.bootstrap_servers, url, tmp_path, SCORES_DEPENDENCY_BUDGET_SECONDS="4"
        ) as worker:
            if away == "in the middle":
                wait_until_applied(url, produce_season(kafka, url))
                server.kill()
            assert worker.wait(60), "it gives up"
            said = worker.log.read_text()
            assert worker.exit_status == 1, said
            assert f"Redis at {url} did not serve us within 4 s (SCORES_DEPENDENCY_BUDGET_SECONDS" in said
            assert "is SCORES_REDIS_URL right?" in said


def test_worker_that_finds_tables_lost_while_nothing_comes_ends_and_the_next_builds_them_again(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """The second one names the loss, too: Kafka remembers that there were tables, and its metrics stay to be read."""
    port = free_port()
    commits = {"SCORES_COMMIT_SECONDS": "0.2", "SCORES_STREAMS_METRICS_PORT": str(port)}
    with stack.store("embedded") as server:
        with stack.running_worker(kafka.bootstrap_servers, server.url, tmp_path, **commits) as worker:
            run = produce_season(kafka, server.url)
            wait_until_applied(server.url, run)
            stack.wait_for(lambda: len(committed(kafka)) == PARTITIONS, "Kafka has heard of it")
            with Redis.from_url(server.url) as client:
                client.flushall()
            assert worker.wait(60), "it ends"
            assert (
                worker.exit_status == 1 and "tables lost, built again from the log" in worker.log.read_text()
            )
        with stack.running_worker(kafka.bootstrap_servers, server.url, tmp_path, **commits):
            wait_until_applied(server.url, run)
            assert accidents_of(port, Accident.TABLES_LOST) == PARTITIONS


def committed(kafka: EmbeddedKafka) -> dict[int, int]:
    return asyncio.run(committed_offsets(kafka.bootstrap_servers, "score-streams", range(PARTITIONS)))


def test_worker_refuses_a_redis_that_evicts(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    with (
        stack.store("embedded", None, {"maxmemory-policy": "allkeys-lru"}) as server,
        stack.running_worker(kafka.bootstrap_servers, server.url, tmp_path) as worker,
    ):
        assert worker.wait(60), "it ends"
        assert worker.exit_status == 2 and "set it to noeviction" in worker.log.read_text()
