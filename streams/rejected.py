"""Rejected records: their original bytes, coordinates and reason, acknowledged by Kafka before the position moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from schemas import rejections, topics
from streams.metrics import Metrics
from streams.reading import Rejection

logger = logging.getLogger(__name__)


class RejectedTopic:
    """Produces rejected records through the application's producer (idempotent, acks=all)."""

    def __init__(self, topic: Any, metrics: Metrics) -> None:
        self._topic = topic
        self._metrics = metrics

    async def put(self, rejected: Sequence[Rejection], partition: int) -> None:
        """Produce all, and return when all are acknowledged.

        At least once: after a crash the same record may arrive again, told apart by its coordinates.
        """
        sent = [
            await self._topic.send(
                key=rejection.record.key,
                value=rejection.record.value,
                headers=_headers(rejection, partition),
            )
            for rejection in rejected
        ]
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


def _headers(rejection: Rejection, partition: int) -> list[tuple[str, bytes]]:
    return [
        (rejections.HEADER_REASON, rejection.reason.value.encode()),
        (rejections.HEADER_DETAIL, rejection.detail.encode()[:500]),
        (rejections.HEADER_TOPIC, topics.EXAM_RESULTS.encode()),
        (rejections.HEADER_PARTITION, str(partition).encode()),
        (rejections.HEADER_OFFSET, str(rejection.record.offset).encode()),
        (rejections.HEADER_TIME, datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
