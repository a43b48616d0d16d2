"""The relay against a real Redis: what it publishes of changed cells and results, and that no accident costs one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as redis_client
import stack
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import DISTRICT, ORGANIZATIONS, OTHER_SCHOOL, SCHOOL, SECOND_SCHOOL, STATE
from redis.asyncio import Redis
from relayed import ELA, MATH, ListedTopics, Writer, relay_to
from simulation.backends import RedisBackend

from cli.rebuild.cleaning import remove_tables
from cli.stack.redis_cluster import EmbeddedRedisCluster
from schemas.aggregates import Cell
from schemas.changes import KEPT_AT_LEAST, ResultNote
from schemas.errors import DependencyUnavailable, Fenced
from schemas.identifiers import OrganizationId
from schemas.keys import GENERATION, PUBLISHED_CHANGES, PUBLISHED_FAMILIES, published_cells
from schemas.topics import AGGREGATE_CHANGES, RESULT_CHANGES
from schemas.topics import PUBLISHED_CHANGES as PUBLISHED_TOPIC
from streams.accidents import Accidents
from streams.connection import connect
from streams.relay.lease import Lease
from streams.relay.metrics import Metrics

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["embedded", "system"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with stack.store(request.param) as server:
        yield server.url


@pytest.fixture
async def redis(address: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(address, protocol=2) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def writer(redis: Redis) -> Writer:
    made = Writer(redis)
    await made.serve()
    return made


@pytest.fixture
def topics() -> ListedTopics:
    return ListedTopics()


def results(cells: list[dict[str, Any]], organization: str = SCHOOL) -> list[int | None]:
    """How many results an organization's records tell of, one after the other."""
    return [
        cell["figures"] and cell["figures"]["results"]
        for cell in cells
        if cell["organization"] == organization
    ]


def note(offset: int, kind: Any = "rescored") -> ResultNote:
    return ResultNote(
        offset, kind, OrganizationId(SCHOOL), "an assessment", "7", 2026, "2026-05-04T12:00:00Z"
    )


