"""What is done to the stack, what the monitor has to say of it, and which alert has to come of that."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from schemas.operations import Verdict
from tests.drills.crowd import ENDPOINTS as CROWD
from tests.drills.crowd import GROWS_SECONDS, crowd_away
from tests.drills.seen import Seen
from tests.drills.stand import ENDPOINTS, Stand
from tests.webhook_fleet.conduct import Conduct

Fault = Callable[[Stand], AbstractContextManager[None]]

_ALLOWED_SECONDS: Final = 5.0  # of lag; the monitor's setting
_SILENT_SAMPLES: Final = 4
_STALL_SAMPLES: Final = 6
_AGREEING_SAMPLES: Final = 3
_POISON: Final = 60  # a burst: ten times what a minute may have
_SLOW_SECONDS: Final = 0.15  # each way: an answer takes longer than Redis may need
# A burst that takes the hindered worker longer than the window of samples that the verdict is on.
_BURST_A_SECOND: Final = 20_000  # results, for each second between two samples
_HINDERED_SECONDS: Final = 0.1  # each way to Redis
_MANY_MESSAGES: Final = 1_000
_MESSAGES_A_SECOND: Final = 28 * CROWD / GROWS_SECONDS  # of 24 schools, 3 districts and a county each
_PILED_UP_SECONDS: Final = 30.0  # so long many messages have to wait before the monitor says so


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault.

    Attributes:
        name: as the table calls it, and (with underscores) as arguments do.
        fault: induces it on entering, and ends it on leaving.
        subject: the reader or part that has to be judged; empty: nobody may be.
        verdict: what has to be said of it.
        alert, labels: what has to fire; empty: nothing may.
        within: seconds in which the verdict has to be there, for a monitor that looks so often.
        also: others that may have an alarming verdict meanwhile, and say nothing false.
        happened: what has to be seen at least once, or the drill has shown nothing.
        samples: of the monitor, for which it is watched when nobody may be judged.
    """

    name: str
    fault: Fault
    subject: str = ""
    verdict: Verdict = Verdict.OK
    alert: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    within: Callable[[float], float] = lambda every: 0.0
    also: frozenset[str] = frozenset()
    happened: Callable[[Stand, Seen], bool] = lambda stand, seen: True
    samples: int = 14

    @property
    def argument(self) -> str:
        """How it is called on the command line."""
        return self.name.replace(" ", "_").replace(",", "").lower()


def _silence(every: float) -> float:
    """Until a reader counts as silent, and a sample says so."""
    return max(10.0, _SILENT_SAMPLES * every) + _ALLOWED_SECONDS + 2 * every + 3


def _lifeless(every: float) -> float:
    """Until a process that nothing waits for counts as silent, and the last samples agree."""
    return max(10.0, _SILENT_SAMPLES * every) + (_AGREEING_SAMPLES + 1) * every + 5


def _pile(every: float) -> float:
    """Until the crowd has confirmed, many messages wait, have done so for a while, and a sample says so."""
    return 10.0 + _MANY_MESSAGES / _MESSAGES_A_SECOND + _PILED_UP_SECONDS + 2 * every + 5


def _standstill(every: float) -> float:
    return _ALLOWED_SECONDS + (_STALL_SAMPLES + 3) * every + 3


@contextmanager
def _idle(stand: Stand) -> Iterator[None]:
    with stand.load.idle():
        yield


@contextmanager
def _shrinking(stand: Stand) -> Iterator[None]:
    """A burst, to a worker that is slower than usual."""
    stand.way("streams").redis_proxy.delay(_HINDERED_SECONDS)
    try:
        stand.load.burst(round(_BURST_A_SECOND * stand.every_seconds))
        yield
    finally:
        stand.way("streams").redis_proxy.delay(0.0)


def _stopped(name: str) -> Fault:
    @contextmanager
    def fault(stand: Stand) -> Iterator[None]:
        stand.stop(name)
        try:
            yield
        finally:
            stand.bring_back(name)

    return fault


@contextmanager
def _wedged(stand: Stand) -> Iterator[None]:
    stand.processes["streams"].freeze()
    try:
        yield
    finally:
        stand.processes["streams"].thaw()


@contextmanager
def _hanging(stand: Stand) -> Iterator[None]:
    stand.give_fault("hang 0")
    try:
        yield
    finally:
        stand.give_fault("")


@contextmanager
def _unassigned(stand: Stand) -> Iterator[None]:
    stand.give_fault("forget 1")
    stand.restart("streams")
    try:
        yield
    finally:
        stand.give_fault("")
        stand.restart("streams")


@contextmanager
def _receivers_dead(stand: Stand) -> Iterator[None]:
    stand.receivers_behave(Conduct.FAILING)
    try:
        yield
    finally:
        stand.receivers_behave(Conduct.LIVE)


@contextmanager
def _redis_slow(stand: Stand) -> Iterator[None]:
    for way in stand.surroundings.ways:
        way.redis_proxy.delay(_SLOW_SECONDS)
    try:
        yield
    finally:
        for way in stand.surroundings.ways:
            way.redis_proxy.delay(0.0)


