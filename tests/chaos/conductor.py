"""Carries out planned disturbances, several at a time where the plan says so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

from confluent_kafka import KafkaError

from cli.stack.embedded_kafka import Request
from tests.chaos.disturbances import FAIL_POINTS, OUTAGES, Disturbance, Kind
from tests.chaos.fleet import WorkerSlot
from tests.chaos.snapshots import Checker
from tests.chaos.surroundings import Surroundings

_FAIL_POINT_SECONDS: Final = (
    8.0  # how long a worker may take to come to a point; batches come many times a second
)
_AT_ONCE: Final = 3  # disturbances at most
_ANY_REQUEST: Final = (
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._TRANSPORT,  # the broker cuts the connection
)
_GROUP_REQUEST: Final = (
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._TRANSPORT,
)
# What may fail, and how. The harness's own producer and reader meet these errors, too, and must live through them.
_FAILING: Final = {
    Request.FETCH: _ANY_REQUEST,
    Request.METADATA: _ANY_REQUEST,
    Request.PRODUCE: _ANY_REQUEST,
    Request.HEARTBEAT: _GROUP_REQUEST,
    Request.JOIN_GROUP: _GROUP_REQUEST,
    Request.SYNC_GROUP: _GROUP_REQUEST,
    Request.OFFSET_COMMIT: _GROUP_REQUEST,
}


class Conductor:
    """Begins the next disturbance when it is time; ``step`` is called again and again.

    Args:
        workers: the permanent ones; ``guest`` joins and leaves.
        disturbed: called with a disturbance's name at the moment from which settling is counted, and whether this is the
            end of an outage of Kafka or Redis.
        say: called with a line for the log of the run.
    """

    def __init__(
        self,
        plan: Iterator[Disturbance],
        *,
        surroundings: Surroundings,
        workers: Sequence[WorkerSlot],
        guest: WorkerSlot,
        checker: Checker,
        disturbed: Callable[[str, bool], None],
        say: Callable[[str], None],
    ) -> None:
        self.done: Counter[Kind] = Counter()
        self.missed: Counter[Kind] = Counter()  # fail-points that no worker came to
        self._plan = plan
        self._surroundings = surroundings
        self._workers = workers
        self._guest = guest
        self._checker = checker
        self._disturbed = disturbed
        self._say = say
        self._next = next(plan)
        self._not_before: float | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, "disturbance")
        self._futures: dict[Future[None], Disturbance] = {}
        self._over = threading.Event()
        self._redis = threading.Lock()  # one server can be killed once at a time
        self._kafka = threading.Lock()

    @property
    def under_way(self) -> list[Disturbance]:
        """What is being done at this moment."""
        return [disturbance for future, disturbance in self._futures.items() if not future.done()]

    def step(self, now: float, settled: bool) -> None:
        """Begin the next disturbance if it is its turn."""
        for future in [future for future in self._futures if future.done()]:
            del self._futures[future]
            future.result()
        quiet = settled and not self._futures
        ready = len(self._futures) < _AT_ONCE and (quiet or not self._next.waits)
        if not ready:
            self._not_before = None
        elif self._not_before is None:
            self._not_before = now + self._next.pause_seconds
        elif now >= self._not_before:
            self._begin(self._next)
            self._next, self._not_before = next(self._plan), None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Let what is under way come to its end, early where it waits. Finishing twice is fine."""
        self._over.set()
        self._pool.shutdown()
        for worker in (*self._workers, self._guest):
            worker.disarm()
            worker.thaw()
        for future in self._futures:
            future.result()
        self._futures.clear()

    def _begin(self, disturbance: Disturbance) -> None:
        self._futures[self._pool.submit(self._carry_out, disturbance)] = disturbance

    def _carry_out(self, disturbance: Disturbance) -> None:
        name = f"{disturbance.number} {disturbance.kind.value}"
        self._say(f"{name}, worker {disturbance.worker}, {disturbance.seconds:.1f} s")
        if self._do(disturbance):
            self.done[disturbance.kind] += 1
        else:
            self.missed[disturbance.kind] += 1
            self._say(f"{name}: no worker came to this point")

    def _do(self, disturbance: Disturbance) -> bool:
        kind, worker = disturbance.kind, self._workers[disturbance.worker]
        if kind in FAIL_POINTS:
            return self._fail_at_point(disturbance, worker)
        match kind:
            case Kind.KILL:
                worker.kill()
                self._starts_counting(disturbance)
            case Kind.KILL_ALL:
                for each in self._workers:
                    each.kill()
                self._starts_counting(disturbance)
            case Kind.NAP | Kind.SLEEP:
                worker.freeze()
                self._starts_counting(disturbance)
                self._wait(disturbance.seconds)
                worker.thaw()
                self._starts_counting(disturbance)  # it takes partitions back
            case Kind.LEAVE:
                worker.leave()
                self._starts_counting(disturbance)
                self._wait(disturbance.seconds)
                worker.come_back()
                self._starts_counting(disturbance)
            case Kind.JOIN:
                self._guest.come_back()
                self._starts_counting(disturbance)
                self._wait(disturbance.seconds)
                self._guest.leave()
                self._starts_counting(disturbance)
            case Kind.REDIS_KILL | Kind.REDIS_LOSES_TAIL:
                self._kill_redis(disturbance)
            case Kind.KAFKA_RESTART:
                with self._kafka:
                    self._surroundings.restart_kafka(lambda: self._wait(disturbance.seconds))
                self._starts_counting(disturbance)
            case Kind.KAFKA_ERRORS | Kind.KAFKA_DOWN:
                self._trouble_embedded_kafka(disturbance)
            case _:
                self._trouble_connections(disturbance)
        return True

    def _starts_counting(self, disturbance: Disturbance) -> None:
        self._disturbed(disturbance.kind.value, disturbance.kind in OUTAGES)

    def _wait(self, seconds: float) -> None:
        self._over.wait(seconds)

    def _fail_at_point(self, disturbance: Disturbance, worker: WorkerSlot) -> bool:
        worker.arm(FAIL_POINTS[disturbance.kind])
        if disturbance.kind is Kind.DIE_AFTER_CLAIM:
            worker.kill()  # it claims when it is back
        waited = 0.0
        while worker.armed and waited < _FAIL_POINT_SECONDS and not self._over.is_set():
            self._wait(0.02)
            waited += 0.02
        fired = not worker.armed
        worker.disarm()
        self._starts_counting(disturbance)
        return fired

    def _kill_redis(self, disturbance: Disturbance) -> None:
        with self._redis:
            self._surroundings.kill_redis()
            if disturbance.kind is Kind.REDIS_LOSES_TAIL:
                lost = self._surroundings.lose_redis_tail(disturbance.share**3)  # mostly little
                self._say(f"{disturbance.number}: {lost:,} bytes of the append-only file are lost")
            self._checker.redis_forgot()
            self._wait(disturbance.seconds)
            self._surroundings.start_redis()
        self._starts_counting(disturbance)

    def _trouble_connections(self, disturbance: Disturbance) -> None:
        way = self._surroundings.ways[disturbance.worker]
        match disturbance.kind:
            case Kind.REDIS_CUT:
                way.redis_proxy.cut()
            case Kind.REDIS_ANSWER_LOST:
                way.redis_proxy.cut_before_answer()
            case Kind.REDIS_SILENT:
                way.redis_proxy.pause()
                self._wait(disturbance.seconds)
                way.redis_proxy.resume()
            case Kind.KAFKA_CUT if way.kafka_proxy is not None:
                way.kafka_proxy.cut()
            case Kind.KAFKA_SILENT if way.kafka_proxy is not None:
                way.kafka_proxy.pause()
                self._starts_counting(disturbance)
                self._wait(disturbance.seconds)
                way.kafka_proxy.resume()
        self._starts_counting(disturbance)

    def _trouble_embedded_kafka(self, disturbance: Disturbance) -> None:
        kafka = self._surroundings.embedded
        assert kafka is not None
        if disturbance.kind is Kind.KAFKA_DOWN:
            with self._kafka:
                kafka.set_broker_down()
                self._wait(disturbance.seconds)
                kafka.set_broker_up()
        else:
            for request, errors in _FAILING.items():
                kafka.push_request_errors(request, [errors[int(disturbance.share * len(errors))]] * 2)
            self._wait(disturbance.seconds)
            for request in _FAILING:
                kafka.clear_request_errors(request)
        self._starts_counting(disturbance)
