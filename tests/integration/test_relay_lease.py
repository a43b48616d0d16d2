"""Of several relays one works: by a lease that runs out, and an epoch that makes a late one harmless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from integration.gateway_fixtures import SCHOOL
from relayed import ListedTopics, Writer, relay_to

from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import DependencyUnavailable, Fenced
from schemas.keys import RELAY_EPOCH, RELAY_LEASE
from streams.accidents import Accidents
from streams.connection import RedisClient, connect
from streams.relay.lease import Lease
from streams.relay.metrics import Metrics

pytestmark = pytest.mark.anyio


@pytest.fixture
async def redis(server: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    # As the relay connects: a plain client may swallow the end of a task that waits for it.
    client = connect(server.url, 10.0, Accidents(Metrics().accidents))
    yield client
    await client.aclose()


async def test_second_relay_waits_until_the_lease_of_the_first_has_run_out(redis: RedisClient) -> None:
    first, second = Lease(redis, 3), Lease(redis, 3)
    epoch = await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await first.keep(epoch)
    later = await asyncio.wait_for(waiting, 60)
    assert later > epoch
    with pytest.raises(Fenced, match=f"under epoch {later}; ours was {epoch}"):
        await first.keep(epoch)
    await second.keep(later)


async def test_relay_that_stops_leaves_the_lease_to_the_next_at_once(redis: RedisClient) -> None:
    first, second = Lease(redis, 3_600), Lease(redis, 3_600)
    await first.release(await first.acquire())
    assert await asyncio.wait_for(second.acquire(), 60)


async def test_relay_that_was_replaced_cannot_give_the_lease_of_the_other_away(redis: RedisClient) -> None:
    lease = Lease(redis, 3_600)
    epoch = await lease.acquire()
    await redis.delete(RELAY_LEASE)
    later = await lease.acquire()
    with pytest.raises(Fenced):
        await lease.release(epoch)
    assert await redis.get(RELAY_LEASE) == str(later).encode()


async def test_lease_that_redis_has_lost_is_taken_back_unless_there_was_another_meanwhile(
    redis: RedisClient,
) -> None:
    lease = Lease(redis, 3_600)
    epoch = await lease.acquire()
    await redis.delete(RELAY_LEASE)
    await lease.keep(epoch)
    assert await redis.get(RELAY_LEASE) == str(epoch).encode()
    await redis.delete(RELAY_LEASE)
    later = await Lease(redis, 3_600).acquire()
    await redis.delete(RELAY_LEASE)
    with pytest.raises(Fenced, match=f"under epoch {later}"):
        await lease.keep(epoch)


async def test_epochs_grow_also_when_redis_lost_the_last_or_its_clock_stepped_back(
    redis: RedisClient,
) -> None:
    lease = Lease(redis, 3_600)
    first = await lease.acquire()
    await redis.delete(RELAY_LEASE, RELAY_EPOCH)
    second = await lease.acquire()
    await redis.delete(RELAY_LEASE)
    await redis.set(RELAY_EPOCH, second + 10_000_000_000)
    assert first < second < second + 10_000_000_000 < await lease.acquire()


async def test_relay_waits_for_kafka_and_begins_anew_with_it(redis: RedisClient) -> None:
    topics = ListedTopics()
    writer = Writer(redis)
    await writer.serve()
    await writer.score(SCHOOL)
    topics.away = True
    relaying = asyncio.create_task(relay_to(topics, redis).run())
    try:
        async with asyncio.timeout(60):
            await topics.begun_again.wait()
            topics.away = False
            await topics.published.wait()
    finally:
        relaying.cancel()
        await asyncio.wait({relaying})


async def test_relay_gives_up_after_its_budget_and_says_which(redis: RedisClient) -> None:
    class NoKafka(ListedTopics):
        async def begin(self) -> None:  # type: ignore[override]  # it never answers
            raise DependencyUnavailable("Kafka at nowhere did not answer")

    relay = relay_to(NoKafka(), redis, budget_seconds=0.1)
    with pytest.raises(
        DependencyUnavailable, match=r"nowhere .*\(for 0\.1 s, SCORES_DEPENDENCY_BUDGET_SECONDS"
    ):
        await asyncio.wait_for(relay.run(), 60)
