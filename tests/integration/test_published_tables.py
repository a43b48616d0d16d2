"""The published tables in Redis: one step a family, one publisher, and every change told. The fake of the tests does alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from fake_publishing import MemoryPublished
from redis import Redis
from redis.asyncio import RedisCluster

from cli.stack.redis_cluster import EmbeddedRedisCluster
from cli.stack.redis_server import EmbeddedRedis
from gateway.publisher.publication import Publication
from gateway.publisher.tables import Claim, PublishedStore, PublishedTables
from gateway.redis_connection import RedisClient, connect
from gateway.tables import PUBLISHED_NOTICES, Tables
from schemas.aggregates import CellField
from schemas.changes import decode_changes
from schemas.disclosure.held import Held
from schemas.errors import Fenced, TablesLost
from schemas.identifiers import STATE, OrganizationId
from schemas.keys import PUBLISHED_FAMILIES, PUBLISHED_POSITION
from schemas.releases import ReleaseState

pytestmark = pytest.mark.anyio

ELA = CellField("2026:ELA-SUM:03")
SCHOOL = OrganizationId("19990010000101")
SECOND_SCHOOL = OrganizationId("19990010000102")
TWENTY = Held((0, 10, 10), 49_000)
FORTY = Held((0, 20, 20), 98_000)


def publication(
    cells: dict[OrganizationId, Held | None], *gone: OrganizationId, family: bytes = b"state"
) -> Publication:
    return Publication(ELA, family, cells, gone)


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def redis(running: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = connect(running.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def published(redis: RedisClient) -> PublishedTables:
    return PublishedTables(redis, "the tests")


@pytest.fixture
def tables(redis: RedisClient) -> Tables:
    return Tables(redis, unlisted=ReleaseState.RELEASED)


@pytest.fixture(scope="module")
def nodes() -> Iterator[EmbeddedRedisCluster]:
    with EmbeddedRedisCluster() as cluster:
        yield cluster


@pytest.fixture(params=["fake", "redis", "cluster"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[PublishedStore]:
    if request.param == "fake":
        yield MemoryPublished()
        return
    is_cluster = request.param == "cluster"
    server = request.getfixturevalue("nodes" if is_cluster else "running")
    client = connect(server.url, cluster=is_cluster)
    if is_cluster:
        await client.flushall(target_nodes=RedisCluster.PRIMARIES)
    else:
        await client.flushall()
    yield PublishedTables(client, "the tests")
    await client.aclose()


async def families(store: PublishedStore) -> dict[CellField, bytes]:
    return {name: packed async for name, packed in store.families()}


async def test_state_of_a_family_is_there_for_the_next_publisher(either: PublishedStore) -> None:
    claim = await either.claim()
    claim = await either.publish(claim, publication({SCHOOL: TWENTY}, family=b"first"))
    claim = await either.publish(claim, publication({}, family=b"second"))
    assert await families(either) == {ELA: b"second"}
    assert (await either.claim()).number == claim.number


async def test_publisher_that_was_replaced_writes_nothing_and_is_told(either: PublishedStore) -> None:
    first = await either.publish(await either.claim(), publication({}, family=b"first"))
    second = await either.claim()
    with pytest.raises(Fenced):
        await either.check(first)
    with pytest.raises(Fenced):
        await either.publish(first, publication({SCHOOL: TWENTY}, family=b"of the first"))
    assert await families(either) == {ELA: b"first"}
    await either.check(second)


async def test_write_that_is_sent_again_is_done_once(either: PublishedStore) -> None:
    claim = await either.claim()
    once = await either.publish(claim, publication({SCHOOL: TWENTY}))
    again = await either.publish(claim, publication({SCHOOL: TWENTY}))
    assert once == again
    await either.check(again)


async def test_claim_of_before_a_loss_is_recognized(either: PublishedStore) -> None:
    claim = await either.publish(await either.claim(), publication({SCHOOL: TWENTY}))
    with pytest.raises(TablesLost):
        await either.check(Claim(claim.epoch, claim.number + 2))
    with pytest.raises(TablesLost):
        await either.publish(Claim(claim.epoch, claim.number + 2), publication({}))


async def heard_ms(redis: RedisClient) -> int:
    return int(await redis.hget(PUBLISHED_POSITION, "heard_ms") or 0)


async def test_publisher_that_holds_the_claim_is_heard_once_a_second(
    published: PublishedTables, redis: RedisClient
) -> None:
    claim = await published.claim()
    assert await heard_ms(redis) == 0
    known_ms = await published.check(claim)
    assert await heard_ms(redis) == known_ms
    for _ in range(20):
        now_ms = await published.check(claim)
        known_ms = known_ms if now_ms - known_ms < 1_000 else now_ms
        assert await heard_ms(redis) == known_ms
    for wrong_ms in (known_ms - 60_000, known_ms + 3_600_000):
        await redis.hset(PUBLISHED_POSITION, "heard_ms", wrong_ms)
        now_ms = await published.check(claim)
        assert await heard_ms(redis) == now_ms


async def test_publisher_that_was_replaced_or_has_lost_its_tables_is_not_heard(
    published: PublishedTables, redis: RedisClient
) -> None:
    first = await published.claim()
    await published.claim()
    with pytest.raises(Fenced):
        await published.check(first)
    assert await heard_ms(redis) == 0
    await redis.flushall()
    with pytest.raises(TablesLost):
        await published.check(first)
    assert await redis.exists(PUBLISHED_POSITION) == 0, "or a monitor would wait for a publisher"


async def test_redis_that_takes_no_writes_still_says_who_publishes(
    published: PublishedTables, redis: RedisClient
) -> None:
    claim = await published.claim()
    await redis.config_set("maxmemory", 1)
    try:
        assert await published.check(claim) > 0
        assert await heard_ms(redis) == 0
    finally:
        await redis.config_set("maxmemory", 0)


async def test_cell_counts_how_often_it_was_published_and_says_when(
    published: PublishedTables, tables: Tables
) -> None:
    claim = await published.claim()
    before_ms = await published.check(claim)
    claim = await published.publish(claim, publication({SCHOOL: TWENTY, STATE: None}))
    await published.publish(claim, publication({SCHOOL: FORTY}))
    [school, state] = await tables.read_published([SCHOOL, STATE])
    assert school[ELA].version == 2
    cell = school[ELA].cell
    assert cell is not None
    assert (cell.with_scores, cell.score_sum) == (40, 98_000)
    assert (state[ELA].version, state[ELA].cell) == (1, None)
    assert before_ms <= state[ELA].changed_ms <= school[ELA].changed_ms
    assert await tables.published_changed_ms() == school[ELA].changed_ms


async def test_cell_that_is_gone_is_not_there_and_its_going_is_told(
    published: PublishedTables, tables: Tables
) -> None:
    claim = await published.publish(await published.claim(), publication({SCHOOL: TWENTY}))
    [begin] = await tables.read_notices([(PUBLISHED_NOTICES, None)])
    await published.publish(claim, publication({SECOND_SCHOOL: FORTY}, SCHOOL))
    [read] = await tables.read_notices([(PUBLISHED_NOTICES, begin.last)])
    assert [decode_changes(packed) for packed in read.packed] == [{SECOND_SCHOOL: [ELA], SCHOOL: [ELA]}]
    assert not read.incomplete
    [school, second] = await tables.read_published_cells([(SCHOOL, [ELA]), (SECOND_SCHOOL, [ELA])])
    assert school == {}
    assert second[ELA].version == 1


async def test_write_that_changes_nothing_for_the_public_moves_no_time_and_tells_nothing(
    published: PublishedTables, tables: Tables
) -> None:
    claim = await published.publish(await published.claim(), publication({SCHOOL: TWENTY}))
    begin, changed_ms = (
        (await tables.read_notices([(PUBLISHED_NOTICES, None)]))[0],
        await tables.published_changed_ms(),
    )
    await published.publish(claim, publication({}, family=b"of students that are held back"))
    assert (await tables.read_notices([(PUBLISHED_NOTICES, begin.last)]))[0].packed == []
    assert await tables.published_changed_ms() == changed_ms


async def test_nothing_of_a_refused_write_is_there(published: PublishedTables, redis: RedisClient) -> None:
    claim = await published.publish(await published.claim(), publication({SCHOOL: TWENTY}))
    await published.claim()
    before = {key: await redis.dump(key) for key in await redis.keys("*")}
    with pytest.raises(Fenced, match="Run exactly one"):
        await published.publish(claim, publication({SCHOOL: FORTY}, SECOND_SCHOOL))
    assert {key: await redis.dump(key) for key in await redis.keys("*")} == before


async def test_claim_of_after_a_loss_is_later_than_any_of_before(
    published: PublishedTables, redis: RedisClient
) -> None:
    before = await published.claim()
    await redis.delete(PUBLISHED_POSITION, PUBLISHED_FAMILIES)
    assert (await published.claim()).epoch > before.epoch


async def test_whole_state_of_ten_thousand_organizations_is_one_step(
    published: PublishedTables, running: EmbeddedRedis
) -> None:
    """9,000 schools with their districts and counties, all of one grade, released on one day."""
    some = {OrganizationId(f"{number:014d}"): TWENTY for number in range(10_100)}
    claim = await published.claim()
    await published.publish(claim, publication(dict(some), family=bytes(1_000_000)))
    with Redis.from_url(running.url) as client:
        assert len(client.keys("{published}:cells:*")) == len(some)
