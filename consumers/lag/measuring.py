"""From positions, log ends and record times to lag; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from consumers.lag.log_ends import Range
from consumers.lag.record_times import Place, RecordTime
from consumers.lag.samples import GroupSample, LogPartition, PartitionSample
from consumers.lag.standings import Draft


def partitions_of(drafts: Iterable[Draft]) -> set[LogPartition]:
    """Every log that has to be asked where it ends."""
    return {
        (draft.sample.topic, one.partition)
        for draft in drafts
        if draft.in_log
        for one in draft.sample.partitions
    }


def places_of(drafts: Iterable[Draft], ranges: Mapping[LogPartition, Range]) -> dict[Place, int]:
    """The records whose times tell the lag, each with the end of its log; the longest way behind first."""
    found: dict[Place, int] = {}
    for draft in drafts:
        if not draft.in_log:
            continue
        topic = draft.sample.topic
        for one in draft.sample.partitions:
            span = ranges.get((topic, one.partition))
            offset = _reads_next(draft, one, span)
            if span is not None and offset is not None and offset < span.end:
                found[Place(topic, one.partition, offset)] = span.end
    return dict(sorted(found.items(), key=lambda item: item[0].offset - item[1]))


def measured(
    draft: Draft, ranges: Mapping[LogPartition, Range], records: Mapping[Place, RecordTime]
) -> GroupSample:
    """What a draft becomes by what its log says."""
    if not draft.in_log:
        return draft.sample
    topic = draft.sample.topic
    partitions = tuple(
        _measured(draft, one, ranges.get((topic, one.partition)), records) for one in draft.sample.partitions
    )
    return replace(draft.sample, partitions=partitions)


def _measured(
    draft: Draft, one: PartitionSample, span: Range | None, records: Mapping[Place, RecordTime]
) -> PartitionSample:
    if span is None:
        return one
    offset = _reads_next(draft, one, span)
    if offset is None:
        beyond = one.position is not None and one.position > span.end
        return replace(one, start=span.start, end=span.end, log_replaced=one.log_replaced or beyond)
    lag_records = span.end - offset
    lag_seconds: float | None = 0.0
    if lag_records:
        record = records.get(Place(draft.sample.topic, one.partition, offset))
        if record is None:
            lag_seconds = None
        elif record.ms is None:
            lag_records = 0  # only markers of transactions, or what was aborted
        else:
            # Below 0 it was written after the position was read, or by a clock ahead of ours (consumers.lag.skew).
            lag_seconds = max(0, draft.at_ms - record.ms) / 1000
    lost = 0 if one.position is None else max(0, span.start - one.position)
    return replace(
        one,
        start=span.start,
        end=span.end,
        lag_records=lag_records,
        lag_seconds=lag_seconds,
        lost_records=lost,
    )


def _reads_next(draft: Draft, one: PartitionSample, span: Range | None) -> int | None:
    """The first offset that is left for a reader to read; None where that cannot be said."""
    if span is None or one.log_replaced:
        return None
    if one.position is None:
        return span.start if draft.from_start else None
    # Positions were read before the ends: what is beyond the end is of another log, or was cut off.
    return None if one.position > span.end else max(one.position, span.start)
