"""The Faust application: topics, agents, timers. All wiring of a worker is here and in ``__main__``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faust
from faust.assignor import PartitionAssignor
from faust.types import TP

from schemas.assessments import load_registry
from schemas.closings import encode_closings
from schemas.errors import ScoreStreamError
from schemas.keys import CLOSINGS
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED, RELEASES
from streams.accidents import Accidents
from streams.clock import SystemClock
from streams.closings import KnownClosings
from streams.closings_topic import ClosingsTopic
from streams.committed import committed_offsets
from streams.connection import connect
from streams.directory import DirectoryStore
from streams.embedded_group import UnhurriedAssignor
from streams.fetching import Fetcher
from streams.kafka_outage import KafkaOutage
from streams.lanes import Lanes
from streams.log import Log, whole_topic
from streams.log_watch import LogWatch
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader
from streams.reference import ReferenceStore
from streams.rejected import RejectedTopic
from streams.releases import RELEASE_STATES
from streams.serving import require_serving, serving_generation
from streams.settings import Settings
from streams.tables import Tables
from streams.transport import Consumer
from streams.watchdog import Watchdog
from streams.worker import Worker

logger = logging.getLogger(__name__)

# By how much the brokers' clocks, which stamp the records, may be ahead of ours.
_PROGRESS_MARGIN_MS = 500
_COMMIT_LIMIT_SECONDS = 2.0
# Batches between fetching and applying, each of up to 5,000 records. Faust's default of 4,096 would hold a season.
_BATCHES_WAITING = 4

Traced = Callable[[Batch], contextlib.AbstractContextManager[object]]


def create_app(
    settings: Settings, metrics: Metrics, *, log: Log, traced: Traced = contextlib.nullcontext
) -> faust.App:
    """A Faust app that keeps the aggregates; run it with ``faust.Worker``.

    ``log`` says what stands behind the topics; see ``streams.log.describe_log``. ``traced`` goes around each batch.
    """
    app = faust.App(
        settings.group,
        broker=[f"batch://{address}" for address in settings.kafka.split(",")],
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 3,
        # Claims run under it, and may wait for Redis as long as its budget allows.
        broker_request_timeout=settings.dependency_budget_seconds + 30,
        consumer_auto_offset_reset="none",  # a position below the log start must not become a silent gap
        consumer_group_instance_id=settings.instance_id if settings.static_membership else None,
        PartitionAssignor=PartitionAssignor if log.named else UnhurriedAssignor,
        agent_supervisor="mode.CrashingSupervisor",  # the default goes on with the *next* batch
        stream_wait_empty=False,
        stream_buffer_maxsize=_BATCHES_WAITING,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=Path(tempfile.gettempdir()) / "score-streams",  # Faust makes it; nothing of ours is in it
        producer_acks=-1,
        key_serializer="raw",
        value_serializer="raw",
    )
    accidents = Accidents(metrics.accidents)
    redis = connect(
        settings.redis_url,
        settings.dependency_budget_seconds,
        accidents,
        cluster=settings.redis_cluster,
    )
    results = app.topic(EXAM_RESULTS, acks=False)
    organizations = app.topic(ORGANIZATIONS, acks=False)
    release_changes = app.topic(RELEASES, acks=False)
    rejected = app.topic(REJECTED, acks=False)

    directory = DirectoryStore(
        redis, log.directory_identity, whole_topic(settings.kafka, ORGANIZATIONS), accidents
    )
    releases = ReferenceStore(
        RELEASE_STATES, redis, log.releases_identity, whole_topic(settings.kafka, RELEASES), accidents
    )
    reader = Reader(
        load_registry(),
        Pseudonymizer(settings.student_key_secret.reveal()),
        directory.directory.is_school,
        settings.attribution,
    )
    clock = SystemClock()
    outage = KafkaOutage(settings.kafka, settings.dependency_budget_seconds, accidents)
    log_watch = LogWatch(settings.kafka, log, outage)
    closings = KnownClosings(ClosingsTopic(settings.kafka, outage).read_on)
    watchdog = Watchdog(
        settings.dependency_budget_seconds + settings.session_timeout_seconds + settings.stall_seconds
    )
    fetcher = Fetcher(
        settings.kafka,
        batch_records=settings.batch_records,
        fetch_wait_ms=settings.fetch_wait_ms,
        require_same_log=log_watch.require_same_log,
    )
    worker = Worker(
        tables=Tables(redis, settings.instance_id, log.identity),
        serving=lambda: serving_generation(redis, log.partitions, settings.attribution),
        reader=reader,
        directory=directory,
        closings=closings,
        releases=releases,
        reject=RejectedTopic(rejected, metrics).put,
        metrics=metrics,
        log_ends=log_watch.catch_up_ends,
        clock=clock,
        committed=partial(committed_offsets, settings.kafka, settings.group),
    )

    Consumer.fetcher = fetcher
    Consumer.positions = staticmethod(worker.positions)
    Consumer.sought = staticmethod(worker.sought)
    Consumer.named = accidents.named

    seen_ms, seen_ends = 0, dict[int, int]()  # where the log ended then

    def read_up_to(ends: Mapping[int, int]) -> frozenset[int]:
        return frozenset(
            number
            for number, position in worker.positions_now().items()
            if number in ends and fetcher.behind((EXAM_RESULTS, number), position) >= ends[number]
        )

    async def look_around() -> None:
        nonlocal seen_ms, seen_ends
        asked_ms = clock.now_ms()
        seen_ends = await log_watch.look(worker.positions_now())
        if log_watch.in_doubt:
            fetcher.suspect()
        seen_ms = asked_ms
        unread = len(read_up_to(seen_ends)) < len(seen_ends)
        watchdog.look(waiting=unread or app.rebalancing, applied=worker.applied)

    Consumer.every_second = staticmethod(look_around)

    async def apply(batch: Batch) -> None:
        if not fetcher.is_current(batch):
            return
        with accidents.named(), traced(batch):
            seek_to = await worker.apply(batch)
        if seek_to is not None:
            await _consumer(app).seek_back(TP(batch.topic, batch.partition), seek_to)

    @app.agent(results, concurrency=1)
    async def keep_aggregates(stream: Any) -> None:
        async with Lanes(apply, partial(Batch.joined, at_most=settings.batch_records)) as lanes:
            async for batch in stream:
                await lanes.put(batch.partition, batch)

    @app.agent(organizations, concurrency=1)
    async def keep_directory(stream: Any) -> None:
        async for batch in stream:
            await directory.apply(batch)
            await directory.refresh()

    @app.agent(release_changes, concurrency=1)
    async def keep_releases(stream: Any) -> None:
        async for batch in stream:
            await releases.apply(batch)
            await releases.refresh()

    @app.timer(1.0)  # type: ignore[untyped-decorator]  # Faust's decorator for timers has no types
    async def _report_progress() -> None:
        # While Kafka is away no end is known, and nothing can be said.
        again = await worker.report_progress(read_up_to(seen_ends), seen_ms - _PROGRESS_MARGIN_MS)
        for number, offset in again.items():
            await _consumer(app).seek_back(TP(EXAM_RESULTS, number), offset)
        await directory.refresh()
        await releases.refresh()
        if worker.positions_now():
            await require_serving(redis, accidents)
        if await worker.displaced():
            logger.info("other tables serve now, taking them over")
            await _consumer(app).begin_anew()

    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def _look_at_closings() -> None:
        await closings.look()
        # Whole and each second: so neither a worker that is late nor a loss in Redis matters for long.
        await redis.set(CLOSINGS, encode_closings(closings.now))

    if settings.commit_seconds:

        @app.timer(settings.commit_seconds)  # type: ignore[untyped-decorator]
        async def _commit_for_dashboards() -> None:
            positions = {TP(EXAM_RESULTS, number): at for number, at in worker.positions_now().items()}
            # Missing commits cost nothing: the position is in Redis.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(_consumer(app).commit_positions(positions), _COMMIT_LIMIT_SECONDS)

    return app


def _consumer(app: faust.App) -> Consumer:
    consumer = app.consumer
    if not isinstance(consumer, Consumer):
        raise ScoreStreamError(
            f"the transport is {type(consumer).__name__}; expected batch:// to be registered"
        )
    return consumer
