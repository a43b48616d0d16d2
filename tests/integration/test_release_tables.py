"""Release states in Redis: from their topic, told to who listens, and read again when they are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack

import pytest
import redis.asyncio
from lone_worker import LoggedRecord
from redis import Redis

from cli.stack.redis_cluster import EmbeddedRedisCluster
from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import LogReplaced
from schemas.events import encode_event
from schemas.identifiers import OrganizationId
from schemas.keys import (
    RELEASES,
    RELEASES_CHANGED_MS,
    RELEASES_CHANNEL,
    RELEASES_POSITION,
    RELEASES_VERSION,
)
from schemas.releases import ReleaseKey, Releases, ReleaseState, Report, release_entry, releases_from
from schemas.topics import RELEASES as TOPIC
from streams.accidents import Accidents
from streams.connection import connect
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reference import ReferenceStore
from streams.releases import RELEASE_STATES

LOADING, REVIEWING, RELEASED = ReleaseState
DISTRICTS = [OrganizationId(f"1999{number:03d}0000000") for number in range(1, 5)]


class ReleaseLog:
    """The releases topic, which has one partition."""

    def __init__(self) -> None:
        self.records: list[LoggedRecord] = []

    def add(self, district: OrganizationId, state: ReleaseState, *, under: str | None = None) -> Batch:
        """One more record, and the batch that a worker reads of it."""
        key = ReleaseKey(2026, district, "Math", Report.AGGREGATE)
        value = encode_event(release_entry(key, state))
        record = LoggedRecord((under or key.path).encode(), value, len(self.records))
        self.records.append(record)
        return Batch(TOPIC, 0, record.offset, [record])

    def read(self, starts: Mapping[int, int]) -> Mapping[int, Sequence[LoggedRecord]]:
        return {0: self.records[starts.get(0, 0) :]}


@pytest.fixture
def log() -> ReleaseLog:
    return ReleaseLog()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url) as made:
        yield made


def keeper(
    client: redis.asyncio.Redis, log: ReleaseLog, metrics: Metrics, identity: str = "log-1"
) -> ReferenceStore:
    return ReferenceStore(RELEASE_STATES, client, identity, log.read, Accidents(metrics.accidents))


def stored(store: Redis) -> Releases | None:
    """What a gateway would read; None when nothing says that the topic was read."""
    version = store.get(RELEASES_VERSION)
    if version is None:
        return None
    return releases_from(
        store.hgetall(RELEASES),
        version=int(version),
        changed_ms=int(store.get(RELEASES_CHANGED_MS) or 0),
        unlisted=LOADING,
    )


def states(store: Redis) -> list[ReleaseState]:
    found = stored(store)
    assert found is not None
    return [found.state(2026, district, "Math") for district in DISTRICTS]


@pytest.mark.anyio
async def test_states_of_the_topic_are_in_redis_with_a_version_and_a_time(
    log: ReleaseLog, client: redis.asyncio.Redis, store: Redis, metrics: Metrics
) -> None:
    log.add(DISTRICTS[0], REVIEWING)
    log.add(DISTRICTS[1], REVIEWING)
    log.add(DISTRICTS[1], RELEASED)
    await keeper(client, log, metrics).catch_up()
    assert states(store) == [REVIEWING, RELEASED, LOADING, LOADING]
    found = stored(store)
    assert found is not None
    seconds, _ = store.time()
    assert abs(found.changed_ms / 1000 - seconds) < 60
    assert found.version // 1000 >= found.changed_ms


@pytest.mark.anyio
async def test_each_change_grows_the_version_and_is_told_to_who_listens(
    log: ReleaseLog, client: redis.asyncio.Redis, store: Redis, metrics: Metrics
) -> None:
    table = keeper(client, log, metrics)
    await table.catch_up()
    with store.pubsub() as heard:
        heard.subscribe(RELEASES_CHANNEL)
        assert heard.get_message(timeout=60)  # subscribed
        versions = [stored(store)]
        for state in (REVIEWING, RELEASED, REVIEWING):
            await table.apply(log.add(DISTRICTS[0], state))
            versions.append(stored(store))
            message = heard.get_message(timeout=60)
            assert message is not None
            assert int(message["data"]) == int(store.get(RELEASES_VERSION) or 0)
    numbers = [found.version for found in versions if found is not None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 4


@pytest.mark.anyio
async def test_a_topic_without_entries_is_told_from_one_that_was_not_read(
    log: ReleaseLog, client: redis.asyncio.Redis, store: Redis, metrics: Metrics
) -> None:
    assert stored(store) is None
    await keeper(client, log, metrics).catch_up()
    found = stored(store)
    assert found is not None
    assert len(found) == 0
    await keeper(client, log, metrics).catch_up()  # another worker
    again = stored(store)
    assert again is not None
    assert again.version == found.version


@pytest.mark.parametrize("noticed", ["by the next change", "while nothing changes"])
@pytest.mark.parametrize("lost", ["all", "the tail"])
@pytest.mark.anyio
async def test_states_that_redis_lost_are_read_again_and_none_is_missing_meanwhile(
    noticed: str,
    lost: str,
    log: ReleaseLog,
    client: redis.asyncio.Redis,
    store: Redis,
    metrics: Metrics,
) -> None:
    for district in DISTRICTS[:3]:
        log.add(district, RELEASED)
    table = keeper(client, log, metrics)
    await table.catch_up()
    before = stored(store)
    assert before is not None
    if lost == "all":
        store.delete(RELEASES, RELEASES_VERSION, RELEASES_CHANGED_MS, RELEASES_POSITION)
        assert stored(store) is None  # not: everything is as what is unlisted
    else:
        store.hdel(RELEASES, f"2026/{DISTRICTS[1]}/Math/aggregate", f"2026/{DISTRICTS[2]}/Math/aggregate")
        store.set(RELEASES_VERSION, before.version - 1)
        store.hset(RELEASES_POSITION, "0", 1)
    if noticed == "while nothing changes":
        await table.refresh()
        assert states(store) == [RELEASED, RELEASED, RELEASED, LOADING]
    await table.apply(log.add(DISTRICTS[3], REVIEWING))
    assert states(store) == [RELEASED, RELEASED, RELEASED, REVIEWING]
    after = stored(store)
    assert after is not None
    assert after.version > before.version
    assert metrics.registry.get_sample_value("scores_accidents_total", {"kind": "releases_rolled_back"}) == 1


@pytest.mark.anyio
async def test_a_topic_that_was_created_again_is_refused_with_the_remedy(
    log: ReleaseLog, client: redis.asyncio.Redis, store: Redis, metrics: Metrics
) -> None:
    log.add(DISTRICTS[0], REVIEWING)
    await keeper(client, log, metrics).catch_up()
    with pytest.raises(LogReplaced, match=r"Delete \{releases\}:position in Redis"):
        await keeper(client, ReleaseLog(), metrics, "log-2").catch_up()
    assert states(store)[0] is REVIEWING
    store.delete(RELEASES_POSITION)
    await keeper(client, ReleaseLog(), metrics, "log-2").catch_up()


@pytest.mark.anyio
async def test_what_is_no_release_state_is_passed_over_and_the_next_is_applied(
    log: ReleaseLog, client: redis.asyncio.Redis, store: Redis, metrics: Metrics
) -> None:
    table = keeper(client, log, metrics)
    log.add(
        DISTRICTS[0], RELEASED, under="2026/19990020000000/Math/aggregate"
    )  # it would outlive its successor
    for value in (
        None,
        b"",
        b"released",
        b'{"school_year":2026,"district":"19990010000101","subject":"Math","report":"aggregate","state":"released"}',
        b'{"school_year":2026,"district":"19990010000000","subject":"Math","report":"aggregate","state":"open"}',
        b'{"school_year":2026,"district":"19990010000000","subject":"Art","report":"aggregate","state":"released"}',
        b"[" * 5_000,
    ):
        key = b"2026/19990010000000/Math/aggregate"
        log.records.append(LoggedRecord(key, value, len(log.records)))  # type: ignore[arg-type]  # a tombstone among them
    log.add(DISTRICTS[1], REVIEWING)
    await table.catch_up()
    assert states(store) == [LOADING, REVIEWING, LOADING, LOADING]


@pytest.mark.anyio
async def test_on_a_cluster_a_change_is_told_on_every_node(log: ReleaseLog, metrics: Metrics) -> None:
    with EmbeddedRedisCluster() as cluster, ExitStack() as listening:
        client = connect(cluster.url, 20, Accidents(metrics.accidents), cluster=True)
        try:
            table = ReferenceStore(RELEASE_STATES, client, "log-1", log.read, Accidents(metrics.accidents))
            await table.catch_up()
            ears = []
            for node in cluster.nodes:
                redis_node = listening.enter_context(Redis.from_url(node.url))
                heard = listening.enter_context(redis_node.pubsub())
                heard.subscribe(RELEASES_CHANNEL)
                assert heard.get_message(timeout=60)  # subscribed
                ears.append(heard)
            await table.apply(log.add(DISTRICTS[0], REVIEWING))
            version = await client.get(RELEASES_VERSION)
            assert await client.hlen(RELEASES) == 1
            for heard in ears:
                message = heard.get_message(timeout=60)
                assert message is not None
                assert message["data"] == version
        finally:
            await client.aclose()
