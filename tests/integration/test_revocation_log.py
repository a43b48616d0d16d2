"""Revocations in a real Redis: heard at once, caught up with after an absence, and not taken for none when it is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_client
from fake_tables import until
from integration.gateway_fixtures import RedisServer, redis_server

from gateway.redis_connection import connect
from gateway.revocation_log import RevocationLog, RevocationsAway
from gateway.revocations import Revocation, RevocationKind
from gateway.tokens import LONGEST_LIFE, Principal, TokenRefused
from schemas.keys import REVOCATIONS

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


@contextlib.asynccontextmanager
async def node(
    server: RedisServer, clock: Clock | None = None
) -> AsyncIterator[tuple[RevocationLog, list[int]]]:
    """A gateway's reading of the revocations; and how many it knew each time it heard of some."""
    redis = connect(server.url)
    log = RevocationLog(redis, away_seconds=10, monotonic=clock or Clock())
    heard: list[int] = []

    async def take_note() -> None:
        heard.append(len(log.known))

    running = asyncio.create_task(log.run(take_note))
    try:
        yield log, heard
    finally:
        running.cancel()
        await asyncio.wait([running])
        await redis.aclose()


def somebody(subject: str) -> Principal:
    now = datetime.now(UTC)
    return Principal(subject, (), now + timedelta(hours=1), "t1", issued=now - timedelta(minutes=5))


def of(subject: str) -> Revocation:
    return Revocation(RevocationKind.SUBJECT, subject, by="officer")


async def test_nobody_is_let_in_before_the_revocations_have_been_read(server: RedisServer) -> None:
    redis = connect(server.url)
    log = RevocationLog(redis)
    with pytest.raises(RevocationsAway, match="not been read"):
        log.check(somebody("ana"))
    await redis.aclose()
    async with node(server) as (log, _):
        await until_read(log)
        assert log.check(somebody("ana")).subject == "ana"


async def test_what_one_node_revokes_every_node_refuses_and_hears_of_once(server: RedisServer) -> None:
    async with node(server) as (first, first_heard), node(server) as (second, second_heard):
        await until_read(first, second)
        before_ms = int(datetime.now(UTC).timestamp() * 1000)
        stored = await first.append(of("ana"))
        # A millisecond for Redis' clock, which is the same one, rounded.
        assert before_ms - 1 <= stored.at_ms <= datetime.now(UTC).timestamp() * 1000 + 1
        with pytest.raises(TokenRefused, match="revoked"):
            first.check(somebody("ana"))
        await until(lambda: second.known.refuses(somebody("ana")))
        await second.append(of("ben"))
        await until(lambda: first.known.refuses(somebody("ben")))
        assert (first_heard, second_heard) == ([1, 2], [1, 2])
        assert set(first.known) == set(second.known)


async def test_a_node_that_could_not_read_for_too_long_lets_nobody_in_and_then_catches_up(
    server: RedisServer,
) -> None:
    clock = Clock()
    async with node(server, clock) as (log, heard):
        await until_read(log)
        server.stop()
        log.check(somebody("ana"))  # a moment's absence stops nobody
        clock.ahead += 10
        with pytest.raises(RevocationsAway, match="too long"):
            log.check(somebody("ana"))
        server.start()
        with redis_client.Redis.from_url(server.url) as store:
            store.xadd(REVOCATIONS, {"revocation": b'{"kind":"subject","value":"ana"}'})
        await until(lambda: heard)
        with pytest.raises(TokenRefused):
            log.check(somebody("ana"))
        await until_read(log)
        log.check(somebody("ben"))


async def test_a_revocation_that_redis_lost_is_written_again_with_its_moment(server: RedisServer) -> None:
    clock = Clock()
    async with node(server, clock) as (log, _):
        await until_read(log)
        stored = await log.append(of("ana"))
        with redis_client.Redis.from_url(server.url) as store:
            store.delete(REVOCATIONS)
            clock.ahead += 61  # the whole is read again every minute
            await until(lambda: store.xlen(REVOCATIONS) == 1)
    async with node(server) as (late, _):
        await until_read(late)
        assert list(late.known) == [stored]


async def test_an_entry_that_cannot_be_read_hides_no_other(server: RedisServer) -> None:
    with redis_client.Redis.from_url(server.url) as store:
        for fields in (
            {"revocation": b"?"},
            {"another": b"x"},
            {"revocation": b'{"kind":"moon","value":"x"}'},
        ):
            store.xadd(REVOCATIONS, fields)
        store.xadd(REVOCATIONS, {"revocation": b'{"kind":"subject","value":"ana"}'})
        async with node(server) as (log, _):
            await until_read(log)
            assert log.known.refuses(somebody("ana")) and len(log.known) == 1


async def test_more_revocations_than_one_page_are_all_known(server: RedisServer) -> None:
    with redis_client.Redis.from_url(server.url) as store, store.pipeline() as pipe:
        for number in range(2_500):
            pipe.xadd(REVOCATIONS, {"revocation": b'{"kind":"subject","value":"%d"}' % number})
        pipe.execute()
    async with node(server) as (log, _):
        await until_read(log)
        assert len(log.known) == 2_500


async def test_an_entry_older_than_any_token_is_trimmed(server: RedisServer) -> None:
    old_ms = int((datetime.now(UTC) - LONGEST_LIFE - timedelta(days=1)).timestamp() * 1000)
    with redis_client.Redis.from_url(server.url) as store, store.pipeline() as pipe:
        for number in range(1_000):  # Redis trims whole nodes of a hundred
            pipe.xadd(
                REVOCATIONS, {"revocation": b'{"kind":"subject","value":"old"}'}, id=f"{old_ms}-{number}"
            )
        pipe.execute()
        async with node(server) as (log, _):
            await until_read(log)
            await log.append(of("ana"))
        assert store.xlen(REVOCATIONS) < 200


async def until_read(*logs: RevocationLog) -> None:
    await until(lambda: all(log.absence() is None for log in logs))
