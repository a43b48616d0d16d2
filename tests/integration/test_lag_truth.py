"""Lag in seconds beside the truth: when the producer sent, by its own clock, what the worker had not applied yet.

The worker is a real one. It is sampled under a steady load, while it sleeps, and while it reads what had come meanwhile.
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
from lag_stand import group

from consumers.lag.samples import STREAMS
from consumers.lag.sampling import Sampler
from consumers.webhooks.connection import connect
from schemas.topics import EXAM_RESULTS

pytestmark = pytest.mark.anyio

PARTITIONS = 2
TOLERATED_SECONDS = 1.0
TOLERATED_SHARE = 0.05
BURST = 500
# A monitor leaves seconds; without any pause it would take the worker's processor.
BETWEEN_SAMPLES_SECONDS = 0.1


class Clocked:
    """A producer that knows when it sent each record."""

    def __init__(self, kafka: str) -> None:
        self.sent: dict[tuple[int, int], float] = {}  # by partition and offset
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

    def waiting_since(self, partition: int, position: int) -> float | None:
        """When the record at a position was sent; None when there is none."""
        return self.sent.get((partition, position))

    def _load(self) -> None:
        while not self._stop.wait(0.05):
            self.burst(5)

    def _send(self, number: int) -> None:
        at = time.time()

        def acknowledged(error: Any, message: Any) -> None:
            assert error is None, error
            self.sent[message.partition(), message.offset()] = at

        self._producer.produce(
            EXAM_RESULTS, value=b"no result", partition=number % PARTITIONS, on_delivery=acknowledged
        )
        self._producer.poll(0)


class Errors:
    """How far samples were from the truth. The worker goes on while it is sampled: before and after is both true."""

    def __init__(self, producer: Clocked, redis: redis_client.Redis) -> None:
        self._producer = producer
        self._redis = redis
        self.worst = 0.0
        self.longest = 0.0
        self.taken = 0

    async def take(self, sampler: Sampler) -> float:
        """One sample; returns the longest lag of a partition."""
        before = self._truth()
        snapshot = await sampler.sample()
        after = self._truth()
        told: list[float] = []
        for one in group(snapshot, STREAMS, EXAM_RESULTS).partitions:
            assert one.lag_seconds is not None, snapshot
            truths = sorted((before[one.partition], after[one.partition]))
            error = max(truths[0] - one.lag_seconds, one.lag_seconds - truths[1], 0.0)
            assert error <= max(TOLERATED_SECONDS, TOLERATED_SHARE * truths[1]), (truths, one)
            self.worst = max(self.worst, error)
            told.append(one.lag_seconds)
        self.taken += 1
        await asyncio.sleep(BETWEEN_SAMPLES_SECONDS)
        self.longest = max(self.longest, *told)
        return max(told)

    def _truth(self) -> dict[int, float]:
        positions = stack.positions(self._redis, PARTITIONS)
        now = time.time()
        since = {number: self._producer.waiting_since(number, at) for number, at in positions.items()}
        return {number: 0.0 if sent is None else now - sent for number, sent in since.items()}


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
        errors = Errors(producer, redis)
        producer.burst(PARTITIONS)
        stack.wait_for(lambda: sum(stack.positions(redis, PARTITIONS).values()) > 0, "the worker works")

        producer.start()
        try:
            for _ in range(10):
                await errors.take(sampler)
            worker.signal(signal.SIGSTOP)
            producer.burst(BURST)
            while await errors.take(sampler) < 4.0:
                pass
            producer.burst(BURST)
            worker.signal(signal.SIGCONT)
            while await errors.take(sampler) > 2.0:
                assert worker.running, worker.last_lines()
        finally:
            worker.signal(signal.SIGCONT)
            producer.stop()
        deadline = time.monotonic() + 30
        while await errors.take(sampler) > 0:
            assert time.monotonic() < deadline, worker.last_lines()
        print(
            f"{kind}: {errors.taken} samples, lag up to {errors.longest:.1f} s, worst error {errors.worst:.3f} s"
        )
        assert errors.longest >= 4.0
        await sampler.close()
        await client.aclose()
