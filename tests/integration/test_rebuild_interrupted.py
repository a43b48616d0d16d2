"""A rebuild that is stopped, killed, cancelled or begun twice leaves what serves alone, and goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from rebuild_stack import PARTITIONS, RebuildStack
from stack import wait_for

from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from schemas.keys import REBUILD_LEASE
from schemas.topics import topics


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RebuildStack]:
    """A season that was applied; no worker runs."""
    with (
        EmbeddedKafka({topic.name: topic.partitions for topic in topics(PARTITIONS)}) as kafka,
        EmbeddedRedis() as server,
    ):
        stack = RebuildStack(kafka.bootstrap_servers, server.url, tmp_path_factory.mktemp("rebuild"))
        with stack.worker():
            stack.season(results=600)
            stack.wait_until_applied()
        yield stack


def test_rebuild_killed_in_the_middle_goes_on_where_its_tables_stand(stack: RebuildStack) -> None:
    serving = stack.serving()
    contents = {name: stack.redis.dump(name) for name in stack.tables(serving)}
    with stack.endless_rebuild() as rebuild:
        rebuild.signal(signal.SIGKILL)
        assert rebuild.wait(10)
    assert stack.serving() == serving
    assert {name: stack.redis.dump(name) for name in stack.tables(serving)} == contents
    status = stack.status()
    assert status["phase"] == "filling" and status["lags"]
    with stack.worker():
        summary = stack.rebuild("resume")
        events = sum(stack.log_ends().values())
        assert 0 < summary["events"] < events * 0.75, "half of the log was read before"
        assert (summary["serves"], summary["equal"], summary["comparison"]) == (True, True, "cells")
        assert stack.serving() == status["generation"]
        stack.assert_exact()
    assert stack.tables(serving) == []


def test_rebuild_stopped_by_hand_or_by_cancel_leaves_the_serving_tables_alone(stack: RebuildStack) -> None:
    serving = stack.serving()
    with stack.endless_rebuild() as rebuild:
        rebuild.signal(signal.SIGINT)
        assert rebuild.wait(20) and rebuild.exit_status == 130
    status = stack.status()
    assert (status["word"], status["running"]) == ("stopped by hand", None)
    with stack.endless_rebuild() as rebuild:  # start goes on with the unfinished one
        assert "Going on with" in rebuild.log.read_text()
        assert "Stopped." in stack.run("rebuild", "cancel")
        assert rebuild.wait(20) and rebuild.exit_status == 1
        assert "was cancelled" in rebuild.log.read_text()
    assert stack.status()["generation"] == status["generation"]
    assert stack.serving() == serving
    stack.assert_exact()
    stack.run("rebuild", "clean")
    assert stack.tables(status["generation"]) == [] and stack.status() is None
    assert stack.serving() == serving
    stack.assert_exact()
    assert "no rebuild is unfinished" in stack.run("rebuild", "resume", exit_status=2)


def test_second_rebuild_is_refused_while_one_runs(stack: RebuildStack) -> None:
    serving = stack.serving()
    with stack.endless_rebuild() as rebuild:
        first = stack.status()
        assert first["running"]
        assert "is running already" in stack.run("rebuild", exit_status=1)
        assert "is running already" in stack.run("rebuild", "resume", exit_status=1)
        assert "a rebuild is running" in stack.run("rebuild", "clean", exit_status=1)
        assert rebuild.running
        assert stack.status()["generation"] == first["generation"]
        assert (
            len(
                {
                    name.split(".")[0]
                    for name in stack.redis.scan_iter("{g*:position")
                    for name in [name.decode()]
                }
            )
            == 2
        )
    assert stack.serving() == serving
    stack.redis.delete(REBUILD_LEASE)
    stack.run("rebuild", "clean")


def test_rebuild_that_slept_through_its_removal_cannot_come_to_serve(stack: RebuildStack) -> None:
    serving = stack.serving()
    with stack.endless_rebuild() as rebuild:
        rebuild.signal(signal.SIGSTOP)
        wait_for(lambda: not stack.redis.exists(REBUILD_LEASE), "its lease runs out")
        stack.run("rebuild", "clean")
        rebuild.signal(signal.SIGCONT)
        assert rebuild.wait(20) and rebuild.exit_status == 1
        assert "was removed" in rebuild.log.read_text() or "resume" in rebuild.log.read_text()
    assert stack.serving() == serving
    stack.assert_exact()


def test_unfinished_rebuild_is_not_mixed_with_another_rule(stack: RebuildStack) -> None:
    with stack.endless_rebuild():
        pass
    stack.redis.delete(REBUILD_LEASE)
    said = stack.run("rebuild", "start", "--attribution", "tested", exit_status=2)
    assert "counts by the current school" in said and "scores rebuild clean" in said
    stack.run("rebuild", "clean")
