"""Brings the audit's entries to Kafka: one batch after the other, each acknowledged before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaException, Producer

from schemas.errors import DependencyUnavailable
from schemas.process.outgoing import OutgoingRecord

_PRODUCE_SECONDS: Final = 5.0
# Past the time-out of a delivery, until its callback must have come.
_CALLBACK_GRACE_SECONDS: Final = 2.0


class AuditProducer:
    """An idempotent producer, used in a thread: deliveries go on meanwhile.

    What it was given and did not deliver is in the spool, and is given to it again.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: Producer | None = None

    def start(self) -> None:
        """Create it; it connects when something is to be sent.

        Raises:
            DependencyUnavailable: librdkafka refuses the configuration.
        """
        try:
            self._producer = Producer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "client.id": "scores-webhooks-audit",
                    "enable.idempotence": True,
                    "acks": "all",
                    "partitioner": "murmur2_random",  # as all producers of a topic whose records have keys
                    "linger.ms": 5,
                    "compression.type": "lz4",
                    "delivery.timeout.ms": int(_PRODUCE_SECONDS * 1000),
                    "reconnect.backoff.max.ms": 1000,
                    "delivery.report.only.error": True,  # what is neither reported nor left was delivered
                    "log_level": 2,  # critical; that Kafka is away is told by whoever ships
                }
            )
        except KafkaException as error:
            raise DependencyUnavailable(f"Kafka producer for {self._bootstrap}: {error}") from None

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Return when every record is acknowledged.

        Raises:
            DependencyUnavailable: at least one is not, within the time budget.
        """
        await asyncio.to_thread(self._publish, records)

    def close(self, *, abandon: bool) -> None:
        """Stop. With ``abandon`` what still waits is dropped at once, else it is waited for; blocks."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if abandon:
            producer.purge()
        producer.flush(0 if abandon else _PRODUCE_SECONDS)

    def _publish(self, records: Sequence[OutgoingRecord]) -> None:
        if self._producer is None:
            self.start()  # the one before had come to a fatal error
        producer, failures = self._producer, []
        assert producer is not None
        try:
            for record in records:
                producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    on_delivery=lambda error, _: failures.append(error) if error is not None else None,
                )
            left = producer.flush(_PRODUCE_SECONDS + _CALLBACK_GRACE_SECONDS)
        except (KafkaException, BufferError) as error:
            self._forget(producer)
            raise DependencyUnavailable(f"Kafka at {self._bootstrap}: {error}") from None
        if left or failures:
            self._forget(producer)
            raise DependencyUnavailable(
                f"Kafka at {self._bootstrap} did not acknowledge all of {len(records)} records: "
                f"{failures[0].str() if failures else 'no answer'}"
            )

    def _forget(self, producer: Producer) -> None:
        # A new one begins with a new identity: some errors of an idempotent producer are final, and what this one still
        # has would come after what is sent again.
        producer.purge()
        producer.flush(0)
        self._producer = None
