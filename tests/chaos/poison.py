"""Records among the season's that no worker may apply: not an event at all, or one that contradicts an earlier one."""

from __future__ import annotations

import threading
from itertools import cycle
from typing import Final, Self

import msgspec
from confluent_kafka import Producer

from schemas.events import decode_exam_result, encode_event
from schemas.rejections import HEADER_OFFSET, HEADER_PARTITION
from schemas.topics import EXAM_RESULTS, REJECTED
from streams.topic_reading import read_topic
from tests.chaos.log_reader import LogReader

_EVERY_SECONDS: Final = 0.5


class Poison:
    """Produces them in a thread, inside ``with``."""

    def __init__(self, kafka: str, log: LogReader, partitions: int) -> None:
        self._producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "log_level": 0})
        self._log = log
        self._partitions = partitions
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poison", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No more; what is under way is delivered."""
        self._stopped.set()
        self._thread.join()
        self._producer.flush(30)

    def _run(self) -> None:
        for number, partition in enumerate(cycle(range(self._partitions))):
            if self._stopped.wait(_EVERY_SECONDS):
                return
            if number // self._partitions % 2 == 0:
                self._producer.produce(
                    EXAM_RESULTS, key=b"nobody", value=b"<TDSReport/>", partition=partition
                )
            else:
                self._contradict(partition)
            self._producer.poll(0)

    def _contradict(self, partition: int) -> None:
        record = self._log.latest(partition)
        if record is None or not record.value.startswith(b"{"):
            return
        event = decode_exam_result(record.value)
        if event.scale_score is None:
            return
        other = msgspec.structs.replace(event, scale_score=event.scale_score ^ 1)
        self._producer.produce(
            EXAM_RESULTS, key=record.key.encode(), value=encode_event(other), partition=partition
        )


def rejected_coordinates(kafka: str) -> set[tuple[int, int]]:
    """Partition and offset of every record of the results topic that is in the rejected topic at least once."""
    found = set()
    for record in read_topic(kafka, REJECTED):
        headers = dict(record.headers)
        found.add((int(headers[HEADER_PARTITION]), int(headers[HEADER_OFFSET])))
    return found
