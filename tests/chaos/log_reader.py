"""Reads a topic beside the system, from its beginning and in no group: what the recount is made of."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition


class LoggedRecord(NamedTuple):
    """One record as it stands in the log."""

    offset: int
    key: str
    value: bytes


class LogReader:
    """All records of all partitions so far, inside ``with``. A broker that is away is waited for."""

    def __init__(self, kafka: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "chaos-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        self._records: list[list[LoggedRecord]] = [[] for _ in range(partitions)]
        self._offsets: list[list[int]] = [[] for _ in range(partitions)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="log reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def end(self, partition: int) -> int:
        """The offset after the last record that was read."""
        offsets = self._offsets[partition]
        return offsets[-1] + 1 if offsets else 0

    def ends(self) -> list[int]:
        """``end`` of every partition."""
        return [self.end(partition) for partition in range(len(self._offsets))]

    def between(self, partition: int, start: int, stop: int) -> list[LoggedRecord]:
        """The records from offset ``start`` to before ``stop``, as far as they were read."""
        offsets = self._offsets[partition]
        return self._records[partition][bisect_left(offsets, start) : bisect_left(offsets, stop)]

    def latest(self, partition: int) -> LoggedRecord | None:
        """The last record that was read."""
        records = self._records[partition]
        return records[-1] if records else None

    def _read(self) -> None:
        while not self._stopped.is_set():
            for message in self._consumer.consume(1_000, 0.1):
                if message.error() is None:
                    self._add(message)

    def _add(self, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None
        record = LoggedRecord(
            offset,
            (message.key() or b"").decode(errors="replace"),
            message.value() or b"",
        )
        if offset >= self.end(partition):  # after a reconnect some may come again
            self._records[partition].append(record)
            self._offsets[partition].append(offset)
