"""What testing vendors send during a drill: a steady trickle, bursts, and records that nobody can apply."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, Self

from confluent_kafka import Producer

from cli.simulator.county import County, plan_county
from cli.simulator.options import SeasonOptions, SimulatedRecord
from cli.simulator.production import run_season
from cli.simulator.season import Season
from schemas.assessments import load_registry
from schemas.errors import DependencyUnavailable
from schemas.events import encode_event
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS
from tests.stack import SECRET

_SCHOOLS: Final = 24
_SEED: Final = 7
_LONGEST_WAIT_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 60.0

COUNTY: Final[tuple[int, int]] = (_SCHOOLS, _SEED)


def county() -> County:
    """The county whose schools report."""
    return plan_county(*COUNTY)


class Load:
    """Produces in a thread, inside ``with``; results a second are in ``rate``, which may be changed at any time.

    Args:
        rate: at the beginning.
    """

    def __init__(self, kafka: str, *, rate: float) -> None:
        self.rate = rate
        self._kafka = kafka
        self._lock = threading.Lock()
        self._season = self._records()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        # Idempotent, and without a limit of time: what was sent while Kafka is down arrives when it is back.
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
            }
        )

    def introduce(self, redis_url: str) -> None:
        """Make the schools known, and wait until the workers know them.

        Raises:
            DependencyUnavailable: no worker takes the directory.
        """
        options = SeasonOptions(schools=_SCHOOLS, seed=_SEED, results=1)
        run_season(
            kafka=self._kafka,
            redis_url=redis_url,
            secret=SECRET.encode(),
            options=options,
            rate=0,
            stop=threading.Event(),
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._producer.purge()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Nothing is sent inside ``with``, but for bursts."""
        rate, self.rate = self.rate, 0.0
        try:
            yield
        finally:
            self.rate = rate

    def burst(self, results: int) -> None:
        """So many results at once; returns when Kafka has them.

        Raises:
            DependencyUnavailable: it does not take them.
        """
        with self._lock:
            for number, record in enumerate(islice(self._season, results)):
                self._send(record)
                if number % 1000 == 0:
                    self._producer.poll(0)
        self._flush()

    def poison(self, records: int) -> None:
        """So many records that are no events.

        Raises:
            DependencyUnavailable: Kafka does not take them.
        """
        for _ in range(records):
            self._producer.produce(EXAM_RESULTS, key=b"nobody", value=b"<TDSReport/>")
        self._flush()

    def _flush(self) -> None:
        if left := self._producer.flush(_FLUSH_SECONDS):
            raise DependencyUnavailable(f"Kafka did not take {left} records in {_FLUSH_SECONDS:g} s")

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(min(_LONGEST_WAIT_SECONDS, max(0.0, due - time.monotonic()))):
            now = time.monotonic()
            if not self.rate:
                due = now
            elif now >= due:
                due = max(due + 1 / self.rate, now - 1.0)  # what a pause held up does not come at once
                with self._lock:
                    self._send(next(self._season))
            self._producer.poll(0)

    def _send(self, record: SimulatedRecord) -> None:
        while True:
            try:
                self._producer.produce(
                    EXAM_RESULTS, key=record.key.encode(), value=encode_event(record.event)
                )
                return
            except BufferError:  # full, because Kafka is away
                self._producer.poll(_LONGEST_WAIT_SECONDS)

    @staticmethod
    def _records() -> Iterator[SimulatedRecord]:
        options = SeasonOptions(schools=_SCHOOLS, seed=_SEED, students=200_000)  # more than can be used
        return iter(Season(county(), load_registry(), Pseudonymizer(SECRET.encode()), options))
