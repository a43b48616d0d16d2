"""Faust's Kafka transport, with librdkafka for the records.

Faust and aiokafka keep what they are good at: membership of the consumer group, heartbeats, rebalances, agents, timers. The
records come from ``streams.fetching``, because stock Faust creates four asyncio tasks for every message and unpacks each in
Python. This transport hands over one message for each run of consecutive records of a partition, with a ``Batch`` as its
value. Every internal of Faust and aiokafka that is touched has a test in ``tests/integration/test_transport.py``.

Positions are ours: ``positions`` (set by the application) is asked on every assignment and says where to read on;
``sought`` is told where reading begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from schemas.errors import GroupFailed
from streams.fetching import Fetcher
from streams.partitions import Batch

Positions = Callable[[frozenset[TP]], Awaitable[Mapping[TP, int | None]]]
Sought = Callable[[Mapping[TP, int]], None]

# A rebalance waits for the fetch under way.
_FETCH_SECONDS = 0.1


class _NothingRead(dict[TP, "int | None"]):
    """Stands in for Faust's record of what was read, by which it drops messages that come again after a seek.

    Right behind a seek it notes the message from before, and would drop what the seek was for. Positions are guarded
    where they are kept, so nothing needs to be dropped here.
    """

    def __getitem__(self, tp: TP) -> int | None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class Consumer(driver.Consumer):
    """Delivers batches and reads from the positions that the application keeps."""

    fetcher: Fetcher | None = None
    positions: Positions | None = None
    sought: Sought | None = None
    every_second: Callable[[], Awaitable[None]] | None = None
    named: Callable[[], AbstractContextManager[None]] = nullcontext  # around what may end the worker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NothingRead()

    @Service.task
    async def _look_around(self) -> None:
        # Not one of Faust's timers: those begin after the first assignment only, which may never come.
        while not self.should_stop:
            with self.named():
                self._require_membership()
                if self.every_second is not None:
                    await self.every_second()
            await self.sleep(1.0)

    def _require_membership(self) -> None:
        # aiokafka tells of it when it is asked for records, and we ask another; unnoticed, the worker would sit there for
        # ever, without partitions and without a word.
        consumer = self._thread._consumer
        coordinator = consumer._coordinator if consumer is not None else None
        if coordinator is None:
            return
        routine = coordinator._coordination_task
        error = coordinator._pending_exception
        if error is None and routine.done() and not routine.cancelled():
            error = routine.exception()
        if error is not None:
            raise GroupFailed(
                f"the broker refused us in the group {self.app.conf.id}: {error!r}. Starting again as a new member"
            )

    async def _getmany(  # type: ignore[override]  # what comes back goes to our own getmany only
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109  # the parent's
    ) -> list[Batch]:
        if self.fetcher is None:
            return []
        # Asking for records is the sign of life that keeps the partitions; aiokafka sees it only when told.
        with self.named(), self._thread._ensure_consumer()._subscription.fetch_context():
            return await self.fetcher.next(min(timeout, _FETCH_SECONDS))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  # the parent's
        """One message for each batch."""
        batches, active = await self._wait_next_records(timeout)
        if batches is None or self.should_stop or self.fetcher is None:
            return
        generation = self.app.consumer_generation_id
        left = deque(cast("list[Batch]", batches))
        # Checked before every delivery: a rebalance may have happened while the last one waited.
        while left and self.flow_active and self.app.consumer_generation_id == generation:
            batch = left.popleft()
            tp = TP(batch.topic, batch.partition)
            if active is None or tp in active or tp in self._buffered_partitions:
                yield tp, self._message(tp, batch)
        # Faust would seek here, in the middle of a rebalance. Our seek claims, and would take partitions back from those to
        # whom they have just been given; the seek that ends the rebalance is enough.
        await self.fetcher.give_back(left)

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            0,
            None,
            None,
            cast(bytes, batch),  # Faust passes values through untouched
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Read everything assigned from where the application says that it stands.

        Kafka's committed offsets are for dashboards only: the position lives with the state, in Redis.
        """
        assigned = frozenset(map(ensure_TP, self.assignment()))
        if self.positions is None or self.fetcher is None or not assigned:
            return await super().seek_to_committed()
        # aiokafka is here for the membership: it must not fetch what nobody will take.
        self._thread._ensure_consumer().pause(*map(_kafka, assigned))
        with self.named():
            positions = await self.positions(assigned)
        unknown = [tp for tp, offset in positions.items() if offset is None]
        bounds = await self.fetcher.bounds(unknown)
        starts = {tp: bounds[tp][0] if offset is None else offset for tp, offset in positions.items()}
        if self.sought is not None:
            self.sought(starts)
        await self.fetcher.assign({(tp.topic, tp.partition): at for tp, at in starts.items()})
        return starts

    async def begin_anew(self) -> None:
        """Claim and seek everything that is assigned, as at the end of a rebalance; one under way does so itself."""
        if self.flow_active:
            await self.perform_seek()

    async def seek_back(self, tp: TP, offset: int) -> None:
        """Read this partition again from ``offset``."""
        if self.fetcher is not None:
            await self.fetcher.seek(tp, offset)

    async def commit_positions(self, positions: Mapping[TP, int]) -> None:
        """Tell Kafka how far we are, for dashboards. Never await this where batches are applied: it may block.

        Not Faust's own commit, which stops the worker when the broker does not answer.
        """
        offsets = {_kafka(tp): OffsetAndMetadata(offset, "") for tp, offset in positions.items()}
        await self._thread.call_thread(self._commit_unless_joining, offsets)

    async def _commit_unless_joining(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        # A commit sent while we join waits behind the join, on the same connection, and then names the generation before
        # it. aiokafka answers the refusal by leaving and joining anew: every commit would begin the next rebalance.
        coordinator = self._thread._ensure_consumer()._coordinator
        joining = coordinator._performed_join_prepare or coordinator._rejoin_needed_fut.done()
        if not joining and coordinator.coordinator_id is not None:
            await coordinator._do_commit_offsets(None, offsets)

    async def on_stop(self) -> None:
        """Leave the group, then stop fetching."""
        await super().on_stop()
        if self.fetcher is not None:
            await self.fetcher.close()


class Transport(driver.Transport):
    """Registered as ``batch://`` in the entry points."""

    Consumer = Consumer


def _kafka(tp: TP) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)
