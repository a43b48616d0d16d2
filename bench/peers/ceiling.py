"""The ceiling: what consuming in batches and typed decoding cost, with nothing done to the events.

One process, librdkafka fetching in its own threads. No engine in Python that decodes each event can be faster. Twice: with
the whole event decoded, as its schema has it, and with the fields only that our worker looks at, as the worker decodes them.
"""

from __future__ import annotations

import gc
import os
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from msgspec.json import Decoder
from redis import Redis

from bench.peers.surroundings import Surroundings
from schemas.events import ExamResult
from streams.reading import CountedFields

DONE: Final = "bench:events"  # how many events were decoded so far

WHOLE: Final = "BENCH_WHOLE_EVENT"  # set: decode all of its fields

_BATCH: Final = 10_000  # larger gains nothing; smaller costs a call more often


def main() -> None:
    """Decode everything there is, and tell Redis how much that was."""
    around = Surroundings.from_environment()
    redis = Redis(around.redis_host, around.redis_port)
    consumer = Consumer(
        {
            "bootstrap.servers": around.kafka,
            "group.id": around.group,
            "enable.auto.commit": False,
            "queued.min.messages": 500_000,
            "queued.max.messages.kbytes": 512 * 1024,
            "fetch.message.max.bytes": 8 * 1024 * 1024,
        }
    )
    partitions = consumer.list_topics(around.topic, timeout=10).topics[around.topic].partitions
    consumer.assign([TopicPartition(around.topic, number, OFFSET_BEGINNING) for number in partitions])
    kind = ExamResult if os.environ.get(WHOLE) else CountedFields
    decode = Decoder(kind).decode
    gc.disable()  # nothing here makes cycles
    done = 0
    while True:
        for message in consumer.consume(_BATCH, 0.05):
            decode(message.value() or b"")
            done += 1
        redis.set(DONE, done)


if __name__ == "__main__":
    main()
