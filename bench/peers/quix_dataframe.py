"""Quix Streams: a streaming dataframe with state in RocksDB, regrouped by cell through a Kafka topic, and its RedisSink.

Each difference travels through the repartition topic, since ``group_by`` is how its documentation regroups. The state
has changelog topics. The default guarantee is at least once; exactly once covers its topics and state.
"""

from __future__ import annotations

from collections.abc import Iterable

from quixstreams import Application, State
from quixstreams.models import JSONDeserializer
from quixstreams.sinks.community.redis import RedisSink

from bench.peers.job import Exam, Version, changes, decode, exam_id, supersedes, version_of
from bench.peers.surroundings import FLUSH_SECONDS, SESSION_SECONDS, Surroundings

Difference = tuple[str, list[int]]  # a cell's name, and what is added


def main() -> None:
    """Run the application for ever."""
    around = Surroundings.from_environment()
    app = Application(
        broker_address=around.kafka,
        consumer_group=around.group,
        auto_offset_reset="earliest",
        commit_interval=FLUSH_SECONDS,
        state_dir=around.folder / "state",
        processing_guarantee="exactly-once" if around.exactly_once else "at-least-once",
        consumer_extra_config={
            "session.timeout.ms": SESSION_SECONDS * 1000,
            "heartbeat.interval.ms": SESSION_SECONDS * 1000 // 3,
        },
        loglevel="WARNING",
    )
    exams = app.dataframe(app.topic(around.topic, value_deserializer=JSONDeserializer(loads=decode)))
    differences = exams.apply(_newest, stateful=True, expand=True)
    totals = differences.group_by(lambda difference: difference[0], name="cell").apply(_total, stateful=True)
    totals.sink(
        RedisSink(
            around.redis_host,
            around.redis_port,
            0,
            key_serializer=lambda key, value: f"cell:{key}",
            value_serializer=lambda figures: ",".join(map(str, figures)),
        )
    )
    app.run()


def _newest(exam: Exam, state: State) -> Iterable[Difference]:
    name, new = exam_id(exam), version_of(exam)
    stored = state.get(name)
    old = Version(*stored) if stored else None
    if not supersedes(new, old):
        return []
    state.set(name, list(new))
    return [(f"{organization}|{cell}", list(figures)) for organization, cell, figures in changes(old, new)]


def _total(difference: Difference, state: State) -> list[int]:
    figures = [have + more for have, more in zip(state.get("figures", [0] * 7), difference[1], strict=True)]
    state.set("figures", figures)
    return figures


if __name__ == "__main__":
    main()
