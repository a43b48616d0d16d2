"""Rebuilding after an accident of the log: what is gone must be said to be gone, and the rest is exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import stack as stacks
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from rebuild_stack import PARTITIONS, RebuildStack
from stack import live_cells, wait_for

from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from schemas.identifiers import PartitionId
from schemas.keys import PartitionKeys
from schemas.topics import EXAM_RESULTS, topics


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


def test_tables_of_a_log_that_was_replaced_are_rebuilt_from_the_new_one_when_told_so(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    wanted = {topic.name: topic.partitions for topic in topics(PARTITIONS)}
    with EmbeddedKafka(wanted) as kafka:
        first = RebuildStack(kafka.bootstrap_servers, server.url, tmp_path)
        with first.worker():
            first.season(results=300)
            first.wait_until_applied()
    serving = first.serving()
    with EmbeddedKafka(wanted) as kafka:
        second = RebuildStack(kafka.bootstrap_servers, server.url, tmp_path)
        with second.worker() as worker:
            assert worker.wait(60) and worker.exit_status == 1
        assert "--new-log" in second.run("rebuild", exit_status=2)
        assert second.serving() == serving
        summary = second.rebuild("--new-log")
        assert (summary["comparison"], summary["serves"], summary["results"]) == ("rows", True, 0)
        with second.worker():
            second.season(results=300, seed=2)
            second.wait_until_applied()
            second.assert_exact()


def test_tables_are_rebuilt_from_what_retention_left_only_when_told_so(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    with stacks.broker("real", PARTITIONS, tmp_path) as kafka:
        stack = RebuildStack(kafka, server.url, tmp_path)
        with stack.worker():
            stack.season(results=300)
            stack.wait_until_applied()
        ends = stack.log_ends()
        cut = {number: end // 2 for number, end in ends.items()}
        admin = AdminClient({"bootstrap.servers": kafka})
        wanted = [TopicPartition(EXAM_RESULTS, number, offset) for number, offset in cut.items()]
        for deleted in admin.delete_records(wanted).values():
            deleted.result()
        # The workers were a quarter behind when it happened.
        keys = PartitionKeys(stack.serving(), PartitionId(0))
        stack.redis.hset(keys.position, "next", ends[0] // 4)
        with stack.worker() as worker:
            wait_for(lambda: not worker.running, "a worker whose records are gone stops", 60)
        serving, before = stack.serving(), live_cells(server.url)
        said = stack.run("rebuild", exit_status=2)
        assert "--from-what-is-left" in said and "deleted" in said
        assert stack.serving() == serving
        summary = stack.rebuild("--from-what-is-left")
        assert (summary["comparison"], summary["serves"], summary["contradictions"]) == ("rows", True, 0)
        assert 0 < summary["results"]
        assert compare(before, live_cells(server.url)) != []
        with stack.worker():
            stack.wait_until_applied()
            stack.assert_exact()
