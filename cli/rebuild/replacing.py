"""From the first record to the flip: new tables are filled, compared with the serving ones, and put in their place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from cli.rebuild.comparing import Comparer, Findings
from cli.rebuild.context import Context
from cli.rebuild.partition_reading import PartitionReader
from cli.rebuild.tables import LogLimits, ServingLimits, partition_keys
from gateway.kafka import KafkaPublisher
from schemas.assessments import load_registry
from schemas.errors import AggregateUnderflow, Fenced, PositionMoved, RebuildStopped
from schemas.keys import ORGANIZATIONS_POSITION, RELEASES_POSITION, how_made
from schemas.process.outgoing import OutgoingRecord
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED
from streams.clock import SystemClock
from streams.closings import KnownClosings
from streams.closings_topic import ClosingsTopic
from streams.directory import DirectoryStore
from streams.kafka_outage import KafkaOutage
from streams.log import whole_topic
from streams.partitions import OwnedPartition
from streams.reading import Reader, Rejection
from streams.rebuild_filling import Filling, Limits
from streams.rebuild_rejections import FirstPass, NotingTables, Park, SecondReading
from streams.rebuild_state import Phase, Progress
from streams.rejected import rejected_record

_PARK_SECONDS: Final = 30.0
_TELL_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.1
_NEAR: Final = 4_000  # events behind, at which comparing may begin
_SILENCE_SECONDS: Final = 5.0  # without a record, though the log goes on: what is left of it are no records
_SETTLE_SECONDS: Final = 5.0  # before the flip, to be as far as the serving tables
_OUTAGE_SECONDS: Final = 60.0  # so long it waits for the closings topic
_RATE_SHARE: Final = 0.1  # of the latest look in the rate that is shown


class Replacement:
    """New tables in the making."""

    def __init__(self, run: Context) -> None:
        self._run = run
        rebuild = run.plan.rebuild
        self._old = partition_keys(rebuild.beside, run.log.partitions)
        self._new = partition_keys(rebuild.generation, run.log.partitions)
        self._registry = load_registry()
        self._readings: list[SecondReading] = []
        self._owned: dict[int, OwnedPartition] = {}
        self._verified: float | None = None  # partitions, while comparing

    async def make(self) -> None:
        """Fill, compare, flip; whether it was flipped is in the run's outcome.

        Raises:
            RebuildStopped: another process or a worker writes the new tables, or Redis has lost their tail.
        """
        run, started = self._run, time.monotonic()
        bounds = await run.fetcher.bounds((EXAM_RESULTS, number) for number in range(run.log.partitions))
        starts = {number: start for (_, number), (start, _) in bounds.items()}
        ends = {number: end for (_, number), (_, end) in bounds.items()}
        async with _publishing(run.addresses.kafka) as park, _closings(run) as closings:
            tables = await self._claim(starts, ends, park, closings)
            limits: Limits = LogLimits(run.fetcher, run.log.partitions)
            if run.plan.follow:
                limits = ServingLimits(run.redis, self._old, starts)
            filling = Filling(run.fetcher, self._owned, limits)
            async with asyncio.TaskGroup() as group:
                working = [
                    group.create_task(self._fill(filling)),
                    group.create_task(self._tell(filling, starts)),
                ]
                await self._caught_up(filling)
                await run.state.save(phase=Phase.VERIFYING)
                run.outcome.findings = await self._compare(filling, tables)
                if run.outcome.findings.equal or run.orders.flip_anyway:
                    await self._settle(filling)
                    await run.state.flip(run.plan.rebuild)
                    run.outcome.flipped = True
                for task in working:
                    task.cancel()
        self._sum_up(filling, time.monotonic() - started)
        if not run.outcome.flipped:
            await run.state.save(phase=Phase.DIFFERS, word="it differs from what serves, and does not serve")

    async def _claim(
        self, starts: Mapping[int, int], ends: Mapping[int, int], park: Park, closings: KnownClosings
    ) -> NotingTables:
        run = self._run
        clock = SystemClock()
        if run.plan.rebuild.new_log:
            await self._forget_the_old_logs()
        directory = DirectoryStore(
            run.redis,
            run.log.directory_identity,
            whole_topic(run.addresses.kafka, ORGANIZATIONS),
            run.accidents,
        )
        await directory.catch_up()
        first = FirstPass(run.addresses.kafka)
        await first.catch_up()
        reader = Reader(
            self._registry,
            Pseudonymizer(run.addresses.secret),
            directory.directory.is_school,
            run.plan.attribution,
        )
        before = reader.under(how_made(run.plan.rebuild.beside).attribution)
        self._readings = [
            SecondReading(number, reader, before, first, park, closings)
            for number in range(run.log.partitions)
        ]
        by_name = {keys.position: reading for keys, reading in zip(self._new, self._readings, strict=True)}
        tables = NotingTables(run.redis, run.holder, run.log.identity, by_name)
        for number, keys in enumerate(self._new):
            reading = self._readings[number]
            owned = self._owned[number] = OwnedPartition(
                number,
                keys,
                await tables.claim(keys, log_end=ends[number]),
                tables=tables,
                reader=reading,
                reject=reading.reject,
                refresh_directory=directory.refresh,
                closings=closings,
                clock=clock,
                accidents=run.accidents,
            )
            owned.start = starts[number]
        return tables

    async def _forget_the_old_logs(self) -> None:
        log = self._run.log
        for position, identity in (
            (ORGANIZATIONS_POSITION, log.directory_identity),
            (RELEASES_POSITION, log.releases_identity),
        ):
            stored: Any = await self._run.redis.hget(position, "log")
            if stored is not None and stored.decode() != identity:
                # The entries stay, and are written over from the new topic.
                await self._run.redis.delete(position)

    async def _fill(self, filling: Filling) -> None:
        try:
            await filling.run()
        except* (Fenced, PositionMoved, AggregateUnderflow) as group:
            raise RebuildStopped(
                f"the new tables are not as this process left them ({group.exceptions[0]}): another one fills them, or Redis has "
                "lost their tail. `scores rebuild resume` goes on where they stand"
            ) from None

    async def _tell(self, filling: Filling, starts: Mapping[int, int]) -> None:
        run = self._run
        rate, seen, at = 0.0, 0, time.monotonic()
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            now = time.monotonic()
            latest = (filling.applied - seen) / (now - at)
            rate = latest if not rate else rate + _RATE_SHARE * (latest - rate)
            seen, at = filling.applied, now
            standing = filling.standing()
            progress = Progress(
                applied=sum(position - starts[number] for number, (position, _) in standing.items()),
                left=sum(max(0, limit - position) for position, limit in standing.values()),
                rate=rate,
                partitions=standing,
            )
            await run.state.save(progress=progress)
            if self._verified is None:
                run.display.filling(progress)
            else:
                run.display.verifying(self._verified, run.log.partitions)

    async def _caught_up(self, filling: Filling) -> None:
        seen, heard = -1, time.monotonic()
        while True:
            standing = filling.standing()
            behind = [limit - position for position, limit in standing.values()]
            if len(behind) == self._run.log.partitions and max(behind) <= 0:
                return
            if self._run.plan.follow and len(behind) == self._run.log.partitions and max(behind) <= _NEAR:
                return
            if filling.applied != seen:
                seen, heard = filling.applied, time.monotonic()
            elif behind and max(behind) <= _NEAR and time.monotonic() - heard > _SILENCE_SECONDS:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _compare(self, filling: Filling, tables: NotingTables) -> Findings:
        run = self._run
        self._verified = 0.0
        reader = PartitionReader(run.redis, tables)
        rebuild = run.plan.rebuild
        await reader.find_organizations([rebuild.generation, rebuild.beside])
        comparer = Comparer(reader, run.plan.comparison, self._registry)
        total = Findings()
        for number, (old, new) in enumerate(zip(self._old, self._new, strict=True)):
            while True:
                noted = await reader.noted(new)
                serving = await comparer.serving(old, noted)
                await filling.hold(number, serving.position if serving is not None else None)
                if serving is None or await reader.noted(new) <= noted:
                    break
                filling.release(number)  # more was noted on the way: its rows are wanted, too

            def tell(done: float, number: int = number) -> None:
                self._verified = number + done

            total = total.plus(await comparer.compare(new, serving, tell))
            filling.release(number)
            self._verified = number + 1.0
        return total

    async def _settle(self, filling: Filling) -> None:
        """Be as far as the serving tables, also in what they say of being complete."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            behind = [limit - position for position, limit in filling.standing().values()]
            if max(behind) <= 0:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if not self._run.plan.follow:
            return
        pipe: Any = self._run.redis.pipeline(transaction=False)
        for keys in self._old:
            pipe.hmget(keys.position, ["next", "complete_ms"])
        for owned, (position, complete_ms) in zip(self._owned.values(), await pipe.execute(), strict=True):
            same = position is None or owned.position == int(position)
            if complete_ms is not None and same:
                await owned.report_progress(int(complete_ms))

    def _sum_up(self, filling: Filling, seconds: float) -> None:
        outcome = self._run.outcome
        outcome.events, outcome.seconds = filling.applied, seconds
        for reading in self._readings:
            outcome.rejected.update(reading.rejected)
            outcome.newly_rejected += reading.newly_rejected
            outcome.newly_taken += reading.newly_taken


@asynccontextmanager
async def _publishing(kafka: str) -> AsyncIterator[Park]:
    """Puts records into the rejected topic, acknowledged."""
    publisher = KafkaPublisher(kafka, produce_seconds=_PARK_SECONDS, client_id="scores-rebuild")
    publisher.start()

    async def park(rejected: Sequence[Rejection], partition: int) -> None:
        now = datetime.now(UTC)
        records = []
        for rejection in rejected:
            key, value, headers = rejected_record(rejection, partition, now)
            records.append(OutgoingRecord(REJECTED, key, value, tuple(headers)))
        await publisher.publish(records)

    try:
        yield park
    finally:
        await asyncio.to_thread(publisher.close)


@asynccontextmanager
async def _closings(run: Context) -> AsyncIterator[KnownClosings]:
    """The same closings that the workers go by."""
    topic = ClosingsTopic(
        run.addresses.kafka, KafkaOutage(run.addresses.kafka, _OUTAGE_SECONDS, run.accidents)
    )
    try:
        yield KnownClosings(topic.read_on)
    finally:
        await topic.close()