@contextmanager
def _redis_silent(stand: Stand) -> Iterator[None]:
    """Connections are accepted, and nothing is answered."""
    stand.surroundings.redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stand.surroundings.redis.signal(signal.SIGCONT)


@contextmanager
def _kafka_down(stand: Stand) -> Iterator[None]:
    kafka = stand.surroundings.real
    assert kafka is not None
    kafka.kill()
    try:
        yield
    finally:
        kafka.start()


@contextmanager
def _skewed(stand: Stand) -> Iterator[None]:
    stand.skew_the_monitor(-30.0)
    try:
        yield
    finally:
        stand.skew_the_monitor(0.0)


@contextmanager
def _poisoned(stand: Stand) -> Iterator[None]:
    stand.load.poison(_POISON)
    yield


def _nothing_waits(stand: Stand, seen: Seen) -> bool:
    return seen.lag_seconds.get("streams") == 0


def _much_waits(stand: Stand, seen: Seen) -> bool:
    return seen.lag_seconds.get("streams", 0.0) > _ALLOWED_SECONDS


def _messages_wait(stand: Stand, seen: Seen) -> bool:
    return stand.measured("webhooks", "scores_webhook_queue_depth") >= ENDPOINTS


def _too_many_wait(stand: Stand, seen: Seen) -> bool:
    return stand.measured("webhooks", "scores_webhook_queue_depth") > _MANY_MESSAGES


_READERS: Final = frozenset({"streams", "relay", "webhooks", "publisher"})
_EVERYBODY: Final = _READERS | {"redis", "kafka", "clocks", "endpoints", "rejections"}

# The most gentle first; a burst of rejections is remembered for a minute by the monitor, and longer by alerts.
DRILLS: Final = (
    Drill("Idle topic", _idle, happened=_nothing_waits),
    Drill("Backlog that shrinks", _shrinking, happened=_much_waits, samples=20),
    # That is their owners' matter: the worker takes in what comes, and keeps it for them.
    Drill("Webhook receivers dead", _receivers_dead, happened=_messages_wait),
    Drill(
        "Worker stopped",
        _stopped("streams"),
        "streams",
        Verdict.STOP,
        "ScoresReaderStopped",
        {"group": "streams"},
        _silence,
    ),
    Drill(
        "Worker wedged",
        _wedged,
        "streams",
        Verdict.STOP,
        "ScoresReaderStopped",
        {"group": "streams"},
        _silence,
    ),
    Drill(
        "One partition hangs",
        _hanging,
        "streams",
        Verdict.STALL,
        "ScoresReaderStalled",
        {"group": "streams"},
        _standstill,
    ),
    Drill(
        "One partition unassigned",
        _unassigned,
        "streams",
        Verdict.UNASSIGNED,
        "ScoresReaderUnassigned",
        {"group": "streams"},
        lambda every: _ALLOWED_SECONDS + 4 * every + 12,  # with the restart of the worker
    ),
    Drill(
        "Relay dead",
        _stopped("relay"),
        "relay",
        Verdict.STOP,
        "ScoresReaderStopped",
        {"group": "relay"},
        _silence,
    ),
    Drill(
        "Webhook worker stopped",
        _stopped("webhooks"),
        "webhooks",
        Verdict.STOP,
        "ScoresReaderStopped",
        {"group": "webhooks"},
        _silence,
    ),
    Drill(
        "Publisher dead",
        _stopped("publisher"),
        "publisher",
        Verdict.STOP,
        "ScoresReaderStopped",
        {"group": "publisher"},
        _lifeless,
    ),
    # The worker does all it can, so it is not the one that is judged.
    Drill(
        "Webhook backlog",
        crowd_away,
        "endpoints",
        Verdict.WARN,
        "ScoresWebhookBacklog",
        {},
        _pile,
        happened=_too_many_wait,
    ),
    Drill(
        "Redis slow",
        _redis_slow,
        "redis",
        Verdict.WARN,
        "ScoresPartFailing",
        {"part": "redis"},
        lambda every: 2 * every + 6,
        also=_READERS,
    ),
    Drill(
        "Redis silent",
        _redis_silent,
        "redis",
        Verdict.STOP,
        "ScoresRedisUnreachable",
        {"part": "redis"},
        # Nothing refuses: what the monitor asks is waited for, one question after the other, each as long as it may take.
        lambda every: every + 12,
        also=_READERS,
    ),
    Drill(
        "Kafka down",
        _kafka_down,
        "kafka",
        Verdict.STOP,
        "ScoresKafkaUnreachable",
        {"part": "kafka"},
        lambda every: 2 * every + 12,
        also=_READERS,
    ),
    Drill(
        "Clock skew",
        _skewed,
        "clocks",
        Verdict.SKEWED,
        "ScoresClocksDisagree",
        {},
        lambda every: 2 * every + 12,  # with the restart of the monitor
        also=_EVERYBODY,
    ),
    Drill(
        "Poison burst",
        _poisoned,
        "rejections",
        Verdict.REJECTING,
        "ScoresRejecting",
        {},
        lambda every: 2 * every + 3,
        also=frozenset({"streams"}),
    ),
)
