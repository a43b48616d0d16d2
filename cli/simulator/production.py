"""Sends a season to Kafka, on schedule, and counts again what Kafka acknowledged.

The schedule is open: an event is due at start + number / rate, whatever the ones before it cost. A system that falls
behind is seen falling behind, instead of slowing down what it is measured by.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cli.simulator.county import County, plan_county
from cli.simulator.expectation import Expectation
from cli.simulator.options import Kind, SeasonOptions, SimulatedRecord
from cli.simulator.recount import Recount
from cli.simulator.season import Season
from cli.stores import opened_store
from schemas.assessments import Registry, load_registry
from schemas.errors import DependencyUnavailable
from schemas.events import (
    EXAM_RESULT_TYPE,
    ORGANIZATION_TYPE,
    OrganizationEntry,
    cloud_event_headers,
    encode_event,
)
from schemas.keys import ORGANIZATIONS
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import EXAM_RESULTS
from schemas.topics import ORGANIZATIONS as ORGANIZATIONS_TOPIC

_SOURCE: Final = "/scores/simulator"
_ANSWER_SECONDS: Final = 10.0  # until Kafka must have answered a first question
_FLUSH_SECONDS: Final = 15.0  # until what is under way must be acknowledged, at the end
_POLL_SECONDS: Final = 0.1  # how late a stop is noticed between two events
_SERVED_EVERY: Final = 256  # events between two looks at acknowledgements, when there is no time to wait
_SHORT_SECONDS: Final = 0.002  # librdkafka waits in whole milliseconds; anything shorter is slept


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running season stands."""

    phase: str  # "organizations", "results" or "acknowledgements"
    produced: int
    acknowledged: int
    seconds: float


@dataclass(slots=True)
class SeasonRun:
    """What was produced and acknowledged, and what the aggregates must be because of it."""

    county: County
    recount: Recount
    options: SeasonOptions
    kinds: Counter[Kind] = field(default_factory=Counter)  # acknowledged events
    produced: int = 0
    lost: int = 0  # produced, not acknowledged: they may be in Kafka or not
    seconds: float = 0.0
    latest_seconds: float = 0.0  # how far behind the schedule an event was sent at worst

    @property
    def acknowledged(self) -> int:
        """How many events are in the recount."""
        return self.kinds.total()

    def expectation(self) -> Expectation:
        """The head of the expectation file."""
        return Expectation(
            seed=self.options.seed,
            school_year=self.options.school_year,
            schools=self.options.schools,
            events=self.acknowledged,
            kinds={kind.value: number for kind in Kind if (number := self.kinds[kind])},
            outcomes=dict(sorted(self.recount.outcomes.items())),
        )


