"""The canary's places in the directory, put there by itself: nobody loads a file for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from consumers.webhooks.connection import RedisClient
from schemas.errors import DependencyUnavailable
from schemas.events import (
    ORGANIZATION_TYPE,
    OrganizationEntry,
    cloud_event_headers,
    decode_organization,
    encode_event,
)
from schemas.keys import ORGANIZATIONS as DIRECTORY
from schemas.topics import ORGANIZATIONS

logger = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_AGAIN_SECONDS: Final = 15.0  # then it is said again: the topic may have been made anew


async def register(redis: RedisClient, kafka: str, entries: Sequence[OrganizationEntry]) -> None:
    """Return when the directory has the entries; they are produced only where it has not.

    Raises:
        DependencyUnavailable: Kafka does not take them, or no stream worker puts them into the directory.
        RedisError, OSError: Redis does not answer.
    """
    missing = await _missing(redis, entries)
    if not missing:
        return
    await asyncio.to_thread(_produce, kafka, missing)
    for _ in range(int(_AGAIN_SECONDS / _LOOK_SECONDS)):
        if not await _missing(redis, missing):
            logger.info("the canary is in the directory organizations=%d", len(entries))
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise DependencyUnavailable(
        "the canary's school is in Kafka, and no stream worker has put it into the directory; start one with `scores streams`"
    )


async def _missing(redis: RedisClient, entries: Sequence[OrganizationEntry]) -> list[OrganizationEntry]:
    stored: Any = await redis.hmget(DIRECTORY, [entry.cds for entry in entries])
    return [
        entry
        for entry, value in zip(entries, stored, strict=True)
        if value is None or decode_organization(value) != entry
    ]


def _produce(kafka: str, entries: Sequence[OrganizationEntry]) -> None:
    now = datetime.now(UTC)
    refused: list[str] = []
    try:
        producer = Producer(
            {
                "bootstrap.servers": kafka,
                "client.id": "scores-canary",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as all producers of a topic whose records have keys
                "delivery.timeout.ms": int(_FLUSH_SECONDS * 1000),
                "log_level": 2,
            }
        )
        for entry in entries:
            producer.produce(
                ORGANIZATIONS,
                key=entry.cds.encode(),
                value=encode_event(entry),
                headers=[
                    *cloud_event_headers(
                        ORGANIZATION_TYPE, f"{entry.cds}@{now:%Y%m%dT%H%M%S.%f}", "/canary", now
                    )
                ],
                on_delivery=lambda error, _: refused.append(str(error)) if error is not None else None,
            )
        left = producer.flush(_FLUSH_SECONDS + 1)
    except KafkaException as error:
        raise DependencyUnavailable(f"Kafka at {kafka} takes no canary: {error}") from error
    if left or refused:
        raise DependencyUnavailable(
            f"Kafka at {kafka} takes no canary: {refused[0] if refused else 'no answer'}"
        )
