"""The gateway's one Kafka producer: what it says is delivered, every in-sync replica has.

Guarantee: *at least once, in order per key.* ``publish`` returns only after Kafka acknowledged every record. When it
raises, some records may have arrived all the same; sending them again is harmless, because versions decide.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import DependencyUnavailable
from schemas.process.outgoing import OutgoingRecord

logger = logging.getLogger(__name__)

# Records that arrive within this time travel together; a single one waits no longer than that.
_LINGER_MS: Final = 5
# Past the delivery time-out, so long until the callbacks must have come. They come from librdkafka's own clock, so more
# than this means that the polling thread is gone.
_CALLBACK_GRACE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.5  # how long the polling thread notices a close late
_FULL_QUEUE_PAUSE_SECONDS: Final = 0.01
# Records handed over between two turns of the event loop; about 2 ms.
_HANDED_OVER_AT_ONCE: Final = 500


class KafkaPublisher:
    """An idempotent producer with its polling thread; use it from one event loop.

    ``start`` connects nothing yet: a gateway comes up, and serves readers, while Kafka is away.
    """

    def __init__(self, bootstrap: str, *, produce_seconds: float = 5.0, client_id: str = "scores") -> None:
        self._bootstrap = bootstrap
        self._produce_seconds = produce_seconds
        self._configuration: dict[str, str | int | float | bool | Callable[[KafkaError], None]] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "enable.idempotence": True,
            "acks": "all",
            # librdkafka's default is CRC32; the workers' clients, like Java's, expect murmur2 where topics share keys.
            "partitioner": "murmur2_random",
            "linger.ms": _LINGER_MS,
            "compression.type": "lz4",
            "delivery.timeout.ms": int(produce_seconds * 1000),
            # Asked again soon when a broker comes back: the budget is only seconds.
            "reconnect.backoff.max.ms": 1000,
            "error_cb": self._on_error,
            "log_level": 2,  # critical; connection trouble is told by error_cb, once
        }
        self._closing = threading.Event()
        self._broken = False
        self._reviving = asyncio.Lock()
        self._in_trouble = False
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Create the producer and its polling thread.

        Raises:
            DependencyUnavailable: librdkafka refuses the configuration.
        """
        try:
            self._producer = Producer(self._configuration)
        except KafkaException as error:
            raise DependencyUnavailable(f"Kafka producer for {self._bootstrap}: {error}") from None
        self._broken = False
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._poll, args=(self._producer, self._closing), name="kafka-producer", daemon=True
        )
        self._thread.start()

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        """Produce all records and wait for every acknowledgement.

        Raises:
            DependencyUnavailable: not all were acknowledged within the budget, SCORES_KAFKA_PRODUCE_SECONDS.
        """
        if not records:
            return
        if self._broken:
            await self._revive()
        producer = self._producer
        if producer is None:
            raise DependencyUnavailable("the Kafka producer is not started")
        deadline = time.monotonic() + self._produce_seconds
        deliveries = _Deliveries(len(records))
        for number, record in enumerate(records, 1):
            await self._hand_over(producer, record, deliveries.on_delivery, deadline)
            if number % _HANDED_OVER_AT_ONCE == 0:
                await asyncio.sleep(0)  # the event loop also serves subscribers
        try:
            async with asyncio.timeout(self._produce_seconds + _CALLBACK_GRACE_SECONDS):
                failure = await deliveries.done
        except TimeoutError:
            failure = "no answer"
        if failure is not None:
            raise DependencyUnavailable(
                f"Kafka at {self._bootstrap} did not acknowledge all of {len(records)} records within "
                f"{self._produce_seconds:g} s: {failure}"
            )
        self._in_trouble = False

    def close(self, seconds: float = 5.0, *, abandon: bool = False) -> int:
        """Flush and stop. Returns how many records still wait; more than zero is loss, and is logged.

        Blocks up to ``seconds``; call it off the event loop. With ``abandon`` what still waits is kept elsewhere: it is
        dropped at once.
        """
        producer, thread = self._producer, self._thread
        if producer is None or thread is None:
            return 0
        self._producer = self._thread = None
        self._closing.set()
        thread.join()
        if abandon:
            producer.purge()
            producer.flush(0)
            return 0
        try:
            waiting: int = producer.flush(seconds)
        except KafkaException:  # a fatal error that nobody has heard of yet
            waiting = len(producer)
        if waiting:
            logger.error("records not delivered at shutdown records=%d", waiting)
        return waiting

    async def _revive(self) -> None:
        # A fatal error of an idempotent producer is final; a new one starts with a new identity.
        async with self._reviving:
            if self._broken:
                await asyncio.to_thread(self.close, 0.0)  # nothing can be delivered any more
                self.start()

    async def _hand_over(
        self,
        producer: Producer,
        record: OutgoingRecord,
        on_delivery: Callable[[KafkaError | None, Message], None],
        deadline: float,
    ) -> None:
        while True:
            try:
                producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    on_delivery=on_delivery,
                )
            except BufferError:
                # The queue is full. The polling thread empties it; polling here too would run callbacks in two threads.
                if time.monotonic() > deadline:
                    raise DependencyUnavailable(
                        f"the producer's queue for Kafka at {self._bootstrap} stayed full for "
                        f"{self._produce_seconds:g} s"
                    ) from None
                await asyncio.sleep(_FULL_QUEUE_PAUSE_SECONDS)
            except KafkaException as error:
                raise DependencyUnavailable(f"Kafka at {self._bootstrap}: {error}") from None
            else:
                return

    def _poll(self, producer: Producer, closing: threading.Event) -> None:
        while not closing.is_set():
            try:
                producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                # Only a fatal error comes as an exception. Polling goes on: the callbacks of what was produced are due.
                if not self._broken:
                    self._broken = True
                    logger.error("Kafka producer failed, a new one follows error=%s", error)

    def _on_error(self, error: KafkaError) -> None:
        # Runs in the polling thread. librdkafka goes on trying by itself, so one line for each time of trouble will do.
        if not self._in_trouble:
            self._in_trouble = True
            logger.warning("Kafka producer in trouble error=%s", error.str())


class _Deliveries:
    """Counts the callbacks of one publish; one wake-up of the event loop for all of them.

    The callbacks all come from the polling thread, so the counter needs no lock.
    """

    __slots__ = ("_failure", "_left", "_loop", "done")

    def __init__(self, records: int) -> None:
        self._left = records
        self._failure: str | None = None
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[str | None] = self._loop.create_future()

    def on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self._left -= 1
        if error is not None:
            self._failure = error.str()
        if self._left == 0:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():  # the caller may have given up
            self.done.set_result(self._failure)
