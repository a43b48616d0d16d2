"""The Faust application: topics, agents, timers. All wiring of a worker is here and in ``__main__``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from schemas.assessments import load_registry
from schemas.errors import ScoreStreamError
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED
from streams.connection import connect
from streams.directory import DirectoryStore
from streams.lanes import Lanes
from streams.log import Log, read_organizations
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader
from streams.rejected import RejectedTopic
from streams.settings import Settings
from streams.tables import Tables
from streams.transport import Consumer, ConsumerThread
from streams.worker import Worker

logger = logging.getLogger(__name__)

# A record may have been produced, but not fetched yet, for as long as a fetch waits at the broker; and this much more.
_PROGRESS_MARGIN_MS = 500
_COMMIT_LIMIT_SECONDS = 2.0
# Batches between fetching and applying, each of up to 2,000 records. Faust's default of 4,096 would hold a season.
_BATCHES_WAITING = 16


def create_app(settings: Settings, metrics: Metrics, *, log: Log) -> faust.App:
    """A Faust app that keeps the aggregates; run it with ``faust.Worker``.

    ``log`` says what stands behind the topics; see ``streams.log.describe_log``.
    """
    app = faust.App(
        settings.group,
        broker=[f"batch://{address}" for address in settings.kafka.split(",")],
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 3,
        broker_max_poll_records=5_000,
        consumer_auto_offset_reset="none",  # a position below the log start must not become a silent gap
        consumer_group_instance_id=settings.instance_id if settings.static_membership else None,
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
    redis = connect(settings.redis_url, settings.dependency_budget_seconds)
    results = app.topic(EXAM_RESULTS, acks=False)
    organizations = app.topic(ORGANIZATIONS, acks=False)
    rejected = app.topic(REJECTED, acks=False)

    directory = DirectoryStore(redis, log.directory_identity)
    reader = Reader(
        load_registry(),
        Pseudonymizer(settings.student_key_secret.reveal()),
        directory.directory.is_school,
        settings.attribution,
    )
    worker = Worker(
        redis=redis,
        tables=Tables(redis, settings.instance_id, log.identity),
        reader=reader,
        directory=directory,
        rejected=RejectedTopic(rejected, metrics),
        metrics=metrics,
        partitions=log.partitions,
        read_organizations=read_organizations(settings.kafka),
    )

    Consumer.positions = staticmethod(worker.positions)
    Consumer.sought = staticmethod(worker.sought)
    Consumer.batch_records = settings.batch_records
    ConsumerThread.fetch_wait_ms = settings.fetch_wait_ms

    async def apply(batch: Batch) -> None:
        seek_to = await worker.apply(batch)
        if seek_to is not None:
            await _consumer(app).seek_back(TP(batch.topic, batch.partition), seek_to)

    @app.agent(results, concurrency=1)
    async def keep_aggregates(stream: Any) -> None:
        async with Lanes(apply) as lanes:
            async for batch in stream:
                await lanes.put(batch.partition, batch)

    @app.agent(organizations, concurrency=1)
    async def keep_directory(stream: Any) -> None:
        async for batch in stream:
            await directory.apply(batch)
            await directory.refresh()

    @app.timer(1.0)  # type: ignore[untyped-decorator]  # Faust's decorator for timers has no types
    async def _report_progress() -> None:
        up_to_ms = int(time.time() * 1000) - settings.fetch_wait_ms - _PROGRESS_MARGIN_MS
        consumer = _consumer(app)
        caught_up = {
            number
            for number, position in worker.positions_now().items()
            # No end is known before the first fetch; then nothing can be said.
            if (end := consumer.highwater(TP(EXAM_RESULTS, number))) is not None and end <= position
        }
        await worker.report_progress(frozenset(caught_up), up_to_ms)
        await directory.refresh()

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
