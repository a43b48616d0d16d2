"""Fills Kafka with a replay's season, by several processes at once."""

from __future__ import annotations

import multiprocessing
import time
from array import array
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from multiprocessing.sharedctypes import Synchronized
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from bench.replay_order import Order
from bench.replay_records import Season
from bench.replay_season import directory
from schemas.events import EXAM_RESULT_TYPE, ORGANIZATION_TYPE, cloud_event_headers, encode_event
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS

_SOURCE: Final = "/scores/replay"
_SERVED_EVERY: Final = 1_000  # records between two looks at acknowledgements
_FLUSH_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.2


def produce_directory(kafka: str, schools: int) -> None:
    """Make the organizations known; the worker reads them before any result."""
    producer = _Acknowledged(kafka)
    now = datetime.now(UTC)
    for entry in directory(schools):
        headers = cloud_event_headers(ORGANIZATION_TYPE, entry.cds, _SOURCE, now)
        producer.send(ORGANIZATIONS, entry.cds.encode(), encode_event(entry), headers)
    producer.close()


def produce_season(
    kafka: str,
    results: int,
    schools: int,
    seed: int,
    secret: bytes,
    order: Order,
    *,
    producers: int,
    on_progress: Callable[[int], None],
) -> tuple[int, list[array[int]]]:
    """How many records were produced, and each producer's counts.

    ``on_progress`` is told how many were sent so far.
    """
    context = multiprocessing.get_context("spawn")  # librdkafka's threads do not survive a fork
    sent = [context.Value("q", 0) for _ in range(producers)]
    queue: multiprocessing.SimpleQueue[tuple[int, bytes]] = context.SimpleQueue()
    processes = [
        context.Process(
            target=_produce_part,
            args=(kafka, results, schools, seed, secret, order, number, producers, sent[number], queue),
            daemon=True,
        )
        for number in range(producers)
    ]
    for process in processes:
        process.start()
    total = 0
    parts: list[array[int]] = []
    while len(parts) < producers:
        if not queue.empty():
            records, counts = queue.get()
            total += records
            parts.append(array("H", counts))
        elif any(process.exitcode for process in processes):
            raise SystemExit("a producer has failed; see its message above")
        else:
            time.sleep(_LOOK_SECONDS)
        on_progress(sum(value.value for value in sent))
    for process in processes:
        process.join()
    return total, parts


def _produce_part(
    kafka: str,
    results: int,
    schools: int,
    seed: int,
    secret: bytes,
    order: Order,
    number: int,
    producers: int,
    sent: Synchronized[int],
    queue: multiprocessing.SimpleQueue[tuple[int, bytes]],
) -> None:
    season = Season(results, schools, seed, secret, order)
    producer = _Acknowledged(kafka)
    # As the gateway sends them; id and time alone would differ, and nothing reads those two.
    headers = cloud_event_headers(EXAM_RESULT_TYPE, "replay", _SOURCE, datetime.now(UTC))
    for count, (key, value) in enumerate(season.part(number, producers), start=1):
        producer.send(EXAM_RESULTS, key, value, headers)
        if count % _SERVED_EVERY == 0:
            producer.serve()
            sent.value = count
    producer.close()
    sent.value = producer.acknowledged
    queue.put((producer.acknowledged, season.counts.tobytes()))


class _Acknowledged:
    """A producer that fails unless all was acknowledged."""

    def __init__(self, kafka: str) -> None:
        self.acknowledged = 0
        self._sent = 0
        self._refused: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 50,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 256 * 1024,
                "log_level": 3,  # errors; a coordinator that is still loading is none
            }
        )

    def send(self, topic: str, key: bytes, value: bytes, headers: Iterable[tuple[str, bytes]]) -> None:
        self._sent += 1
        while True:
            try:
                self._producer.produce(
                    topic, key=key, value=value, headers=[*headers], on_delivery=self._on_delivery
                )
                return
            except BufferError:  # full: Kafka is slower than we are
                self._producer.poll(0.1)

    def serve(self) -> None:
        self._producer.poll(0)

    def close(self) -> None:
        self._producer.flush(_FLUSH_SECONDS)
        if self._refused or self.acknowledged != self._sent:
            reason = self._refused[0].str() if self._refused else "no answer in time"
            raise SystemExit(f"Kafka acknowledged {self.acknowledged:,} of {self._sent:,} records: {reason}")

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self._refused.append(error)
