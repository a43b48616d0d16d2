"""Rejected records: their original bytes, coordinates and reason, acknowledged by Kafka before the position moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from schemas import rejections, topics
from streams.metrics import Metrics
from streams.reading import Record, Rejection

logger = logging.getLogger(__name__)

Headers = list[tuple[str, bytes]]

# Brokers and clients take about 1 MB a record, and a record that just fitted would no longer fit with our headers: it
# could never be rejected, and its partition would stand still. What is left out stays at its coordinates.
_LARGEST_BYTES: Final = 900_000
_LONGEST_DETAIL_BYTES: Final = 500


class RejectedTopic:
    """Produces rejected records through the application's producer (idempotent, acks=all)."""

    def __init__(self, topic: Any, metrics: Metrics) -> None:
        self._topic = topic
        self._metrics = metrics

    async def put(self, rejected: Sequence[Rejection], partition: int) -> None:
        """Produce all, and return when all are acknowledged.

        At least once: after a crash the same record may arrive again, told apart by its coordinates.
        """
        if not rejected:
            return
        now = datetime.now(UTC)
        sent = []
        for rejection in rejected:
            key, value, headers = rejected_record(rejection, partition, now)
            sent.append(await self._topic.send(key=key, value=value, headers=headers))
        await asyncio.gather(*sent)
        for rejection in rejected:
            self._metrics.rejected.labels(rejection.reason.value).inc()
        first = rejected[0]
        logger.warning(
            "events rejected count=%d partition=%d first_offset=%d first_reason=%s",
            len(rejected),
            partition,
            first.record.offset,
            first.reason.value,
        )


def rejected_record(
    rejection: Rejection, partition: int, now: datetime
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers as they stand in the rejected topic: the original ones, then ours."""
    original = _take_what_fits(rejection.record)
    headers = [
        *original.headers,
        (rejections.HEADER_REASON, rejection.reason.value.encode()),
        (rejections.HEADER_DETAIL, _shortened(rejection.detail)),
        (rejections.HEADER_TOPIC, topics.EXAM_RESULTS.encode()),
        (rejections.HEADER_PARTITION, str(partition).encode()),
        (rejections.HEADER_OFFSET, str(rejection.record.offset).encode()),
        (rejections.HEADER_TIME, now.isoformat(timespec="milliseconds").encode()),
    ]
    if original.omitted:
        headers.append((rejections.HEADER_OMITTED, ",".join(original.omitted).encode()))
    return original.key, original.value, headers


class _Original(NamedTuple):
    key: bytes | None
    headers: Headers
    value: bytes | None
    omitted: list[str]


def _take_what_fits(record: Record) -> _Original:
    key, value = record.key, record.value
    omitted: list[str] = []
    try:
        # Of a rejected record that somebody copied back by hand, the earlier rejection's headers are not the event's.
        headers = rejections.original_headers(getattr(record, "headers", None) or ())
    except UnicodeDecodeError:  # a header's name is no text; the record must be rejected all the same
        headers = []
        omitted.append("headers")
    left = _LARGEST_BYTES - len(key or b"")
    if left < 0:
        key, left = None, _LARGEST_BYTES
        omitted.append("key")
    size = sum(len(name) + len(content or b"") for name, content in headers)
    if size > left:
        headers = []
        omitted.append("headers")
    else:
        left -= size
    if len(value or b"") > left:
        value = None
        omitted.append("value")
    return _Original(key, headers, value, omitted)


def _shortened(detail: str) -> bytes:
    return detail.encode()[:_LONGEST_DETAIL_BYTES].decode(errors="ignore").encode()
