"""Bytewax: a dataflow with two stateful steps, recovery snapshots in SQLite, and a sink that writes whole cells.

Source positions and state are snapshotted together, so after a crash the flow goes back to one epoch and counts again
from there; the sink writes absolute figures, so writing some twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import init_db_dir
from redis import Redis

from bench.peers.job import Figures, Version, changes, decode, exam_id, supersedes, version_of
from bench.peers.surroundings import Surroundings

Keyed = tuple[str, Any]


def get_flow() -> Dataflow:
    """The dataflow; ``python -m bytewax.run "bench.peers.bytewax_flow:get_flow()" -r FOLDER -s SECONDS`` runs it."""
    around = Surroundings.from_environment()
    recovery = around.folder / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    flow = Dataflow("exams")
    messages = op.input("results", flow, KafkaSource([around.kafka], [around.topic]))
    versions = op.map("decode", messages, _keyed_version)
    differences = op.stateful_flat_map("newest", versions, _newest)
    by_cell = op.map("by cell", differences, lambda item: item[1])
    totals = op.stateful_batch("add up", by_cell, _Total)
    op.output("redis", totals, _Cells(around))
    return flow


def _keyed_version(message: KafkaSourceMessage[bytes, bytes]) -> Keyed:
    exam = decode(message.value)
    return exam_id(exam), version_of(exam)


def _newest(old: Version | None, new: Version) -> tuple[Version | None, Iterable[Keyed]]:
    if not supersedes(new, old):
        return old, []
    return new, [(f"{organization}|{cell}", figures) for organization, cell, figures in changes(old, new)]


class _Total(StatefulBatchLogic[Figures, list[int], list[int]]):
    """A cell's figures; one new total for each batch of differences."""

    def __init__(self, resumed: list[int] | None) -> None:
        self._figures = resumed or [0] * 7

    def on_batch(self, values: list[Figures]) -> tuple[Iterable[list[int]], bool]:
        for figures in values:
            self._figures = [have + more for have, more in zip(self._figures, figures, strict=True)]
        return [self._figures], StatefulBatchLogic.RETAIN

    def snapshot(self) -> list[int]:
        return self._figures  # replaced, never changed


class _CellWriter(StatelessSinkPartition[Keyed]):
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def write_batch(self, items: list[Keyed]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for name, figures in dict(items).items():
                organization, _, cell = name.partition("|")
                pipe.hset(f"cells:{organization}", cell, ",".join(map(str, figures)))
            pipe.execute()


class _Cells(DynamicSink[Keyed]):
    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _CellWriter:
        return _CellWriter(Redis(self._around.redis_host, self._around.redis_port))