async def test_every_cell_above_a_scored_student_is_published_with_its_sum_over_all_partitions(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    await writer.score(SCHOOL)
    relay = relay_to(topics, redis)
    await relay.round()
    topics.take(AGGREGATE_CHANGES)
    await writer.score(SCHOOL, partition=1)
    await relay.round()
    told = topics.take(AGGREGATE_CHANGES)
    assert {cell["organization"] for cell in told} == {SCHOOL, DISTRICT, "19000000000000", STATE}
    assert {(cell["cell"], cell["version"], cell["figures"]["results"]) for cell in told} == {(ELA, 2, 2)}
    assert {(cell["generation"], cell["preliminary"]) for cell in told} == {("g1", True)}


async def test_changes_between_two_looks_are_one_record_with_the_latest_figures(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await relay.round()
    for _ in range(3):
        await writer.score(SCHOOL)
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [3]
    await relay.round()
    assert topics.records == []


async def test_a_school_without_results_any_more_is_published_with_null(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await writer.score(SCHOOL)
    await relay.round()
    await writer.withdraw(SCHOOL)
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [1, None]


async def test_what_kafka_did_not_acknowledge_is_published_when_it_is_back(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await relay.round()
    topics.away = True
    await writer.score(SCHOOL)
    with pytest.raises(DependencyUnavailable):
        await relay.round()
    topics.away = False
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [1]


async def test_a_relay_that_starts_again_publishes_nothing_twice_that_was_noted(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    await writer.score(SCHOOL)
    await relay_to(topics, redis).round()
    topics.take(AGGREGATE_CHANGES)
    again = relay_to(topics, redis, epoch=2)
    await again.round()
    assert topics.records == []
    await writer.score(SCHOOL)
    await again.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [2]


async def test_a_relay_that_was_replaced_moves_no_position(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    late, current = relay_to(topics, redis, epoch=1), relay_to(topics, redis, epoch=2)
    await late.round()
    await current.round()
    await writer.score(SCHOOL)
    with pytest.raises(Fenced, match="under epoch 2; ours was 1"):
        await late.round()
    assert topics.take(AGGREGATE_CHANGES) == []
    await current.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [1]


async def test_when_notices_were_trimmed_all_cells_that_changed_since_are_published_and_no_other(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    metrics = Metrics()
    relay = relay_to(topics, redis, metrics=metrics)
    await writer.score(OTHER_SCHOOL)
    await wait_a_millisecond(redis)  # what changed in the last one that was relayed counts as changed since
    await writer.score(SECOND_SCHOOL)
    await relay.round()
    topics.take(AGGREGATE_CHANGES)
    await writer.score(SCHOOL)
    await writer.score(SCHOOL, MATH)
    await redis.xtrim(writer.keys().changes, maxlen=1, approximate=False)
    await relay.round()
    told = topics.take(AGGREGATE_CHANGES)
    assert {(cell["organization"], cell["cell"]) for cell in told if cell["organization"] == SCHOOL} == {
        (SCHOOL, ELA),
        (SCHOOL, MATH),
    }
    assert results(told, OTHER_SCHOOL) == []
    assert metrics.read_anew.labels("gap")._value.get() == 1


async def wait_a_millisecond(redis: Redis) -> None:
    """Until the clock of Redis shows another millisecond."""
    begun = await redis.time()
    while (now := await redis.time())[0] == begun[0] and now[1] // 1000 == begun[1] // 1000:
        pass


async def test_a_stream_that_was_empty_and_has_been_trimmed_since_is_a_gap(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await relay.round()
    await writer.score(OTHER_SCHOOL)
    for _ in range(KEPT_AT_LEAST):
        await writer.score(SCHOOL)
    await redis.xtrim(writer.keys().changes, maxlen=KEPT_AT_LEAST, approximate=False)
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES), OTHER_SCHOOL) == [1]


async def test_more_notices_than_one_look_takes_are_all_published(
    redis: Redis, writer: Writer, topics: ListedTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.relay.tables.NOTICES_AT_ONCE", 2)
    relay = relay_to(topics, redis)
    await relay.round()
    for school in (SCHOOL, SECOND_SCHOOL, OTHER_SCHOOL):
        await writer.score(school)
    assert await relay.round() is True
    assert await relay.round() is False
    told = topics.take(AGGREGATE_CHANGES)
    assert {SCHOOL, SECOND_SCHOOL, OTHER_SCHOOL} <= {cell["organization"] for cell in told}


async def test_after_redis_lost_its_tail_what_is_replayed_is_published_again(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    backend = RedisBackend(redis)
    relay = relay_to(topics, redis)
    await writer.score(SCHOOL)
    await relay.round()
    before = await backend.snapshot()
    await writer.score(SCHOOL)
    await relay.round()
    [first, lost] = [cell for cell in topics.take(AGGREGATE_CHANGES) if cell["organization"] == SCHOOL]
    await backend.restore(before)
    await relay.round()
    replayed = Writer(redis)
    await replayed.claim(0)
    await replayed.claim(1)
    await replayed.score(SCHOOL)
    await relay.round()
    [again] = [cell for cell in topics.take(AGGREGATE_CHANGES) if cell["organization"] == SCHOOL]
    assert (first["figures"]["results"], lost["figures"]["results"]) == (1, 2)
    assert again["figures"]["results"] == 2
    assert again["changed_ms"] >= lost["changed_ms"]


async def test_redis_that_lost_its_tail_in_the_middle_of_a_round_is_read_again_from_where_it_is(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    backend = RedisBackend(redis)
    relay = relay_to(topics, redis)
    await relay.round()
    before = await backend.snapshot()
    await writer.score(SCHOOL)
    await relay.round()
    await writer.score(SCHOOL)

    publish = topics.publish

    async def lose_while_publishing(records: Any) -> None:
        await publish(records)
        topics.publish = publish  # type: ignore[method-assign]  # once
        await backend.restore(before)

    topics.publish = lose_while_publishing  # type: ignore[method-assign]
    await relay.round()
    topics.take(AGGREGATE_CHANGES)
    replayed = Writer(redis)
    await replayed.claim(0)
    await replayed.score(SCHOOL)
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [1]


async def test_after_a_flip_every_cell_is_published_and_those_that_are_no_more_with_null(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await writer.score(SCHOOL)
    await writer.score(SECOND_SCHOOL)
    await relay.round()
    topics.take(AGGREGATE_CHANGES)
    rebuilt = Writer(redis, "g2")
    for number in range(2):
        await rebuilt.claim(number)
    await rebuilt.score(SCHOOL)
    await relay.round()
    assert topics.records == []
    await rebuilt.serve()
    await relay.round()
    told = topics.take(AGGREGATE_CHANGES)
    assert {cell["generation"] for cell in told} == {"g2"}
    assert results(told) == [1]
    assert results(told, SECOND_SCHOOL) == [None]
    await relay.round()
    assert topics.records == []


async def test_tables_that_were_replaced_while_no_relay_ran_are_compared_all_the_same(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    await writer.score(SECOND_SCHOOL)
    await relay_to(topics, redis).round()
    topics.take(AGGREGATE_CHANGES)
    rebuilt = Writer(redis, "g2")
    await rebuilt.serve()
    await rebuilt.score(SCHOOL)
    await relay_to(topics, redis, epoch=2).round()
    told = topics.take(AGGREGATE_CHANGES)
    assert (results(told), results(told, SECOND_SCHOOL)) == ([1], [None])


async def test_nothing_is_published_of_tables_that_are_still_being_built_from_the_log(
    redis: Redis, topics: ListedTopics
) -> None:
    building = Writer(redis)
    await building.claim(0, log_end=2)
    await building.serve()
    relay = relay_to(topics, redis)
    await building.score(SCHOOL)
    await relay.round()
    assert topics.records == []
    await building.score(SCHOOL)
    await relay.round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [2]


async def test_a_topic_that_was_made_anew_gets_every_cell_again(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    await writer.score(SCHOOL)
    await relay_to(topics, redis).round()
    topics.take(AGGREGATE_CHANGES)
    topics.identity = "cluster/another topic"
    await relay_to(topics, redis, epoch=2).round()
    assert results(topics.take(AGGREGATE_CHANGES)) == [1]


async def test_tables_of_a_cluster_are_relayed_like_those_of_one_server(topics: ListedTopics) -> None:
    with EmbeddedRedisCluster() as cluster:
        redis = connect(cluster.url, 10.0, Accidents(Metrics().accidents), cluster=True)
        writer = Writer(redis, partitions=6)
        await writer.serve()
        relay = relay_to(topics, redis)
        for partition in range(6):
            await writer.score(SCHOOL, partition=partition, notes=[note(40)])
        await relay.round()
        assert results(topics.take(AGGREGATE_CHANGES)) == [6]
        assert sorted(one["id"] for one in topics.take(RESULT_CHANGES)) == [f"{n}-40" for n in range(6)]
        await writer.score(SCHOOL)
        await relay.round()
        assert results(topics.take(AGGREGATE_CHANGES)) == [7]
        lease = Lease(redis, 5.0)
        epoch = await lease.acquire()
        await lease.keep(epoch)
        await lease.release(epoch)
        await redis.aclose()


async def test_noted_results_are_published_once_and_then_removed(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await writer.score(SCHOOL, notes=[note(40), note(41, "invalidated")], partition=1)
    await relay.round()
    assert [(one["id"], one["kind"], one["organization"]) for one in topics.take(RESULT_CHANGES)] == [
        ("1-40", "rescored", SCHOOL),
        ("1-41", "invalidated", SCHOOL),
    ]
    assert await redis.xlen(writer.keys(1).results) == 0
    await relay.round()
    assert topics.take(RESULT_CHANGES) == []


async def test_noted_results_stay_until_kafka_has_them(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await relay.round()
    topics.away = True
    await writer.score(SCHOOL, notes=[note(40)])
    with pytest.raises(DependencyUnavailable):
        await relay.round()
    topics.away = False
    await relay_to(topics, redis, epoch=2).round()
    assert [one["id"] for one in topics.take(RESULT_CHANGES)] == ["0-40"]


async def test_results_noted_in_tables_that_serve_no_longer_are_published_too(
    redis: Redis, writer: Writer, topics: ListedTopics
) -> None:
    await relay_to(topics, redis).round()
    await writer.score(SCHOOL, notes=[note(40)], partition=1)
    await Writer(redis, "g2").serve()
    await relay_to(topics, redis, epoch=2).round()
    assert [one["id"] for one in topics.take(RESULT_CHANGES)] == ["1-40"]
    assert not await redis.exists(writer.keys(1).results)


async def test_notes_outlive_the_tables_that_a_rebuild_removes(
    redis: Redis, address: str, writer: Writer, topics: ListedTopics
) -> None:
    await writer.score(SCHOOL, notes=[note(40)])
    await Writer(redis, "g2").serve()
    with redis_client.Redis.from_url(address, protocol=2) as client:
        remove_tables(client, writer.generation)
    assert await redis.keys("{g1.*}:*") == [writer.keys().results.encode()]
    await relay_to(topics, redis).round()
    assert [one["id"] for one in topics.take(RESULT_CHANGES)] == ["0-40"]
    assert await redis.keys("{g1.*}:*") == []


async def test_what_a_log_tells_that_is_read_again_from_its_beginning_is_no_news(
    redis: Redis, topics: ListedTopics
) -> None:
    building = Writer(redis)
    await building.claim(0, log_end=2)
    for offset in (0, 1, 2):
        await building.score(SCHOOL, notes=[note(offset)])
    await building.claim(1)
    await redis.set("scores:partitions", 2)
    await redis.set(GENERATION, building.generation)
    await relay_to(topics, redis).round()
    assert [one["id"] for one in topics.take(RESULT_CHANGES)] == ["0-2"]


def published_cell(students: int) -> Cell:
    cell = Cell()
    for number in range(students):
        cell.apply(scored(2400 + number, 2 + number % 2))
    return cell


@pytest.fixture
def publishing(address: str, writer: Writer) -> FakeWorker:
    """Writes published cells; the directory is known."""
    made = FakeWorker(address)
    made.list_organizations(ORGANIZATIONS)
    return made


async def test_published_cells_are_relayed_after_disclosure_control(
    redis: Redis, publishing: FakeWorker, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    await relay.round()
    publishing.publish(SCHOOL, ELA, published_cell(30))
    publishing.publish(SECOND_SCHOOL, ELA, None)
    await relay.round()
    told = {cell["organization"]: cell for cell in topics.take(PUBLISHED_TOPIC)}
    assert told[SCHOOL]["figures"]["results"] == 30
    assert told[SCHOOL]["figures"]["under_appeal"] is None
    assert told[SECOND_SCHOOL]["figures"]["suppressed"] is True
    assert {cell["generation"] for cell in told.values()} == {""}
    assert topics.take(AGGREGATE_CHANGES) == []


async def take_back(redis: Redis, publishing: FakeWorker) -> None:
    """The school's figures are published no more; its notice comes with another's."""
    await redis.hdel(published_cells(OrganizationId(SCHOOL)), ELA)
    publishing.publish(SECOND_SCHOOL, ELA, published_cell(20))


async def test_figures_that_are_published_no_more_are_null(
    redis: Redis, publishing: FakeWorker, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    publishing.publish(SCHOOL, ELA, published_cell(30))
    await relay.round()
    [shown] = topics.take(PUBLISHED_TOPIC)
    publishing.publish(SCHOOL, ELA, None)
    await redis.hdel(published_cells(OrganizationId(SCHOOL)), ELA)
    await relay.round()
    [gone] = topics.take(PUBLISHED_TOPIC)
    assert (gone["figures"], gone["version"]) == (None, 0)
    assert gone["changed_ms"] >= shown["changed_ms"]


async def test_figures_that_went_while_their_notices_were_lost_are_null_too(
    redis: Redis, publishing: FakeWorker, topics: ListedTopics
) -> None:
    relay = relay_to(topics, redis)
    publishing.publish(SCHOOL, ELA, published_cell(30))
    await redis.hset(PUBLISHED_FAMILIES, ELA, b"the publisher's memory")
    await redis.hset("{published}:position", "changed_ms", 1)
    await relay.round()
    topics.take(PUBLISHED_TOPIC)
    await take_back(redis, publishing)
    await redis.xtrim(PUBLISHED_CHANGES, maxlen=0, approximate=False)
    await relay.round()
    told = {cell["organization"]: cell["figures"] for cell in topics.take(PUBLISHED_TOPIC)}
    assert told[SCHOOL] is None
    assert told[SECOND_SCHOOL]["results"] == 20
