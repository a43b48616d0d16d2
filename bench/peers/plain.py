"""The control: confluent-kafka's ``consume`` and a redis-py pipeline, as a good engineer writes it in an afternoon.

1,000 records at a time: read the stored versions of their exams with one HMGET, add up the differences by cell, write
versions and increments in one MULTI, then commit. Stored versions make a replay after a crash harmless. What is missing
is a fence: two consumers of one partition, for instance one that was thought dead, read the same versions and both add.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import Consumer
from redis import Redis

from bench.peers.job import (
    FIGURES,
    Version,
    changes,
    decode,
    exam_id,
    from_text,
    supersedes,
    to_text,
    version_of,
)
from bench.peers.surroundings import SESSION_SECONDS, Surroundings

_BATCH: Final = 1_000
_WAIT_SECONDS: Final = 0.05
_EXAMS: Final = "exams"


def main() -> None:
    """Consume for ever."""
    around = Surroundings.from_environment()
    redis = Redis(around.redis_host, around.redis_port, decode_responses=True)
    consumer = Consumer(
        {
            "bootstrap.servers": around.kafka,
            "group.id": around.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_SECONDS * 1000,
            "heartbeat.interval.ms": SESSION_SECONDS * 1000 // 3,
        }
    )
    consumer.subscribe([around.topic])
    while True:
        values = []
        for message in consumer.consume(_BATCH, _WAIT_SECONDS):
            if (error := message.error()) is not None:
                raise SystemExit(f"Kafka: {error.str()}")
            values.append(message.value() or b"")
        if values:
            apply(redis, values)
            consumer.commit(asynchronous=False)


def apply(redis: Redis, values: Iterable[bytes]) -> None:
    """Put one batch into Redis, all of it or nothing."""
    events = [(exam_id(exam), version_of(exam)) for exam in map(decode, values)]
    names = list(dict.fromkeys(name for name, _ in events))
    newest: dict[str, Version | None] = {
        name: from_text(str(text)) if text else None
        for name, text in zip(names, redis.hmget(_EXAMS, names), strict=True)
    }
    written: dict[Any, Any] = {}  # redis-py's stubs want nothing narrower
    differences: dict[str, list[int]] = defaultdict(lambda: [0] * len(FIGURES))
    for name, version in events:
        old = newest[name]
        if not supersedes(version, old):
            continue
        newest[name] = version
        written[name] = to_text(version)
        for organization, cell, figures in changes(old, version):
            total = differences[f"sums:{organization}:{cell}"]
            for index, amount in enumerate(figures):
                total[index] += amount
    if not written:
        return
    with redis.pipeline(transaction=True) as pipe:
        pipe.hset(_EXAMS, mapping=written)
        for key, total in differences.items():
            for figure, amount in zip(FIGURES, total, strict=True):
                if amount:
                    pipe.hincrby(key, figure, amount)
        pipe.execute()


if __name__ == "__main__":
    main()
