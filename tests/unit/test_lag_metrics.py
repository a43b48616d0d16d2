"""What Prometheus sees of a judgement."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from consumers.lag.metrics import MonitorMetrics
from schemas.operations import PARTITIONS_TOLD, GroupReport, Judgement, PartitionReport, PartReport, Verdict


def registry_of(judgement: Judgement | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    MonitorMetrics(registry).judged.judgement = judgement
    return registry


def judgement(partitions: int, told: int, *parts: PartReport) -> Judgement:
    group = GroupReport(
        group="streams",
        topic="exam-results.v1",
        verdict=Verdict.STALL,
        lag_records=30,
        lag_seconds=7.5,
        partitions=tuple(
            PartitionReport(partition=number, lag_records=number, lag_seconds=0.5) for number in range(told)
        ),
        partition_count=partitions,
        verdicts={"ok": partitions - 1, "stall": 1},
        position_records=70,
        end_records=100,
    )
    return Judgement(at_ms=1, monitor="m", groups=(group,), parts=parts)


STREAMS = {"group": "streams", "topic": "exam-results.v1"}


def test_every_verdict_is_there_and_one_of_them_is_true() -> None:
    registry = registry_of(judgement(4, 4))
    values = {
        verdict.value: registry.get_sample_value(
            "scores_consumer_state", {**STREAMS, "verdict": verdict.value}
        )
        for verdict in Verdict
    }
    assert values == {verdict.value: float(verdict is Verdict.STALL) for verdict in Verdict}
    stalled = registry.get_sample_value("scores_consumer_partitions", {**STREAMS, "verdict": "stall"})
    assert stalled == 1.0


def test_lag_of_a_group_and_of_each_partition() -> None:
    registry = registry_of(judgement(4, 4))
    assert registry.get_sample_value("scores_consumer_lag_records", STREAMS) == 30
    assert registry.get_sample_value("scores_consumer_lag_seconds", STREAMS) == 7.5
    assert registry.get_sample_value("scores_topic_end_records", {"topic": "exam-results.v1"}) == 100
    third = {**STREAMS, "partition": "3"}
    assert registry.get_sample_value("scores_consumer_partition_lag_records", third) == 3


def test_of_a_group_with_too_many_partitions_there_are_no_series_of_each() -> None:
    registry = registry_of(judgement(PARTITIONS_TOLD + 1, PARTITIONS_TOLD))
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert "scores_consumer_lag_records" in names
    assert "scores_consumer_partition_lag_records" not in names


def test_of_several_gateways_the_worst_counts_and_none_is_named() -> None:
    gateways = [
        PartReport(name="gateways:a:8080", verdict=Verdict.OK),
        PartReport(name="gateways:b:8080", verdict=Verdict.STOP),
    ]
    registry = registry_of(judgement(1, 1, *gateways))
    told = {
        (sample.labels["part"], sample.labels["verdict"])
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "scores_part_state" and sample.value == 1
    }
    assert told == {("gateways", "stop")}


def test_monitor_that_stands_by_says_nothing_of_readers() -> None:
    registry = registry_of(None)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert "scores_consumer_state" not in names
    assert registry.get_sample_value("scores_monitor_active") == 0
