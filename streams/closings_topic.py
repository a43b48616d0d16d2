"""Reads the closings topic: at once and whole for a command, again and again from where it was for a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.closings import Change
from schemas.errors import DependencyUnavailable, LogGap, LogReplaced
from schemas.events import decode_closing
from schemas.topics import CLOSINGS
from streams.kafka_outage import KafkaOutage
from streams.topic_reading import StoredRecord, read_topic

logger = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.5


class ClosingsTopic:
    """The topic, read on from where it was read to; over a connection of its own."""

    def __init__(self, kafka: str, outage: KafkaOutage) -> None:
        self._kafka = kafka
        self._outage = outage
        self._next = 0
        self._reason = "no answer"
        # In no group; the library demands a name.
        self._asker = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "score-closings",
                "enable.auto.commit": False,
                "error_cb": self._note_reason,
                "reconnect.backoff.max.ms": 2_000,
                "socket.timeout.ms": 10_000,  # a broker that accepts and is silent is away, too
                "log_level": 0,
            }
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="closings")

    async def read_on(self) -> list[Change]:
        """What has come since the last call, up to the end that the topic has now; waits for a Kafka that is away.

        Raises:
            LogGap: its first records are gone.
            LogReplaced: it ends before what was read of it.
            DependencyUnavailable: Kafka has been away for longer than the budget.
        """
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
            except (KafkaException, DependencyUnavailable) as error:
                named = error.args[0].str() if isinstance(error, KafkaException) else str(error)
                self._outage.noticed(f"{CLOSINGS}: {named}; {self._reason}")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def close(self) -> None:
        """Disconnect, when the last question is answered."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._asker.close)
        self._thread.shutdown(wait=False)

    def _read(self) -> list[Change]:
        self._asker.poll(0)  # hands out what connections have to say
        start, end = self._asker.get_watermark_offsets(TopicPartition(CLOSINGS, 0), timeout=_ANSWER_SECONDS)
        if start > self._next:
            raise LogGap(
                f"{CLOSINGS} begins at {start}, and was read up to {self._next}: which results were parked cannot be told any "
                "more. Set its retention.ms to -1, and restore it from a backup"
            )
        if end < self._next:
            raise LogReplaced(
                f"{CLOSINGS} ends at {end}, and was read up to {self._next}: the topic was deleted and created again, or "
                "truncated. Restore it, then start the workers again"
            )
        if end == self._next:
            return []
        records = list(read_topic(self._kafka, CLOSINGS, {0: self._next}, partitions=(0,)))
        self._next = max((end, *(record.offset + 1 for record in records)))
        return list(changes_in(records))

    def _note_reason(self, error: KafkaError) -> None:
        self._reason = error.str()


def read_changes(kafka: str) -> list[Change]:
    """All closings and reopenings, in their order.

    Raises:
        InvalidInput: there is no such topic.
        DependencyUnavailable: Kafka did not answer in time.
    """
    return list(changes_in(read_topic(kafka, CLOSINGS)))


def changes_in(records: Iterable[StoredRecord]) -> Iterator[Change]:
    """The changes; what is none is left out by every reader alike, and logged by its coordinates."""
    for record in records:
        try:
            yield Change(decode_closing(record.value or b""), record.timestamp)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            logger.warning("closing refused topic=%s offset=%d error=%s", CLOSINGS, record.offset, error)
