"""A publisher that has died is told of like any other reader, and one that has nothing to publish is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import ORGANIZATIONS, SCHOOL
from public_stand import publisher
from redis import Redis

from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from consumers.lag.facts import read_facts
from consumers.lag.judging import Judge
from consumers.lag.samples import PUBLISHER
from consumers.lag.sampling import Sampler
from consumers.lag.verdicts import Rules
from consumers.webhooks.connection import connect
from gateway.operations.answers import GroupAnswer, operations_answer
from schemas.keys import PUBLISHED_POSITION
from schemas.operations import Verdict
from schemas.topics import EXAM_RESULTS

pytestmark = pytest.mark.anyio

# Shorter than a monitor's, and much longer than from one sign of life to the next.
RULES: Final = Rules(silent_seconds=3.0)
SELDOM: Final = {"SCORES_PUBLISH_SECONDS": "3600"}  # a round gives no sign of life for long


class Watching:
    """What a monitor says of the publisher."""

    def __init__(self, kafka: str, redis_url: str) -> None:
        self.redis = connect(redis_url)
        self.sampler = Sampler(kafka, self.redis)
        self._judge = Judge(RULES, "a test", 0.0)

    async def look(self) -> GroupAnswer | None:
        """One sample; None: it says nothing of any publisher."""
        judgement = self._judge.judge(await self.sampler.sample(), await read_facts(self.redis))
        told = operations_answer(judgement, time.time_ns() // 1_000_000).groups
        return next((one for one in told if one.group == PUBLISHER), None)

    async def until(self, verdict: Verdict) -> GroupAnswer:
        """Look until this is what it says."""
        async with asyncio.timeout(60):
            while (found := await self.look()) is None or found.verdict is not verdict:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        return found


@pytest.fixture
async def watching(server: EmbeddedRedis) -> AsyncIterator[Watching]:
    with EmbeddedKafka({EXAM_RESULTS: 1}) as kafka:
        made = Watching(kafka.bootstrap_servers, server.url)
        yield made
        await made.sampler.close()
        await made.redis.aclose()


@pytest.fixture
def tables(server: EmbeddedRedis) -> None:
    worker = FakeWorker(server.url)
    worker.list_organizations(ORGANIZATIONS)
    worker.apply(SCHOOL, [scored(2400 + number, 2) for number in range(30)])
    worker.serve()


def signs(store: Redis) -> Callable[[], int]:
    """When the publisher has last said that it is there, in milliseconds."""
    return lambda: int(store.hget(PUBLISHED_POSITION, "heard_ms") or 0)


async def test_publisher_that_was_killed_is_told_of_with_what_to_do_until_it_is_back(
    server: EmbeddedRedis, watching: Watching, tables: None, tmp_path: Path
) -> None:
    with publisher(server, tmp_path, settings=SELDOM) as first:
        assert (await watching.until(Verdict.OK)).advice is None
        first.stop(0.0)
        stopped = await watching.until(Verdict.STOP)
        assert stopped.alarming and stopped.advice is not None
        assert stopped.advice.runbook == "verdict-stop"
        assert "Start the publisher" in stopped.advice.first
    with publisher(server, tmp_path, settings=SELDOM):
        await watching.until(Verdict.OK)


async def test_publisher_that_publishes_once_an_hour_is_not_silent_meanwhile(
    server: EmbeddedRedis, store: Redis, watching: Watching, tables: None, tmp_path: Path
) -> None:
    with publisher(server, tmp_path, settings=SELDOM) as running:
        await watching.until(Verdict.OK)
        heard = signs(store)
        begun_ms = heard()
        async with asyncio.timeout(60):
            while heard() < begun_ms + RULES.silent_seconds * 2_000:
                assert running.running, running.last_lines()
                await asyncio.sleep(0.2)
        assert store.hget(PUBLISHED_POSITION, "next") == b"1"  # one round, one family
        await watching.until(Verdict.OK)


async def test_nobody_waits_for_a_publisher_where_there_never_was_one(
    watching: Watching, tables: None
) -> None:
    assert [await watching.look() for _ in range(4)] == [None] * 4
