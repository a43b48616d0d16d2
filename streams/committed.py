"""What Kafka remembers of how far the tables were: the offsets that workers commit for dashboards, and never read back.

They say one thing that an empty Redis cannot: that its tables were not always empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.topics import EXAM_RESULTS

_ANSWER_SECONDS: Final = 5.0


async def committed_offsets(kafka: str, group: str, partitions: Collection[int]) -> dict[int, int]:
    """The committed offset of those of ``partitions`` that have one; nothing when Kafka does not say."""
    return await asyncio.to_thread(_ask, kafka, group, partitions)


def _ask(kafka: str, group: str, partitions: Collection[int]) -> dict[int, int]:
    # Of the group by name, without joining it.
    asker = Consumer(
        {"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        answers = asker.committed(
            [TopicPartition(EXAM_RESULTS, number) for number in partitions], _ANSWER_SECONDS
        )
    except KafkaException:
        return {}
    finally:
        asker.close()
    return {
        answer.partition: answer.offset for answer in answers if answer.error is None and answer.offset > 0
    }