def run_season(
    *,
    kafka: str,
    redis_url: str,
    secret: bytes,
    options: SeasonOptions,
    rate: float,
    stop: threading.Event,
    for_seconds: float | None = None,
    directory_seconds: float = 60.0,
    registry: Registry | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SeasonRun:
    """Make the county known, then produce its season; returns when all is acknowledged, or ``stop`` is set.

    It blocks: call it from a thread of its own. ``rate`` is events a second, 0 for as fast as Kafka takes them;
    ``for_seconds`` and ``directory_seconds`` limit the results and the wait for the directory.

    Raises:
        DependencyUnavailable: Kafka or Redis does not answer, or no worker takes the directory.
    """
    registry = registry or load_registry()
    county = plan_county(options.schools, options.seed)
    season = Season(county, registry, Pseudonymizer(secret), options)
    run = SeasonRun(county, Recount(registry, [school.cds for school in county.schools]), options)
    sender = _Sender(kafka, run, on_progress)
    sender.send_directory(county.entries)
    if _directory_known(redis_url, county.entries, directory_seconds, stop, sender):
        sender.send(season, rate, stop, for_seconds)
    sender.close()
    return run


class _Sender:
    def __init__(self, kafka: str, run: SeasonRun, on_progress: Callable[[Progress], None]) -> None:
        self._kafka = kafka
        self._run = run
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._trouble = ""
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "client.id": "scores-simulator",
                "enable.idempotence": True,
                "acks": "all",
                # librdkafka's default is CRC32; keys must meet on the same partition whoever produces.
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 50_000,
                "error_cb": self._on_error,
                "log_level": 2,  # critical; connection trouble is told by error_cb
            }
        )

    def send_directory(self, entries: Sequence[OrganizationEntry]) -> None:
        try:
            topics = self._producer.list_topics(timeout=_ANSWER_SECONDS).topics
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka at {self._kafka} does not answer: {error.args[0].str()}; "
                "start the stack with `scores up`, or give --kafka"
            ) from error
        if missing := {EXAM_RESULTS, ORGANIZATIONS_TOPIC} - set(topics):
            raise DependencyUnavailable(
                f"Kafka at {self._kafka} has no topic {' and no '.join(sorted(missing))}; start the stack with `scores up`"
            )
        self.report("organizations")
        refused: list[KafkaError] = []
        now = datetime.now(UTC)
        for number, entry in enumerate(entries):
            headers = cloud_event_headers(ORGANIZATION_TYPE, f"{entry.cds}-{number}", _SOURCE, now)
            self._producer.produce(
                ORGANIZATIONS_TOPIC,
                key=entry.cds.encode(),
                value=encode_event(entry),
                headers=[*headers],  # a list of its own: the producer's stubs want one of wider type
                on_delivery=lambda error, message: refused.append(error) if error else None,
            )
        if self._producer.flush(_FLUSH_SECONDS) or refused:
            raise DependencyUnavailable(
                f"Kafka at {self._kafka} did not take the directory: {refused[0].str() if refused else self._trouble}"
            )

    def send(
        self, season: Iterable[SimulatedRecord], rate: float, stop: threading.Event, for_seconds: float | None
    ) -> None:
        run, prefix = self._run, f"{self._run.options.seed}-"
        start = self._started = time.monotonic()
        end = start + for_seconds if for_seconds is not None else float("inf")
        for record in season:
            now = time.monotonic()
            if rate:
                due = start + run.produced / rate
                if due < end:
                    now = self._wait(due, now, stop)
                run.latest_seconds = max(run.latest_seconds, now - due)
            if stop.is_set() or now >= end or (rate and due >= end):
                break
            event = record.event
            headers = cloud_event_headers(
                EXAM_RESULT_TYPE, f"{prefix}{event.sequence}", _SOURCE, event.status_date
            )
            self._produce(record, encode_event(event), headers)
            run.produced += 1
            if run.produced % _SERVED_EVERY == 0:
                self._producer.poll(0)
                self.report("results")
        run.seconds = time.monotonic() - start

    def close(self) -> None:
        self.report("acknowledgements")
        self._producer.flush(_FLUSH_SECONDS)
        self._run.lost = self._run.produced - self._run.acknowledged
        self.report("acknowledgements")

    def report(self, phase: str) -> None:
        seconds = time.monotonic() - self._started
        self._on_progress(Progress(phase, self._run.produced, self._run.acknowledged, seconds))

    def _produce(self, record: SimulatedRecord, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        delivered = partial(self._on_delivery, record)
        while True:
            try:
                self._producer.produce(
                    EXAM_RESULTS,
                    key=record.key.encode(),
                    value=value,
                    headers=[*headers],  # a list of its own: the producer's stubs want one of wider type
                    on_delivery=delivered,
                )
                return
            except BufferError:  # full: Kafka is slower than we are
                self._producer.poll(_POLL_SECONDS)

    def _wait(self, due: float, now: float, stop: threading.Event) -> float:
        while (ahead := due - now) > 0 and not stop.is_set():
            if ahead < _SHORT_SECONDS:
                time.sleep(ahead)
            else:
                self._producer.poll(min(ahead, _POLL_SECONDS))
                self.report("results")
            now = time.monotonic()
        return now

    def _on_delivery(self, record: SimulatedRecord, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._run.recount.add(record.key, record.event)
            self._run.kinds[record.kind] += 1

    def _on_error(self, error: KafkaError) -> None:
        self._trouble = error.str()


def _directory_known(
    redis_url: str,
    entries: Sequence[OrganizationEntry],
    seconds: float,
    stop: threading.Event,
    sender: _Sender,
) -> bool:
    """Whether all entries are in Redis; False when stopped. Results of unknown schools would be refused."""
    codes = [entry.cds for entry in entries]
    deadline = time.monotonic() + seconds
    with opened_store(redis_url) as redis:
        while not stop.is_set():
            known = sum(value is not None for value in redis.hmget(ORGANIZATIONS, codes))
            if known == len(codes):
                return True
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"after {seconds:g} s the directory in Redis has {known} of {len(codes)} organizations; is a "
                    "stream worker running? Start one with `scores streams`, or the whole stack with `scores up`"
                )
            sender.report("organizations")
            stop.wait(_POLL_SECONDS)
    return False
