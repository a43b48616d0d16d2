"""When a worker gives Kafka up, when it gives itself up, and what it calls each."""

from __future__ import annotations

import logging

import pytest

from schemas.errors import (
    DependencyUnavailable,
    GroupFailed,
    LogGap,
    LogReplaced,
    PartitionsChanged,
    PositionMoved,
    ScoreStreamError,
    Stalled,
)
from streams.accidents import Accidents
from streams.kafka_outage import KafkaOutage
from streams.metrics import Metrics
from streams.watchdog import Watchdog


class Watch:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def count(metrics: Metrics, kind: str) -> float | None:
    return metrics.registry.get_sample_value("scores_accidents_total", {"kind": kind})


def test_kafka_away_is_told_once_and_given_up_when_the_budget_is_spent(metrics: Metrics) -> None:
    watch = Watch()
    outage = KafkaOutage("broker:9092", 60, Accidents(metrics.accidents), now=watch)
    for seconds in (0, 30, 59):
        watch.seconds = 100.0 + seconds
        outage.noticed("connection refused")
    assert count(metrics, "kafka_away") == 1
    watch.seconds = 160.0
    with pytest.raises(DependencyUnavailable) as given_up:
        outage.noticed("connection refused")
    assert "broker:9092" in str(given_up.value) and "within 60 s" in str(given_up.value)
    assert "SCORES_DEPENDENCY_BUDGET_SECONDS" in str(given_up.value)


def test_every_outage_of_kafka_has_the_whole_budget(metrics: Metrics) -> None:
    watch = Watch()
    outage = KafkaOutage("broker:9092", 60, Accidents(metrics.accidents), now=watch)
    outage.noticed("connection refused")
    watch.seconds += 50
    outage.over()
    watch.seconds += 20
    outage.noticed("connection refused")
    watch.seconds += 50
    outage.noticed("connection refused")
    assert count(metrics, "kafka_away") == 2


def test_worker_that_applies_nothing_while_records_wait_gives_itself_up() -> None:
    watch = Watch()
    watchdog = Watchdog(120, now=watch)
    watchdog.look(waiting=True, applied=7)
    watch.seconds += 119
    watchdog.look(waiting=True, applied=7)
    watch.seconds += 1
    with pytest.raises(Stalled, match="no batch was applied for 120 s"):
        watchdog.look(waiting=True, applied=7)


@pytest.mark.parametrize(
    ("waiting", "applied"),
    [pytest.param(True, 8, id="a batch was applied"), pytest.param(False, 7, id="nothing waited")],
)
def test_worker_that_works_or_has_nothing_to_do_is_left_alone(waiting: bool, applied: int) -> None:
    watch = Watch()
    watchdog = Watchdog(120, now=watch)
    watchdog.look(waiting=True, applied=7)
    watch.seconds += 100
    watchdog.look(waiting=waiting, applied=applied)
    watch.seconds += 100
    watchdog.look(waiting=True, applied=applied)
    with pytest.raises(Stalled):
        watch.seconds += 120
        watchdog.look(waiting=True, applied=applied)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LogGap("why"), "log_gap"),
        (LogReplaced("why"), "log_replaced"),
        (PartitionsChanged("why"), "partitions_changed"),
        (Stalled("why"), "stalled"),
        (GroupFailed("why"), "group_failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_ends_a_worker_is_named_in_the_log_and_in_a_metric(
    error: ScoreStreamError, kind: str, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    accidents = Accidents(metrics.accidents)
    assert count(metrics, kind) == 0, "alerts need to see it rise"
    with pytest.raises(type(error)), accidents.named():
        raise error
    assert count(metrics, kind) == 1
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "error=why" in record.getMessage()


def test_what_does_not_end_a_worker_passes_without_a_name(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PositionMoved), Accidents(metrics.accidents).named():
        raise PositionMoved("why")
    assert caplog.records == []
