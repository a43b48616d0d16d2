"""Prometheus metrics of the monitor: of its own work, and of what it has judged last.

Labels are bounded: at most ``GROUPS_TOLD`` groups, partitions only of those that have no more than ``PARTITIONS_TOLD``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.lag.judging import part_kind
from schemas.operations import GroupReport, Judgement, PartReport, Verdict, worst

_VERDICTS: Final = tuple(verdict.value for verdict in Verdict)


class MonitorMetrics:
    """What a monitor does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "scores_monitor_active",
            "1 for the monitor that judges, 0 for one that stands by",
            registry=registry,
        )
        self.samples = Counter(
            "scores_monitor_samples",
            "Samples taken; failed: a source did not answer, or only in part",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("ok", "failed"):
            self.samples.labels(outcome)
        self.last_sample = Gauge(
            "scores_monitor_last_sample_timestamp_seconds", "When it judged last", registry=registry
        )
        self.scrape_seconds = Histogram(
            "scores_monitor_scrape_seconds",
            "From asking the sources to the judgement",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=registry,
        )
        self.judged = Judged()
        registry.register(self.judged)


class Judged(Collector):
    """The latest judgement as metrics; of none, there are none."""

    def __init__(self) -> None:
        self.judgement: Judgement | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would ask for a judgement, and there is none yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Called for every scrape."""
        judgement = self.judgement
        if judgement is not None:
            yield from _groups(judgement.groups)
            yield from _partitions(judgement.groups)
            yield from _parts(judgement.parts)


def _groups(groups: Iterable[GroupReport]) -> Iterator[Metric]:
    labels = ["group", "topic"]
    records = GaugeMetricFamily(
        "scores_consumer_lag_records", "Records that wait, in all partitions", labels=labels
    )
    seconds = GaugeMetricFamily(
        "scores_consumer_lag_seconds",
        "How long the oldest record has waited, in the worst partition",
        labels=labels,
    )
    positions = GaugeMetricFamily(
        "scores_consumer_position_records", "Positions of all partitions, added up", labels=labels
    )
    states = GaugeMetricFamily(
        "scores_consumer_state",
        "1 for the verdict on this reader, 0 for all others",
        labels=[*labels, "verdict"],
    )
    partitions = GaugeMetricFamily(
        "scores_consumer_partitions", "Partitions by the verdict on them", labels=[*labels, "verdict"]
    )
    ends: dict[str, int] = {}
    for group in groups:
        name = [group.group, group.topic]
        if group.lag_records is not None:
            records.add_metric(name, group.lag_records)
        if group.lag_seconds is not None:
            seconds.add_metric(name, group.lag_seconds)
        if group.position_records is not None:
            positions.add_metric(name, group.position_records)
        if group.end_records is not None:
            # A group may read only some of the partitions.
            ends[group.topic] = max(ends.get(group.topic, 0), group.end_records)
        for verdict in _VERDICTS:
            states.add_metric([*name, verdict], group.verdict == verdict)
            partitions.add_metric([*name, verdict], group.verdicts.get(verdict, 0))
    topic_ends = GaugeMetricFamily(
        "scores_topic_end_records", "Ends of all partitions, added up", labels=["topic"]
    )
    for topic, end in ends.items():
        topic_ends.add_metric([topic], end)
    yield from (records, seconds, positions, states, partitions, topic_ends)


def _partitions(groups: Iterable[GroupReport]) -> Iterator[Metric]:
    labels = ["group", "topic", "partition"]
    records = GaugeMetricFamily(
        "scores_consumer_partition_lag_records", "Records that wait in a partition", labels=labels
    )
    seconds = GaugeMetricFamily(
        "scores_consumer_partition_lag_seconds",
        "How long the oldest record of a partition has waited",
        labels=labels,
    )
    for group in groups:
        # The worst ones alone would be series that come and go.
        if len(group.partitions) < group.partition_count:
            continue
        for partition in group.partitions:
            name = [group.group, group.topic, str(partition.partition)]
            if partition.lag_records is not None:
                records.add_metric(name, partition.lag_records)
            if partition.lag_seconds is not None:
                seconds.add_metric(name, partition.lag_seconds)
    yield from (records, seconds)


def _parts(parts: Iterable[PartReport]) -> Iterator[Metric]:
    by_kind: dict[str, list[PartReport]] = {}
    for part in parts:
        by_kind.setdefault(part_kind(part.name), []).append(part)
    states = GaugeMetricFamily(
        "scores_part_state",
        "1 for the verdict on this part of the service, 0 for all others; of several instances the worst",
        labels=["part", "verdict"],
    )
    for kind, instances in by_kind.items():
        found = worst(one.verdict for one in instances)
        for verdict in _VERDICTS:
            states.add_metric([kind, verdict], found == verdict)
    yield states
    figures = {kind: instances[0].figures for kind, instances in by_kind.items()}
    skews = GaugeMetricFamily(
        "scores_clock_skew_seconds",
        "How far a clock is ahead of the monitor's (behind: below 0)",
        labels=["clock"],
    )
    for figure, value in figures.get("clocks", {}).items():
        skews.add_metric([figure.removesuffix("_seconds")], value)
    yield skews
    for name, help_text, kind, figure in (
        ("scores_redis_used_bytes", "Memory that Redis uses", "redis", "used_bytes"),
        (
            "scores_redis_limit_bytes",
            "Memory that Redis may use, where it is limited",
            "redis",
            "limit_bytes",
        ),
        ("scores_redis_answer_seconds", "How long Redis took for one answer", "redis", "answer_seconds"),
        ("scores_rejected_per_minute", "Events rejected in the last minute", "rejections", "per_minute"),
    ):
        if figure in figures.get(kind, {}):
            yield GaugeMetricFamily(name, help_text, value=figures[kind][figure])
