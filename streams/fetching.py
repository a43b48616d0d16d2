"""Fetching records of assigned partitions from given offsets, in whole batches, with librdkafka.

It belongs to no consumer group: who owns which partition is decided elsewhere (by Faust's membership, or by a rebuild that
reads everything), and where to begin is the position in Redis. librdkafka fetches and decompresses in threads of its own,
outside the interpreter; that is what makes it several times cheaper than fetching in Python.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from schemas.errors import DependencyUnavailable, LogGap, LogReplaced
from streams.partitions import Batch

logger = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 10.0
_AT_ONCE: Final = 5_000  # records taken over in one call
_QUEUED_KILOBYTES: Final = 32 * 1024  # fetched ahead, of all partitions together

# What no waiting mends. Anything else librdkafka tries again: a broker that restarts, a leader that moves.
_REFUSALS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._NOT_IMPLEMENTED,  # a compression that this build does not know
    }
)
_NO_SUCH_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
_OUT_OF_RANGE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


Partition = tuple[str, int]  # topic and number


class FetchedRecord(Struct, frozen=True, gc=False):
    """One record as fetched, unpacked for those who ask."""

    message: Message
    offset: int

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        key: Any = self.message.key()  # bytes or None; the library's stubs allow text
        return cast("bytes | None", key)

    @property
    def value(self) -> bytes | None:
        """The record's value."""
        value: Any = self.message.value()
        return cast("bytes | None", value)

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970."""
        return self.message.timestamp()[1]

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The record's headers."""
        headers: Any = self.message.headers()  # a list of pairs, or None; the stubs allow more
        return [(name, value or b"") for name, value in headers or []]


