"""Takes samples: asks Redis, Kafka and the records themselves, and puts together what they say.

The order matters: positions first, then where the logs end, then the records. So a position is never ahead of its log's end,
and whatever was written or read in between makes a lag smaller than it looks, by no more than the time that asking took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import KafkaException
from msgspec.structs import replace

from consumers.lag.groups import NOT_TOLD, Group, Groups, GroupsSeen
from consumers.lag.log_ends import LogEnds, Range, TopicFacts
from consumers.lag.measuring import measured, partitions_of, places_of
from consumers.lag.record_times import Place, RecordTime, RecordTimes
from consumers.lag.redis_positions import Positions, read_positions
from consumers.lag.samples import GroupSample, LogPartition, PartitionSample, Skew, Snapshot, Trouble
from consumers.lag.skew import Reading, clock_of_records
from consumers.lag.standings import TOPICS, Draft, of_groups, of_tables, of_webhooks
from consumers.lag.table_readers import of_publisher, of_relay
from consumers.webhooks.connection import REDIS_AWAY, RedisClient
from schemas.topics import EXAM_RESULTS, REJECTED

# For the records of one sample. Where thousands of partitions are behind at once, those furthest behind are measured first,
# and of the others that time has no room for, only the records are known.
_RECORDS_SECONDS: Final = 2.0

Answer = TypeVar("Answer")


class _Logs(NamedTuple):
    """What Kafka said."""

    facts: Mapping[str, TopicFacts]
    ranges: Mapping[LogPartition, Range]
    records: Mapping[Place, RecordTime]
    readings: Mapping[str, list[Reading]]


_NOTHING: Final = _Logs({}, {}, {}, {})


class _Life(NamedTuple):
    """What of a reader moves while it lives, and when that moved last."""

    signs: tuple[int | None, ...]
    heard_ms: int | None


class Sampler:
    """One monitor's view of one cluster and one Redis; keep it, because it remembers what it has seen.

    Args:
        streams_group, webhooks_group: the consumer groups of our own readers, which are judged by what Redis has.
        now_ms: the monitor's clock, milliseconds since 1970.
    """

    def __init__(
        self,
        kafka: str,
        redis: RedisClient,
        *,
        streams_group: str = "score-streams",
        webhooks_group: str = "webhooks",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._redis = redis
        self._streams_group = streams_group
        self._webhooks_group = webhooks_group
        self._now_ms = now_ms
        self._ends = LogEnds(kafka)
        self._groups = Groups(kafka)
        self._records = RecordTimes(kafka)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lag-kafka")
        self._identities: dict[str, str] = {}
        self._ends_before: tuple[int, Mapping[LogPartition, Range]] = (0, {})  # and when they were asked for
        self._lives: dict[tuple[str, str, int], _Life] = {}
        self._serving = ""
        self._serving_since_ms = 0

    async def sample(self) -> Snapshot:
        """Everything as it is now. A dependency that is away is a ``Trouble``, and what it would tell is missing."""
        at_ms, began = self._now_ms(), time.monotonic()
        (positions, redis_trouble), (seen, kafka_trouble) = await asyncio.gather(
            _or_trouble("redis", read_positions(self._redis, self._now_ms)),
            _or_trouble("kafka", self._in_thread(self._look_at_groups)),
        )
        groups_at_ms, groups = seen or (at_ms, NOT_TOLD)
        drafts: list[Draft] = []
        logs = _NOTHING
        if kafka_trouble is None:
            asked = self._in_thread(self._look_at_logs, positions, groups, groups_at_ms)
            answer, kafka_trouble = await _or_trouble("kafka", asked)
            drafts, logs = answer or (drafts, logs)
        if kafka_trouble is not None:
            drafts = self._drafts(positions, {}, NOT_TOLD, at_ms)
        samples = [self._with_life(measured(draft, logs.ranges, logs.records), at_ms) for draft in drafts]
        self._forget_all_but(samples)
        return Snapshot(
            at_ms=at_ms,
            groups=tuple(sorted(samples, key=lambda sample: (sample.group, sample.topic))),
            skews=_skews(positions, logs.readings),
            troubles=tuple(one for one in (redis_trouble, kafka_trouble) if one is not None),
            serving="" if positions is None else positions.serving,
            rebuilding=positions is not None and positions.rebuilding,
            rejected=_written(logs.ranges, REJECTED),
            events=_written(logs.ranges, EXAM_RESULTS),
            took_seconds=time.monotonic() - began,
        )

    async def close(self) -> None:
        """Disconnect from Kafka; Redis is the caller's."""
        await self._in_thread(self._records.close)
        await self._in_thread(self._ends.close)
        self._thread.shutdown(wait=False)

    def _look_at_groups(self) -> tuple[int, GroupsSeen]:
        seen = self._groups.look(members_only=(self._streams_group, self._webhooks_group))
        return self._now_ms(), seen

    def _look_at_logs(
        self, positions: Positions | None, groups: GroupsSeen, groups_at_ms: int
    ) -> tuple[list[Draft], _Logs]:
        facts = self._ends.topics(TOPICS, named=groups.told)
        for name, topic in facts.items():
            if self._identities.get(name, topic.identity) != topic.identity:
                self._records.forget(name)
            self._identities[name] = topic.identity
        drafts = self._drafts(positions, facts, groups, groups_at_ms)
        counted = {
            (name, number)
            for name in (EXAM_RESULTS, REJECTED)
            for number in range(facts[name].partitions if name in facts else 0)
        }
        asked_ms = self._now_ms()
        ranges = self._ends.ranges(partitions_of(drafts) | counted)
        asked_before_ms, before = self._ends_before
        self._ends_before = (asked_ms, ranges)
        places = places_of(drafts, ranges)
        newest = _newest(ranges, before)
        if newest is not None:
            places.setdefault(newest, ranges[newest.topic, newest.partition].end)
        records = self._records.look(places, _RECORDS_SECONDS)
        readings = _readings(records, before, asked_before_ms, self._now_ms())
        return drafts, _Logs(facts, ranges, records, readings)

    def _drafts(
        self,
        positions: Positions | None,
        facts: Mapping[str, TopicFacts],
        groups: GroupsSeen,
        groups_at_ms: int,
    ) -> list[Draft]:
        found: list[Draft] = []
        if positions is not None:
            workers = groups.groups.get(self._streams_group)
            if workers is None and groups.told:
                workers = Group(self._streams_group, members=0, settled=True)  # nobody has ever been in it
            if positions.serving != self._serving:
                self._serving, self._serving_since_ms = positions.serving, positions.redis_ms
            found += of_tables(positions, facts, workers)
            found += of_relay(positions, self._serving_since_ms)
            found += of_publisher(positions)
            found += of_webhooks(positions, facts)
        found += of_groups(groups, groups_at_ms, (self._streams_group, self._webhooks_group))
        return found

    def _with_life(self, sample: GroupSample, at_ms: int) -> GroupSample:
        """``heard_ms`` of each partition: what the reader said of it, or when it was seen to move."""
        partitions = tuple(self._lives_on(sample, one, at_ms) for one in sample.partitions)
        return replace(sample, partitions=partitions)

    def _lives_on(self, sample: GroupSample, one: PartitionSample, at_ms: int) -> PartitionSample:
        key = (sample.group, sample.topic, one.partition)
        # Of ours a claim is a sign of life, too, and that they have read to the end once more.
        signs = (one.position, one.epoch, one.complete_ms)
        before = self._lives.get(key)
        heard_ms = one.heard_ms
        if before is not None:
            seen_ms = at_ms if signs != before.signs else before.heard_ms
            heard_ms = max(filter(None, (heard_ms, seen_ms)), default=None)
        if heard_ms is not None:
            heard_ms = min(heard_ms, at_ms)  # another clock may be ahead
        self._lives[key] = _Life(signs, heard_ms)
        return one if heard_ms == one.heard_ms else replace(one, heard_ms=heard_ms)

    def _forget_all_but(self, samples: Iterable[GroupSample]) -> None:
        present = {(one.group, one.topic) for one in samples}
        if len(present) < len({key[:2] for key in self._lives}):
            self._lives = {key: life for key, life in self._lives.items() if key[:2] in present}

    async def _in_thread(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


async def _or_trouble(source: str, asked: Awaitable[Answer]) -> tuple[Answer | None, Trouble | None]:
    try:
        return await asked, None
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        return None, Trouble(source, reason)
    except REDIS_AWAY as error:
        return None, Trouble(source, str(error) or type(error).__name__)


def _skews(positions: Positions | None, readings: Mapping[str, list[Reading]]) -> tuple[Skew, ...]:
    found = [clock_of_records(topic, some) for topic, some in sorted(readings.items())]
    clocks = [one for one in found if one is not None]
    return (*(() if positions is None else (positions.skew,)), *clocks)


def _written(ranges: Mapping[LogPartition, Range], topic: str) -> int | None:
    """How many records a topic has had, all partitions together."""
    ends = [span.end for (name, _), span in ranges.items() if name == topic]
    return sum(ends) if ends else None


def _newest(ranges: Mapping[LogPartition, Range], before: Mapping[LogPartition, Range]) -> Place | None:
    """The latest result, if one came since the sample before: its time tells of the broker's clock when nobody is behind."""
    for (topic, number), span in ranges.items():
        known = before.get((topic, number))
        if topic == EXAM_RESULTS and known is not None and span.end > max(known.end, span.start):
            return Place(topic, number, span.end - 1)
    return None


def _readings(
    records: Mapping[Place, RecordTime],
    before: Mapping[LogPartition, Range],
    asked_before_ms: int,
    now_ms: int,
) -> dict[str, list[Reading]]:
    """The times that brokers have set, by topic; those of producers tell nothing of a clock that matters here."""
    found: dict[str, list[Reading]] = {}
    for place, record in records.items():
        if record.ms is None or not record.by_broker:
            continue
        known = before.get((place.topic, place.partition))
        written_since = known is not None and record.offset >= known.end
        reading = Reading(record.ms, asked_before_ms if written_since else None, now_ms)
        found.setdefault(place.topic, []).append(reading)
    return found
