"""The control of ``bench.under_fire``: our engine without Faust, in a plain confluent-kafka loop.

Membership, fetching and rebalances are librdkafka's; claims, batches and the guarded script are the stream worker's own.
Whatever differs from it under fire is Faust's doing, or librdkafka's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from faust.types import TP

from schemas.assessments import load_registry
from schemas.errors import DependencyUnavailable
from schemas.logs import configure_logging
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED
from streams.accidents import Accidents
from streams.clock import SystemClock
from streams.closings import never_closed
from streams.connection import connect
from streams.directory import DirectoryStore
from streams.fetching import FetchedRecord
from streams.log import describe_log, whole_topic
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.rejected import rejected_record
from streams.serving import serving_generation
from streams.settings import Settings
from streams.tables import Tables
from streams.worker import Worker

_AT_ONCE: Final = 2_000
_WAIT_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 10.0

T = TypeVar("T")


class PlainLoop:
    """Consume, apply, and nothing else; everything happens in one thread, one thing after the other."""

    def __init__(self, settings: Settings) -> None:
        metrics = Metrics()
        accidents = Accidents(metrics.accidents)
        log = describe_log(settings.kafka, settings.dependency_budget_seconds)
        self._loop = asyncio.new_event_loop()
        redis = connect(settings.redis_url, settings.dependency_budget_seconds, accidents)
        self._directory = DirectoryStore(
            redis, log.directory_identity, whole_topic(settings.kafka, ORGANIZATIONS), accidents
        )
        self._producer = Producer({"bootstrap.servers": settings.kafka, "enable.idempotence": True})
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka,
                "group.id": settings.group,
                "session.timeout.ms": int(settings.session_timeout_seconds * 1000),
                "heartbeat.interval.ms": int(settings.session_timeout_seconds * 1000 / 3),
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # a position below the log start must not become a silent gap
                "fetch.wait.max.ms": settings.fetch_wait_ms,
                "log_level": 2,
            }
        )
        self._worker = Worker(
            tables=Tables(redis, settings.instance_id, log.identity),
            serving=lambda: serving_generation(redis, log.partitions, settings.attribution),
            reader=Reader(
                load_registry(),
                Pseudonymizer(settings.student_key_secret.reveal()),
                self._directory.directory.is_school,
                settings.attribution,
            ),
            directory=self._directory,
            closings=never_closed(),
            reject=self._reject,
            metrics=metrics,
            log_ends=self._log_ends,
            clock=SystemClock(),
        )
        self._next: dict[TP, int] = {}
        self._stopped = False

    def run(self) -> None:
        """Until SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        self._consumer.subscribe([EXAM_RESULTS, ORGANIZATIONS], on_assign=self._on_assign)
        report_at = 0.0
        while not self._stopped:
            for tp, records in _by_partition(self._consumer.consume(_AT_ONCE, _WAIT_SECONDS)).items():
                self._apply(tp, records)
            if time.monotonic() > report_at:
                report_at = time.monotonic() + 1.0
                self._wait(self._directory.refresh())
        self._consumer.close()

    def _stop(self, *signal_and_frame: object) -> None:
        self._stopped = True

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Claim, and read on from where the tables stand; runs inside ``consume``."""
        positions = self._wait(
            self._worker.positions(frozenset(TP(each.topic, each.partition) for each in assigned))
        )
        starts = {tp: self._start(tp) if at is None else at for tp, at in positions.items()}
        self._worker.sought(starts)
        self._next = dict(starts)
        consumer.assign([TopicPartition(tp.topic, tp.partition, at) for tp, at in starts.items()])

    def _start(self, tp: TP) -> int:
        low, _ = _bounds(self._consumer, tp)
        return low

    def _apply(self, tp: TP, records: Sequence[FetchedRecord]) -> None:
        start = self._next.get(tp)
        if start is None:
            return  # of a partition that was taken away while it was read
        self._next[tp] = records[-1].offset + 1
        batch = Batch(tp.topic, tp.partition, start, records)
        if tp.topic == ORGANIZATIONS:
            self._wait(self._directory.apply(batch))
            return
        seek_to = self._wait(self._worker.apply(batch))
        if seek_to is not None:
            self._next[tp] = seek_to
            self._consumer.seek(TopicPartition(tp.topic, tp.partition, seek_to))

    async def _log_ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {number: _bounds(self._consumer, TP(EXAM_RESULTS, number))[1] for number in partitions}

    async def _reject(self, rejected: Sequence[Rejection], partition: int) -> None:
        failed: list[KafkaError] = []
        for rejection in rejected:
            key, value, headers = rejected_record(rejection, partition, datetime.now(UTC))
            self._producer.produce(
                REJECTED,
                key=key,
                value=value,
                headers=[*headers],
                on_delivery=lambda error, message: failed.append(error) if error else None,
            )
        if self._producer.flush(_ANSWER_SECONDS) or failed:
            raise DependencyUnavailable(f"Kafka did not take {len(rejected)} rejected records")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)


def _by_partition(messages: Sequence[Message]) -> dict[TP, list[FetchedRecord]]:
    found: defaultdict[TP, list[FetchedRecord]] = defaultdict(list)
    for message in messages:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise DependencyUnavailable(f"Kafka refuses to be read: {error.str()}")
            continue
        topic: Any = message.topic()
        partition: Any = message.partition()
        offset: Any = message.offset()
        found[TP(topic, partition)].append(FetchedRecord(message, offset))
    return found


def _bounds(consumer: Consumer, tp: TP) -> tuple[int, int]:
    found = consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=_ANSWER_SECONDS)
    return found if found is not None else (OFFSET_BEGINNING, 0)


if __name__ == "__main__":
    configure_logging("text")
    try:
        PlainLoop(Settings.from_env(os.environ)).run()
    except DependencyUnavailable as trouble:
        sys.exit(str(trouble))
