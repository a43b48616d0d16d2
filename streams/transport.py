"""Faust's Kafka transport, delivering whole batches.

Stock Faust creates four asyncio tasks for every message before anything of ours runs. This transport hands over one
message for each run of consecutive records of a partition, with the list of records as its value, and keeps everything
else of the parent: membership, back-pressure, flow control, seeking. Every internal of Faust that is touched has a
test in ``tests/integration/test_transport.py``.

Positions are ours: ``positions`` (set by the application) is asked on every assignment and says where to seek;
``sought`` is told where reading begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.partitions import Batch

Positions = Callable[[frozenset[TP]], Awaitable[Mapping[TP, int | None]]]
Sought = Callable[[Mapping[TP, int]], None]


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches with our waiting time instead of Faust's fixed 1.5 s."""

    fetch_wait_ms: int = 100

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Kafka answers a fetch as soon as there is something; the embedded broker always waits this long.
        consumer._fetch_max_wait_ms = self.fetch_wait_ms
        return consumer

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._fetch_records(*args, **kwargs)
        except NoOffsetForPartitionError:
            # Assigned a moment ago, nothing committed, and not sought yet: our position arrives with the claim. A
            # position below the log start is another error, and stops the worker.
            return {}


class Consumer(driver.Consumer):
    """Delivers batches and seeks to the positions that the application keeps."""

    batch_records: int = 2_000
    positions: Positions | None = None
    sought: Sought | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetched_to: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  # the parent's
        """One message for each run of up to ``batch_records`` records of a partition."""
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        generation = self.app.consumer_generation_id
        for kafka_tp, run in records.items():
            tp = ensure_TP(kafka_tp)
            for first in range(0, len(run), self.batch_records):
                # Checked before every delivery: a rebalance may have happened while the last one waited.
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                if active is not None and tp not in active and tp not in self._buffered_partitions:
                    break
                yield tp, self._batch_message(tp, run[first : first + self.batch_records])

    def _batch_message(self, tp: TP, records: list[Any]) -> ConsumerMessage:
        last = records[-1]
        start = self._fetched_to.get(tp, records[0].offset)
        self._fetched_to[tp] = last.offset + 1
        return ConsumerMessage(
            last.topic,
            last.partition,
            last.offset,
            (last.timestamp or 0) / 1000,
            last.timestamp_type,
            None,
            None,
            cast(
                bytes, Batch(last.topic, last.partition, start, records)
            ),  # Faust passes values through untouched
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek everything assigned to where the application says that it stands.

        Kafka's committed offsets are for dashboards only: the position lives with the state, in Redis.
        """
        assigned = frozenset(map(ensure_TP, self.assignment()))
        if self.positions is None or not assigned:
            return await super().seek_to_committed()
        positions = await self.positions(assigned)
        unknown = [tp for tp, offset in positions.items() if offset is None]
        earliest = await self.earliest_offsets(*map(_kafka, unknown)) if unknown else {}
        starts = {ensure_TP(tp): offset for tp, offset in earliest.items()}
        seeks = {tp: starts.get(tp, 0) if offset is None else offset for tp, offset in positions.items()}
        self._fetched_to = dict(seeks)
        if self.sought is not None:
            self.sought(seeks)
        await self.seek_wait({_kafka(tp): offset for tp, offset in seeks.items()})
        return seeks

    async def seek_back(self, tp: TP, offset: int) -> None:
        """Fetch this partition again from ``offset``."""
        self._fetched_to[tp] = offset
        await self.seek(_kafka(tp), offset)
        self._read_offset[tp] = offset

    async def commit_positions(self, positions: Mapping[TP, int]) -> None:
        """Tell Kafka how far we are, for dashboards. Never await this where batches are applied: it may block.

        Not Faust's own commit, which stops the worker when the broker does not answer.
        """
        consumer = self._thread._ensure_consumer()
        await self._thread.call_thread(
            consumer.commit, {_kafka(tp): OffsetAndMetadata(offset, "") for tp, offset in positions.items()}
        )


class Transport(driver.Transport):
    """Registered as ``batch://`` in the entry points."""

    Consumer = Consumer


def _kafka(tp: TP) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)
