"""Lag in seconds beside the truth: when the producer sent, by its own clock, what the worker had not applied yet.

The worker is a real one. It is sampled under a steady load, while it sleeps, and while it reads what had come meanwhile. The
truth has bounds, and no tolerance: where the worker was before and after a sample, and when a record was sent and acknowledged.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import stack
from confluent_kafka import Producer
from lag_stand import ROUNDING_SECONDS, Written, group

from consumers.lag.samples import STREAMS
from consumers.lag.sampling import Sampler
from consumers.webhooks.connection import connect
from schemas.topics import EXAM_RESULTS

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("time_for_records")]

PARTITIONS = 2
BURST = 500
# A monitor leaves seconds; without any pause it would take the worker's processor.
BETWEEN_SAMPLES_SECONDS = 0.1


class Clocked:
    """A producer that knows when it sent each record."""

    def __init__(self, kafka: str) -> None:
        self._written: dict[tuple[int, int], Written] = {}  # by partition and offset
        self._producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0, "log_level": 0})
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._load)

    def burst(self, count: int) -> None:
        """So many at once."""
        with self._lock:
            for number in range(count):
                self._send(number)
            assert self._producer.flush(30) == 0

    def start(self) -> None:
        """A hundred a second, from now on."""
        self._thread.start()

    def stop(self) -> None:
        """No more of those."""
        self._stop.set()
        self._thread.join()

    def settle(self) -> None:
        """Return when all that has been sent is acknowledged."""
        with self._lock:
            assert self._producer.flush(30) == 0

    def written(self, partition: int, position: int) -> Written | None:
        """When the record at a position was sent and acknowledged; None when there is none, once all is settled."""
        return self._written.get((partition, position))

    def _load(self) -> None:
        while not self._stop.wait(0.05):
            self.burst(5)

    def _send(self, number: int) -> None:
        at = time.time()

        def acknowledged(error: Any, message: Any) -> None:
            assert error is None, error
            self._written[message.partition(), message.offset()] = Written(at, time.time())

        self._producer.produce(
            EXAM_RESULTS, value=b"no result", partition=number % PARTITIONS, on_delivery=acknowledged
        )
        self._producer.poll(0)


class Truth:
    """What samples may say. The worker goes on while it is sampled: where it was before, and after, bounds where it is."""

    def __init__(self, producer: Clocked, redis: redis_client.Redis) -> None:
        self._producer = producer
        self._redis = redis
        self.longest = 0.0

    async def take(self, sampler: Sampler) -> float:
        """One sample, which has to be true; returns the longest lag of a partition."""
        before, before_at = stack.positions(self._redis, PARTITIONS), time.time()
        snapshot = await sampler.sample()
        after_at, after = time.time(), stack.positions(self._redis, PARTITIONS)
        await asyncio.to_thread(self._producer.settle)
        told: list[float] = []
        for one in group(snapshot, STREAMS, EXAM_RESULTS).partitions:
            assert one.lag_seconds is not None, snapshot
            # The oldest that it may have been about to read, and the youngest.
            oldest = self._producer.written(one.partition, before[one.partition])
            youngest = self._producer.written(one.partition, after[one.partition])
            most = 0.0 if oldest is None else max(0.0, after_at - oldest.began)
            least = 0.0 if youngest is None else max(0.0, before_at - youngest.done)
            assert least - ROUNDING_SECONDS <= one.lag_seconds <= most + ROUNDING_SECONDS, (least, most, one)
            told.append(one.lag_seconds)
        await asyncio.sleep(BETWEEN_SAMPLES_SECONDS)
        self.longest = max(self.longest, *told)
        return max(told)


@pytest.mark.parametrize("kind", ["embedded", "real"])
async def test_lag_is_what_the_producers_clock_says_under_load_and_after_bursts(
    kind: str, tmp_path: Path
) -> None:
    with (
        stack.broker(kind, PARTITIONS, tmp_path) as kafka,
        stack.store("embedded") as server,
        redis_client.Redis.from_url(server.url) as redis,
        stack.running_worker(kafka, server.url, tmp_path, SCORES_SESSION_TIMEOUT_SECONDS="20") as worker,
    ):
        client = connect(server.url)
        sampler = Sampler(kafka, client)
        producer = Clocked(kafka)
        truth = Truth(producer, redis)
        producer.burst(PARTITIONS)
        stack.wait_for(lambda: sum(stack.positions(redis, PARTITIONS).values()) > 0, "the worker works")

        producer.start()
        try:
            for _ in range(10):
                await truth.take(sampler)
            worker.signal(signal.SIGSTOP)
            producer.burst(BURST)
            while await truth.take(sampler) < 4.0:
                pass
            producer.burst(BURST)
            worker.signal(signal.SIGCONT)
            while await truth.take(sampler) > 2.0:
                assert worker.running, worker.last_lines()
        finally:
            worker.signal(signal.SIGCONT)
            producer.stop()
        deadline = time.monotonic() + 60
        while await truth.take(sampler) > 0:
            assert time.monotonic() < deadline, worker.last_lines()
        assert truth.longest >= 4.0
        await sampler.close()
        await client.aclose()
