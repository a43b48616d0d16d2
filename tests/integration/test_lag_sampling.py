"""Lag, sampled from a real broker and a real Redis: right when nothing happens, at the start, and after every accident."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis as redis_client
import stack
from integration.gateway_fixtures import SCHOOL
from lag_stand import ROUNDING_SECONDS, Stand, Written, group, shifted_clock, streams
from relayed import ListedTopics, Writer, relay_to

from cli.stack.embedded_kafka import EmbeddedKafka
from consumers.lag.samples import RELAY, STREAMS, Trouble
from consumers.lag.sampling import Sampler
from consumers.webhooks.connection import connect as connect_consumer
from schemas.keys import REBUILD
from schemas.topics import AGGREGATE_CHANGES, EXAM_RESULTS, ORGANIZATIONS
from streams.accidents import Accidents
from streams.connection import connect
from streams.relay.metrics import Metrics

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("time_for_records")]


@pytest.fixture(scope="module", params=["embedded", "real"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kafka(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stack.broker(kind, 1, tmp_path_factory.mktemp(kind)) as address:
        yield address


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with stack.store("embedded") as server:
        yield server.url


@pytest.fixture
def stand(kind: str, kafka: str, address: str) -> Iterator[Stand]:
    with redis_client.Redis.from_url(address) as redis:
        redis.flushall()
        yield Stand(kafka, redis, named=kind == "real")


@pytest.fixture
async def sampler(kafka: str, address: str) -> AsyncIterator[Sampler]:
    redis = connect_consumer(address)
    made = Sampler(kafka, redis)
    yield made
    await made.close()
    await redis.aclose()


async def test_topic_in_which_nothing_happens_has_no_lag(stand: Stand, sampler: Sampler) -> None:
    stand.write(3)
    stand.stand_at(stand.end())
    for _ in range(2):
        one = streams(await sampler.sample())
        assert (one.lag_records, one.lag_seconds, one.position) == (0, 0.0, one.end)


async def test_at_the_start_records_wait_since_they_were_written_though_there_are_no_tables(
    stand: Stand, sampler: Sampler
) -> None:
    stand.write()
    one = streams(await sampler.sample())
    assert one.position is None and one.end is not None and one.start is not None
    assert one.lag_records == one.end - one.start > 0
    assert one.lag_seconds is not None and one.lag_seconds >= 0


async def test_lag_grows_with_the_clock_while_the_reader_stands_still_and_ends_when_it_is_through(
    stand: Stand, sampler: Sampler
) -> None:
    position = stand.end()
    stand.stand_at(position)
    written = stand.write(5)
    first = streams(await sampler.sample())
    stack.wait_for(lambda: time.time() > written.done + 1.0, "a second")
    snapshot = await sampler.sample()
    second = streams(snapshot)
    assert first.lag_records == second.lag_records == 5
    assert first.lag_seconds is not None and second.lag_seconds is not None
    assert first.lag_seconds < second.lag_seconds
    assert written.is_late_by(second.lag_seconds, snapshot.at_ms)
    stand.stand_at(position + 5)
    assert streams(await sampler.sample()).lag_seconds == 0.0


async def test_reader_that_goes_on_is_as_late_as_the_record_that_it_reads_next(
    stand: Stand, sampler: Sampler
) -> None:
    position = stand.end()
    stand.stand_at(position)
    stand.write()
    first = streams(await sampler.sample())
    stack.wait_for(lambda: time.time() * 1000 > (first.heard_ms or 0) + 500, "half a second")
    later = stand.write()
    stand.stand_at(position + 1)
    snapshot = await sampler.sample()
    one = streams(snapshot)
    assert one.lag_records == 1
    assert later.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_rewind_shows_the_age_of_what_is_read_again(stand: Stand, sampler: Sampler) -> None:
    position = stand.end()
    written = stand.write(4)
    stand.stand_at(position + 4)
    assert streams(await sampler.sample()).lag_seconds == 0.0
    stand.stand_at(position)
    snapshot = await sampler.sample()
    one = streams(snapshot)
    assert (one.position, one.lag_records, one.lost_records) == (position, 4, 0)
    assert written.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_rebuilt_tables_that_come_to_serve_are_another_generation_and_not_behind(
    stand: Stand, sampler: Sampler
) -> None:
    stand.write(4)
    stand.stand_at(stand.end())
    before = await sampler.sample()
    stand.redis.hset(REBUILD, "phase", "filling")
    stand.stand_at(1, "g2", catch_up=stand.end())
    stand.serve("g1")
    filling = await sampler.sample()
    assert (filling.serving, filling.rebuilding, streams(filling).lag_records) == ("g1", True, 0)
    stand.redis.hset(REBUILD, "phase", "serving")
    stand.stand_at(stand.end(), "g2", epoch=2)
    after = await sampler.sample()
    assert (before.serving, after.serving, after.rebuilding) == ("g1", "g2", False)
    assert group(after, STREAMS, EXAM_RESULTS).generation == "g2"
    assert (streams(after).lag_seconds, streams(after).catch_up) == (0.0, None)


async def test_tables_that_fill_from_nothing_say_up_to_where(stand: Stand, sampler: Sampler) -> None:
    stand.write(4)
    stand.stand_at(1, catch_up=stand.end())
    assert streams(await sampler.sample()).catch_up == stand.end()


async def test_position_beyond_the_end_is_of_another_log_and_no_lag_is_made_up(
    stand: Stand, sampler: Sampler
) -> None:
    stand.stand_at(stand.end() + 100)
    one = streams(await sampler.sample())
    assert (one.log_replaced, one.lag_seconds) == (True, None)
    stand.stand_at(0, log="a cluster/of before")
    one = streams(await sampler.sample())
    assert (one.log_replaced, one.lag_seconds) == (True, None)


async def test_directory_that_was_not_taken_up_is_behind_in_its_own_topic(
    stand: Stand, sampler: Sampler
) -> None:
    written = stand.write(2, ORGANIZATIONS, b"a school")
    snapshot = await sampler.sample()
    one = group(snapshot, STREAMS, ORGANIZATIONS).partitions[0]
    assert one.lag_records is not None and one.lag_records >= 2
    assert written.is_late_by(one.lag_seconds, snapshot.at_ms)


async def test_events_are_counted_and_a_reader_that_moves_was_heard(stand: Stand, sampler: Sampler) -> None:
    stand.stand_at(0, complete_ms=1)
    first = await sampler.sample()
    stand.write(3)
    second = await sampler.sample()
    assert first.events is not None and second.events == first.events + 3
    assert streams(second).heard_ms == 1
    stand.stand_at(1, complete_ms=1)
    third = await sampler.sample()
    assert streams(third).heard_ms == third.at_ms


@pytest.mark.parametrize("seconds", [-7.0, 7.0])
async def test_wrong_clock_of_the_monitor_is_seen_in_redis_and_in_the_records(
    kind: str, stand: Stand, kafka: str, address: str, seconds: float
) -> None:
    redis = connect_consumer(address)
    sampler = Sampler(kafka, redis, now_ms=shifted_clock(seconds))
    stand.stand_at(stand.end())
    began = time.monotonic()
    await sampler.sample()
    stand.write()
    stand.stand_at(stand.end())  # nobody is behind: the newest record is looked at all the same
    skews = {one.clock: one for one in (await sampler.sample()).skews}
    took = time.monotonic() - began
    of_redis = skews["redis"]
    assert abs(of_redis.seconds + seconds) <= of_redis.uncertain_seconds + ROUNDING_SECONDS
    if kind == "real":  # the embedded broker leaves times to producers
        # Told is what is certain: a clock may be wrong by as much more as the record could have been written in.
        towards = skews[f"records of {EXAM_RESULTS}"].seconds * (-1 if seconds > 0 else 1)
        assert abs(seconds) - took - ROUNDING_SECONDS <= towards <= abs(seconds) + ROUNDING_SECONDS
    await sampler.close()
    await redis.aclose()


async def test_relay_is_behind_by_the_age_of_the_change_that_it_did_not_publish(
    stand: Stand, sampler: Sampler, address: str
) -> None:
    redis = connect(address, 5.0, Accidents(Metrics().accidents))
    writer = Writer(redis, partitions=1)
    await writer.serve()
    relay = relay_to(ListedTopics(), redis)
    await writer.score(SCHOOL)
    await relay.round()
    done = group(await sampler.sample(), RELAY, AGGREGATE_CHANGES)
    assert (done.partitions[0].lag_records, done.partitions[0].lag_seconds) == (0, 0.0)
    assert done.partitions[0].catch_up is None
    began = time.time()
    await writer.score(SCHOOL)
    await writer.score(SCHOOL)
    written = Written(began, time.time())
    stack.wait_for(lambda: time.time() > written.done + 0.5, "half a second")
    snapshot = await sampler.sample()
    behind = group(snapshot, RELAY, AGGREGATE_CHANGES).partitions[0]
    assert behind.lag_records == 2
    assert written.is_late_by(behind.lag_seconds, snapshot.at_ms)
    assert behind.position is not None and behind.end is not None and behind.position < behind.end
    await relay.round()
    caught_up = group(await sampler.sample(), RELAY, AGGREGATE_CHANGES).partitions[0]
    assert (caught_up.lag_seconds, caught_up.position) == (0.0, caught_up.end)
    await redis.aclose()


async def test_rebuilt_tables_are_not_old_news_of_the_relay(
    stand: Stand, sampler: Sampler, address: str
) -> None:
    redis = connect(address, 5.0, Accidents(Metrics().accidents))
    before, after = Writer(redis, partitions=1), Writer(redis, "g2", partitions=1)
    await before.serve()
    relay = relay_to(ListedTopics(), redis)
    await relay.round()
    await after.claim(0)
    began = time.time()
    await after.score(SCHOOL)
    while time.time() < began + 1.0:
        await sampler.sample()
    await after.serve()
    flipped = group(await sampler.sample(), RELAY, AGGREGATE_CHANGES).partitions[0]
    assert flipped.catch_up is not None
    assert flipped.lag_seconds == 0.0  # it is late since this moment
    await relay.round()
    assert group(await sampler.sample(), RELAY, AGGREGATE_CHANGES).partitions[0].catch_up is None
    await redis.aclose()


async def test_kafka_that_is_away_is_said_and_redis_is_told_of_all_the_same(
    address: str, tmp_path: Path
) -> None:
    with EmbeddedKafka({EXAM_RESULTS: 1}) as broker, redis_client.Redis.from_url(address) as redis:
        redis.flushall()
        Stand(broker.bootstrap_servers, redis, named=False).stand_at(0)
        client = connect_consumer(address)
        sampler = Sampler(broker.bootstrap_servers, client)
        assert (await sampler.sample()).troubles == ()
        broker.set_broker_down()
        away = await sampler.sample()
        assert [one.source for one in away.troubles] == ["kafka"] and away.troubles[0].reason
        one = group(away, STREAMS, EXAM_RESULTS).partitions[0]
        assert (one.position, one.end, one.lag_seconds) == (0, None, None)
        assert away.took_seconds < 30  # the client's own patience is a minute for each request
        broker.set_broker_up()
        answers = [await sampler.sample() for _ in range(3)]
        assert answers[-1].troubles == () and streams(answers[-1]).end == 0
        await sampler.close()
        await client.aclose()


async def test_redis_that_accepts_and_is_silent_is_said_before_its_connections_give_up(kafka: str) -> None:
    with stack.store("embedded") as server:
        client = connect_consumer(server.url)
        sampler = Sampler(kafka, client)
        assert (await sampler.sample()).troubles == ()
        server.signal(signal.SIGSTOP)
        try:
            silent = await sampler.sample()
        finally:
            server.signal(signal.SIGCONT)
        # A connection that gives up says something else, some seconds later.
        assert silent.troubles == (Trouble("redis", "no answer in time"),)
        assert silent.events is not None
        assert (await sampler.sample()).troubles == ()
        await sampler.close()
        await client.aclose()


async def test_redis_that_is_away_is_said_and_kafka_is_told_of_all_the_same(kafka: str) -> None:
    with stack.store("embedded") as server:
        client = connect_consumer(server.url)
        sampler = Sampler(kafka, client)
        assert (await sampler.sample()).troubles == ()
    away = await sampler.sample()
    assert [one.source for one in away.troubles] == ["redis"] and away.troubles[0].reason
    assert away.events is not None and away.serving == ""
    assert [one for one in away.groups if one.group in {STREAMS, RELAY}] == []
    await sampler.close()
    await client.aclose()
