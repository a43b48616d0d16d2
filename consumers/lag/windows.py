"""The samples of the last minute of every partition of every reader, and the verdicts on them.

No I/O; time comes with the samples. Memory: a window for each partition of the latest snapshot, nothing for others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Final

from consumers.lag.holding import Held
from consumers.lag.samples import OURS, TABLES, GroupSample, PartitionSample, Snapshot
from consumers.lag.verdicts import Reading, Rules, judge
from schemas.operations import (
    GROUPS_TOLD,
    PARTITIONS_TOLD,
    SEVERITY,
    GroupReport,
    PartitionReport,
    Verdict,
    worst,
)

# Of all groups together; a cluster with thousands of groups would else fill the state with partitions that are fine.
_PARTITIONS_TOLD_IN_ALL: Final = 5_000

GroupName = tuple[str, str]


class _Track(Held):
    """One partition as one group reads it."""

    __slots__ = ("_window",)

    def __init__(self, samples: int) -> None:
        super().__init__()
        self._window: deque[Reading] = deque(maxlen=samples)

    def add(
        self, at_ms: int, sample: PartitionSample, rules: Rules, *, deserted: bool, endless: bool
    ) -> None:
        """Take a sample in, and judge anew."""
        self._window.append((at_ms, sample))
        self.take(judge(list(self._window), rules, deserted=deserted, endless=endless), at_ms)


class _Group:
    """What is remembered of one group."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.tracks: dict[int, _Track] = {}


class Windows:
    """The windows of all groups."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._groups: dict[GroupName, _Group] = {}

    def add(self, snapshot: Snapshot) -> tuple[GroupReport, ...]:
        """Take a snapshot in; returns the groups in it as they are judged now: ours first, then the worst."""
        known = self._groups
        self._groups = {}
        told = _PARTITIONS_TOLD_IN_ALL
        reports = []
        for sample in sorted(snapshot.groups, key=lambda group: group.group not in OURS):
            name = (sample.group, sample.topic)
            group = known.get(name)
            # Positions of other tables: neither a rewind nor a leap, but a new beginning.
            if group is None or group.generation != sample.generation:
                group = _Group(sample.generation)
            self._groups[name] = group
            report = self._judge(snapshot.at_ms, group, sample, at_most=told)
            told -= len(report.partitions)
            reports.append(report)
        if snapshot.troubles:
            self._keep_unseen(known, reports)
        reports.sort(key=lambda one: (one.group not in OURS, -SEVERITY[one.verdict], one.group, one.topic))
        return tuple(reports[:GROUPS_TOLD])

    def _keep_unseen(self, known: dict[GroupName, _Group], reports: list[GroupReport]) -> None:
        """A source is away: what it would have told of is not forgotten, and its alarms stand."""
        for name, group in known.items():
            if name not in self._groups:
                self._groups[name] = group
                verdict = worst(track.verdict for track in group.tracks.values())
                reports.append(
                    GroupReport(
                        group=name[0],
                        topic=name[1],
                        verdict=verdict if verdict.alarming else Verdict.INCOMPLETE,
                        partition_count=len(group.tracks),
                    )
                )

    def _judge(self, at_ms: int, group: _Group, sample: GroupSample, *, at_most: int) -> GroupReport:
        tracks: dict[int, _Track] = {}
        deserted = sample.members == 0
        endless = sample.topic == TABLES  # the publisher looks at all of them again and again
        for partition in sample.partitions:
            track = group.tracks.get(partition.partition) or _Track(self._rules.window_samples)
            track.add(at_ms, partition, self._rules, deserted=deserted, endless=endless)
            tracks[partition.partition] = track
        group.tracks = tracks
        verdicts = Counter(track.verdict for track in tracks.values())
        told = _told(sample.partitions, tracks, min(at_most, PARTITIONS_TOLD))
        return GroupReport(
            group=sample.group,
            topic=sample.topic,
            verdict=worst(verdicts),
            lag_records=_sum(one.lag_records for one in sample.partitions),
            lag_seconds=max(
                (one.lag_seconds for one in sample.partitions if one.lag_seconds is not None), default=None
            ),
            partitions=tuple(_report(one, tracks[one.partition]) for one in told),
            partition_count=len(sample.partitions),
            verdicts={verdict.value: count for verdict, count in sorted(verdicts.items())},
            position_records=_sum(one.position for one in sample.partitions),
            end_records=_sum(one.end for one in sample.partitions),
            members=sample.members,
        )


def _told(
    partitions: Sequence[PartitionSample], tracks: dict[int, _Track], at_most: int
) -> list[PartitionSample]:
    """The worst partitions, in order."""

    def badness(one: PartitionSample) -> tuple[int, float, int, int]:
        return (
            SEVERITY[tracks[one.partition].verdict],
            one.lag_seconds or 0.0,
            one.lag_records or 0,
            -one.partition,
        )

    return nlargest(at_most, partitions, key=badness)


def _report(sample: PartitionSample, track: _Track) -> PartitionReport:
    return PartitionReport(
        partition=sample.partition,
        position=sample.position,
        end=sample.end,
        lag_records=sample.lag_records,
        lag_seconds=sample.lag_seconds,
        verdict=track.verdict,
        owner=sample.owner,
        since_ms=track.since_ms,
    )


def _sum(figures: Iterable[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