class Fetcher:
    """Reads what ``assign`` says; ``next`` returns what has come.

    One caller at a time may wait in ``next``; ``assign`` may come at any time, and what was fetched before it is dropped.
    Partitions are named (topic, partition).

    Args:
        require_same_log: returns when the topics are known to be the ones that the positions belong to.
    """

    def __init__(
        self,
        kafka: str,
        *,
        batch_records: int,
        fetch_wait_ms: int,
        require_same_log: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.batch_records = batch_records
        self._require_same_log = require_same_log
        self._suspicious = False  # whether the topic may have been deleted meanwhile
        self._stuck: set[Partition] = set()  # of which the broker refused an offset that it has
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "score-streams-fetch",  # demanded by the library; nothing is joined or committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",  # a position below the log start must not become a silent gap
                "enable.partition.eof": True,
                "fetch.wait.max.ms": fetch_wait_ms,
                "queued.max.messages.kbytes": _QUEUED_KILOBYTES,
                "queued.min.messages": 50_000,
                # The default waits a second before it fetches again from a partition whose queue was full.
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 2_000,
                "log_level": 2,
            }
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        self._assignments = 0
        self._placing = 0
        self._next: dict[Partition, int] = {}
        self._placed: dict[
            Partition, int
        ] = {}  # the assignment in which reading was placed where it goes on from
        self._reached: dict[Partition, int] = {}  # ends of the log that reading has come to
        self._closed = False

    async def assign(self, starts: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, and nothing else."""
        self._next, self._placed, self._reached = {}, {}, {}
        await self._place(starts)

    async def seek(self, partition: Partition, offset: int) -> None:
        """Read one partition again from ``offset``; the others go on where they are."""
        if partition in self._next:
            await self._place({partition: offset})

    async def change(self, starts: Mapping[Partition, int], ended: Collection[Partition]) -> None:
        """Read these partitions from these offsets on, and ``ended`` no longer; the others go on where they are."""
        for partition in ended:
            self._next.pop(partition, None)
            self._placed.pop(partition, None)
        await self._place(starts)

    async def give_back(self, batches: Iterable[Batch]) -> None:
        """Read these again: whoever took them had to drop them."""
        starts: dict[Partition, int] = {}
        for batch in batches:
            if self.is_current(batch):
                starts.setdefault((batch.topic, batch.partition), batch.start)
        if starts:
            await self._place(starts)

    def is_current(self, batch: Batch) -> bool:
        """Whether its partition has been assigned ever since it was fetched, and not sought.

        What was fetched before a seek comes again, or belongs to another worker now; it would look like a gap.
        """
        placed = self._placed.get((batch.topic, batch.partition))
        return placed is not None and batch.fetch >= placed

    def suspect(self) -> None:
        """The topic may be another one by now: make sure before anything that is fetched from now on is handed out."""
        self._suspicious = True

    async def next(self, timeout_seconds: float) -> list[Batch]:
        """What has come, in runs of up to ``batch_records`` of a partition; empty when nothing came in time.

        Raises:
            LogGap: a position is below the start of the log: records are missing.
            LogReplaced: a position is beyond the end of the log, so it is another log.
            DependencyUnavailable: Kafka refuses to be read.
        """
        assignment = self._assignments
        if not self._next:
            await asyncio.sleep(timeout_seconds)
            return []
        # What has come is taken over here, since another thread would only wait for this one; but waiting is for a thread,
        # and so is everything as long as reading is being placed elsewhere.
        messages = [] if self._placing else self._consumer.consume(_AT_ONCE, 0)
        if not messages:
            messages = await self._in_thread(self._wait, timeout_seconds)
        by_partition, reached = self._sorted_out(messages)
        if self._suspicious and self._require_same_log is not None:
            await self._require_same_log()
        self._suspicious = False
        if assignment != self._assignments:
            return []  # seeked meanwhile: these records come again, or belong to somebody else
        batches = list(self._batches(by_partition))
        self._reached.update(reached)
        stuck = {partition: self._next[partition] for partition in self._stuck if partition in self._next}
        self._stuck.clear()
        if stuck:
            await self._place(stuck)
        return batches

    async def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """Start and end of the log of each of ``partitions``, asked of Kafka.

        Raises:
            DependencyUnavailable: Kafka did not answer.
        """
        return {partition: await self._in_thread(self._bounds, partition) for partition in partitions}

    def behind(self, partition: Partition, position: int) -> int:
        """Where somebody stands who has dealt with everything before ``position``.

        Usually there; further on when only offsets without a record follow: markers of transactions, or what a compaction
        removed. Who waited for those would wait for ever.
        """
        reached = self._reached.get(partition)
        if reached is None or position < self._next.get(partition, reached):
            return position
        return max(position, reached)

    async def close(self) -> None:
        """Stop fetching, as soon as nobody waits in ``next``."""
        if not self._closed:
            self._closed = True
            self._next = {}
            await self._in_thread(self._consumer.close)
            self._thread.shutdown(wait=False)

    async def _place(self, starts: Mapping[Partition, int]) -> None:
        self._assignments += 1
        self._next.update(starts)
        for partition in starts:
            self._reached.pop(partition, None)
        self._placed.update(dict.fromkeys(starts, self._assignments))
        wanted = [TopicPartition(topic, number, at) for (topic, number), at in self._next.items()]
        self._placing += 1
        try:
            await self._in_thread(self._consumer.assign, wanted)
        finally:
            self._placing -= 1

    def _wait(self, timeout_seconds: float) -> list[Message]:
        # Waiting for many would wait out the time at low rates; so wait for the first, and take what is there with it.
        first = self._consumer.poll(timeout_seconds)
        return [] if first is None else [first, *self._consumer.consume(_AT_ONCE, 0)]

    def _sorted_out(
        self, messages: Iterable[Message]
    ) -> tuple[dict[Partition, list[FetchedRecord]], dict[Partition, int]]:
        """The records by partition, and which ends of the log were reached."""
        found: dict[Partition, list[FetchedRecord]] = {}
        reached: dict[Partition, int] = {}
        topic: str | None = None
        number: int | None = None
        for message in messages:
            error = message.error()
            offset: Any = message.offset()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    name: Any = message.topic(), message.partition()
                    reached[name] = offset
                else:
                    self._judge(error, message)
                continue
            if message.partition() != number or message.topic() != topic:  # seldom: a fetch brings runs
                topic, number = name = message.topic(), message.partition()
                run = found.setdefault(name, [])
            run.append(FetchedRecord(message, offset))
        return found, reached

    def _judge(self, error: KafkaError, message: Message) -> None:
        code = error.code()
        if code in _OUT_OF_RANGE:
            self._require_in_range(message)
        elif code in _REFUSALS or error.fatal():
            raise DependencyUnavailable(f"Kafka refuses to be read: {error.str()}")
        elif code in _NO_SUCH_TOPIC:
            self._suspicious = True
        logger.warning("kafka cannot be read for a moment error=%s", error.str())

    def _require_in_range(self, message: Message) -> None:
        partition: Any = (message.topic(), message.partition())
        wanted: Any = message.offset()
        try:
            first, end = self._bounds(partition)
        except DependencyUnavailable:
            first, end = wanted, wanted  # to be seen when it is there again
        if wanted < first:
            raise LogGap(
                f"{message.topic()}/{message.partition()} stands at {wanted}, but the log begins at {first}. Records are "
                "missing: retention has deleted what was not read yet. Restore the topic, or "
                "build the tables with `scores rebuild --from-what-is-left`"
            )
        if wanted > end:
            raise LogReplaced(
                f"{message.topic()}/{message.partition()} stands at {wanted}, but the log ends at {end}: the topic was deleted "
                "and created again, or truncated. Restore the topic, or build the tables from the new one with `scores rebuild --new-log`"
            )
        self._stuck.add(partition)

    def _batches(self, by_partition: Mapping[Partition, Sequence[FetchedRecord]]) -> Iterator[Batch]:
        size = self.batch_records
        for partition, run in by_partition.items():
            for first in range(0, len(run), size):
                records = run[first : first + size]
                start = self._next[partition]
                self._next[partition] = records[-1].offset + 1
                yield Batch(*partition, start, records, self._assignments)

    def _bounds(self, partition: Partition) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_ANSWER_SECONDS)
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka did not say where {partition[0]}/{partition[1]} begins and ends: {error.args[0].str()}"
            ) from error
        return found if found is not None else (0, 0)

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
