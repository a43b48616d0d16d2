"""When the record that a reader reads next was written: fetched, never guessed from offsets and their times before.

One consumer in no group is put on many partitions at once, each at its own offset, and takes one record of each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, TopicPartition

from consumers.lag.samples import LogPartition

# Of each partition, one fetch of at most so much: 32 MB in the worst case for as many as are asked at once.
_AT_ONCE: Final = 500
_FETCH_BYTES: Final = 65_536
_WAIT_SECONDS: Final = 0.05


class Place(NamedTuple):
    """From which offset on to look. Readers of one partition that stand at the same offset share one."""

    topic: str
    partition: int
    offset: int


class RecordTime(NamedTuple):
    """The first record at or behind an offset.

    Attributes:
        offset: its own; there are gaps where records were compacted away, and where transactions end.
        ms: milliseconds since 1970; None when there is no record any more up to the end.
        by_broker: whether the broker has set the time, not the producer.
    """

    offset: int
    ms: int | None
    by_broker: bool = False


class _Known(NamedTuple):
    record: RecordTime
    end: int  # of the log, when it was fetched


class RecordTimes:
    """Fetches, and remembers what was fetched for as long as a reader does not pass it. Blocking; for one thread."""

    def __init__(self, kafka: str) -> None:
        self._known: dict[Place, _Known] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "score-lag",  # the library demands a name; nothing is joined or committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,  # where only markers of transactions are left, no record ever comes
                # Retention may be faster than we: then the first record that is left is the one.
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",  # nobody reads what was aborted
                # One batch of each partition is enough; a larger one is fetched all the same.
                "fetch.message.max.bytes": _FETCH_BYTES,
                "queued.min.messages": 1,
                "fetch.wait.max.ms": 20,
                "fetch.error.backoff.ms": 20,
                # Or a partition whose queue is full once is left alone for a second, also when it is assigned anew.
                "fetch.queue.backoff.ms": 1,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )

    def look(self, places: Mapping[Place, int], budget_seconds: float) -> dict[Place, RecordTime]:
        """The record of each place. Those that could not be fetched within the budget are left out.

        The first places are looked at first. Whatever is not among them is forgotten.

        Args:
            places: each with the end of its log, the offset that is written next.
        """
        self._known = {place: known for place, known in self._known.items() if place in places}
        found: dict[Place, RecordTime] = {}
        to_fetch: list[Place] = []
        for place, end in places.items():
            known = self._known.get(place)
            # A record stays where it is; that there is none holds for as long as nothing is written.
            if known is not None and (known.record.ms is not None or known.end == end):
                found[place] = known.record
            else:
                to_fetch.append(place)
        deadline = time.monotonic() + budget_seconds
        while to_fetch and time.monotonic() < deadline:
            now, to_fetch = _of_different_partitions(to_fetch)
            for place, record in self._fetch(now, places, deadline).items():
                found[place] = record
                self._known[place] = _Known(record, places[place])
        return found

    def forget(self, topic: str) -> None:
        """The topic was made anew: its offsets mean other records."""
        self._known = {place: known for place, known in self._known.items() if place.topic != topic}

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _fetch(
        self, some: Iterable[Place], ends: Mapping[Place, int], deadline: float
    ) -> dict[Place, RecordTime]:
        waiting = {(place.topic, place.partition): place for place in some}
        found: dict[Place, RecordTime] = {}
        done: list[TopicPartition] = []
        self._consumer.assign([TopicPartition(*place) for place in waiting.values()])
        try:
            while waiting and time.monotonic() < deadline:
                message = self._consumer.poll(_WAIT_SECONDS)
                if message is None:
                    continue
                place = waiting.get((message.topic() or "", message.partition() or 0))
                record = None if place is None else _record(message, place, ends[place])
                if place is None or record is None:
                    continue
                del waiting[place.topic, place.partition]
                found[place] = record
                # Or the rest of its batch would have to be passed over first.
                done.append(TopicPartition(place.topic, place.partition))
                self._consumer.pause(done[-1:])
        finally:
            self._consumer.resume(done)  # it would stay paused in the next assignment
            self._consumer.unassign()
        return found


def _of_different_partitions(places: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """Those to ask at once, since a consumer stands at one offset of a partition; and the rest."""
    now: list[Place] = []
    later: list[Place] = []
    taken: set[LogPartition] = set()
    for place in places:
        partition = (place.topic, place.partition)
        if len(now) < _AT_ONCE and partition not in taken:
            taken.add(partition)
            now.append(place)
        else:
            later.append(place)
    return now, later


def _record(message: Message, place: Place, end: int) -> RecordTime | None:
    """What a message says; None when it does not answer the question."""
    error = message.error()
    if error is not None:
        return RecordTime(end, None) if error.code() == KafkaError._PARTITION_EOF else None
    offset, (kind, stamped_ms) = message.offset(), message.timestamp()
    if offset is None or offset < place.offset or stamped_ms < 0:
        return None
    if offset >= end:
        return RecordTime(end, None)  # written since the end was looked up: then there was none
    return RecordTime(offset, stamped_ms, kind == TIMESTAMP_LOG_APPEND_TIME)
