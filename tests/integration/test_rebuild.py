"""Rebuilding the tables while the season goes on: exact before, during and after, whatever rule or layout."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from confluent_kafka import Producer
from integration.gateway_fixtures import EventReader
from rebuild_stack import PARTITIONS, RebuildStack
from redis import Redis
from redis.cluster import RedisCluster
from stack import SECRET, live_cells, loader_token, positions, running_stack_processes, wait_for

from cli.simulator.production import SeasonRun
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_cluster import EmbeddedRedisCluster
from cli.stack.redis_server import EmbeddedRedis
from cli.verify import compare
from schemas.aggregates import CellField, contribution, levels_code
from schemas.assessments import load_registry
from schemas.canary import canary_school
from schemas.events import ExamResult, OrganizationEntry, decode_exam_result, encode_event
from schemas.identifiers import STATE, Grade, PartitionId, StudentId
from schemas.keys import GENERATION, Generation, PartitionKeys, how_made
from schemas.pseudonyms import Pseudonymizer
from schemas.shares import stored_share
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED, topics
from streams.topic_reading import read_topic


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RebuildStack]:
    """An empty log and an empty store."""
    with (
        EmbeddedKafka({topic.name: topic.partitions for topic in topics(PARTITIONS)}) as kafka,
        EmbeddedRedis() as server,
    ):
        yield RebuildStack(kafka.bootstrap_servers, server.url, tmp_path_factory.mktemp("rebuild"))


def test_tables_rebuilt_while_the_season_goes_on_are_exact_and_workers_go_on_with_them(
    stack: RebuildStack,
) -> None:
    runs: list[SeasonRun] = []
    with stack.worker() as worker:
        season = threading.Thread(target=lambda: runs.append(stack.season(rate=150)))
        season.start()
        wait_for(lambda: sum(positions(stack.redis, PARTITIONS).values()) > 200, "the season has begun")
        before = stack.serving()
        summary = stack.rebuild("--keep-old")
        assert season.is_alive(), "the season must outlast the rebuild, or this proves nothing"
        assert (summary["serves"], summary["equal"], summary["comparison"]) == (True, True, "cells")
        assert summary["cells"] > 100 and summary["events"] > 200
        assert summary["taken_over"] == PARTITIONS
        assert stack.serving() == summary["generation"] != before
        left = {name: stack.redis.dump(name) for name in stack.tables(before)}
        season.join()
        stack.wait_until_applied()
        assert compare(runs[0].recount.cells(), live_cells(stack.redis_url)) == []
        stack.assert_exact()
        assert worker.running, worker.last_lines()
    assert {name: stack.redis.dump(name) for name in stack.tables(before)} == left, "written after the flip"


def test_students_count_at_the_tested_school_after_a_rebuild_says_so_and_back(stack: RebuildStack) -> None:
    with stack.worker() as worker:
        stack.season()
        stack.wait_until_applied()
        assert stack.recount("current") != stack.recount("tested"), "no student moved; this proves nothing"
        stack.assert_exact("current")
        for rule in ("tested", "current"):
            summary = stack.rebuild("--attribution", rule)
            assert (summary["comparison"], summary["equal"], summary["serves"]) == ("state", True, True)
            assert summary["rows_counted_again"] > 1_000
            assert how_made(stack.serving()).attribution == rule
            stack.season(results=300, seed=1)  # repeats and rescores, applied under the new rule
            stack.wait_until_applied()
            stack.assert_exact("tested" if rule == "tested" else "current")
        assert "SCORES_ATTRIBUTION differs" in worker.log.read_text()
        assert worker.running, worker.last_lines()


def test_worker_refuses_tables_of_another_layout_until_they_are_rebuilt(stack: RebuildStack) -> None:
    with stack.worker():
        stack.season(results=400)
        stack.wait_until_applied()
    serving = stack.serving()
    for name in stack.tables(serving):  # as a version before the names said anything left them
        stack.redis.rename(name, name.replace(serving, "g1"))
    stack.redis.set(GENERATION, "g1")
    with stack.worker() as worker:
        assert worker.wait(60) and worker.exit_status == 1
        assert "have layout 1" in worker.log.read_text() and "scores rebuild" in worker.log.read_text()
    summary = stack.rebuild()
    assert (summary["comparison"], summary["serves"], summary["contradictions"]) == ("rows", True, 0)
    assert summary["rows_counted_again"] == summary["events"] > 0 or summary["rows_counted_again"] > 300
    assert stack.tables(Generation("g1")) == []
    with stack.worker():
        stack.season(results=400, seed=1)
        stack.wait_until_applied()
        stack.assert_exact()


def test_wrong_cell_in_the_serving_tables_is_named_and_cured_only_when_told_so(stack: RebuildStack) -> None:
    with stack.worker():
        stack.season(results=400)
        stack.wait_until_applied()
        serving = stack.serving()
        name, cell = spoil_one_cell(stack, serving)
        summary = stack.rebuild(exit_status=1)
        assert (summary["serves"], summary["equal"]) == (False, False)
        assert {d["organization"] for d in summary["first_differences"]} == {name}
        assert {d["cell"] for d in summary["first_differences"]} == {cell}
        [results] = [d for d in summary["first_differences"] if d["field"] == "results"]
        assert results["expected"] == results["found"] + 1
        assert summary["contradictions"] == 0 and summary["rows_counted_again"] > 0
        assert stack.serving() == serving
        assert (status := stack.status())["phase"] == "differs" and status["running"] is None
        summary = stack.rebuild("resume", "--flip-anyway")
        assert summary["serves"] and stack.serving() == summary["generation"]
        stack.assert_exact()


def test_results_that_were_parked_count_in_the_rebuilt_tables_and_are_not_rejected_twice(
    stack: RebuildStack,
) -> None:
    """The school was loaded after its results came, and nobody has retried them."""
    with stack.worker():
        stack.season(results=200)
        late = "59999990000077"
        produce_results(stack, late, count=7)
        produce_results(stack, "59999990000088", count=3)  # of a school that stays unknown
        stack.wait_until_applied()
        wait_for(lambda: len(list(read_topic(stack.kafka, REJECTED))) == 10, "ten results are rejected")
        load_school(stack, late)
        summary = stack.rebuild()
        assert (summary["newly_taken"], summary["newly_rejected"]) == (7, 0)
        assert summary["rejected"] == {"unknown_organization": 3}
        assert (summary["equal"], summary["serves"]) == (True, True)
        assert summary["results"] == summary["results_before"] + 7
        assert len(list(read_topic(stack.kafka, REJECTED))) == 10
        stack.assert_exact()


def test_canaries_results_are_rebuilt_and_counted_again_like_any_others(stack: RebuildStack) -> None:
    """They count in no cell of the state, whose cells name the tests that there are."""
    with stack.worker():
        stack.season(results=200)
        load_school(stack, canary_school(1))
        produce_results(stack, canary_school(1), count=5)
        stack.wait_until_applied()
        for arguments in (("--attribution", "tested"), ()):
            summary = stack.rebuild(*arguments)
            assert (summary["equal"], summary["serves"]) == (True, True)
        stack.assert_exact("tested")


def test_results_that_only_the_new_rule_rejects_are_parked_before_its_tables_serve(
    stack: RebuildStack,
) -> None:
    with stack.worker():
        run = stack.season(results=200)
        school = run.county.schools[0].cds
        produce_results(stack, school, count=5, tested_school="59999990000099")
        stack.wait_until_applied()
        assert list(read_topic(stack.kafka, REJECTED)) == []
        summary = stack.rebuild("--attribution", "tested")
        assert summary["newly_rejected"] == 5 and summary["serves"] and summary["equal"]
        assert summary["results"] == summary["results_before"] - 5
        assert len(list(read_topic(stack.kafka, REJECTED))) == 5
        summary = stack.rebuild()
        assert summary["newly_rejected"] == 0 and summary["rejected"] == {"unknown_organization": 5}
        assert len(list(read_topic(stack.kafka, REJECTED))) == 5
        stack.assert_exact("tested")


def test_subscriber_gets_everything_anew_when_rebuilt_tables_begin_to_serve(stack: RebuildStack) -> None:
    with running_stack_processes(stack.kafka, stack.redis_url, stack.folder) as url:
        stack.season(results=400)
        stack.wait_until_applied()
        headers = {"Authorization": f"Bearer {loader_token(stack.folder)}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            # The gateway looks for new organizations once a second; to it those that it does not know do not exist.
            wait_for(
                lambda: client.get("/v1/organizations").json().get("organizations"), "the directory is read"
            )
            with client.stream("GET", "/v1/stream", params={"topic": f"state/{STATE}"}) as response:
                reader = EventReader(response)
                first = reader.until("put")
                assert (first.id or "").startswith(f"{stack.serving()}.")
                summary = stack.rebuild()
                second = reader.until("put")
                assert (second.id or "").startswith(f"{summary['generation']}.")
                figures = [
                    {name: cell["results"] for name, cell in event.cells(STATE).items()}
                    for event in (first, second)
                ]
                assert figures[0] == figures[1] and sum(figures[0].values()) > 200


def test_operator_sees_bytes_per_result_and_who_owns_each_partition(stack: RebuildStack) -> None:
    with stack.worker(SCORES_INSTANCE_ID="worker-seven"):
        run = stack.season(results=400)
        stack.wait_until_applied()
        [tables] = json.loads(stack.run("tables", "--json"))["generations"]
        state = [cell for name, cell in run.recount.cells().items() if name.cds == STATE]
        assert tables["serves"] and tables["lag"] == 0 and tables["events"] == run.produced
        assert tables["results"] == sum(cell.results for cell in state)
        assert {partition["owner"] for partition in tables["partitions"]} == {"worker-seven"}
        # 45 bytes packed and 16 of name in the row alone.
        assert 61 < tables["bytes_per_result_exams"] < tables["bytes_per_result"]
        stack.rebuild("--keep-old")
        both = json.loads(stack.run("tables", "--json"))["generations"]
        assert [generation["serves"] for generation in both] == [True, False]
        assert both[0]["results"] == both[1]["results"] == tables["results"]
        stack.run("rebuild", "clean")
        [left] = json.loads(stack.run("tables", "--json"))["generations"]
        assert left["generation"] == stack.serving()


def spoil_one_cell(stack: RebuildStack, generation: Generation) -> tuple[str, str]:
    """Add a student to a cell of one school by hand; returns whose cell it is, and its name."""
    for name in sorted(stack.tables(generation)):
        cds = name.rpartition(":")[2]
        if ":cells:" not in name or cds.endswith("0000000"):
            continue
        shares: Any = stack.redis.hgetall(name)
        for field, value in shares.items():
            share = stored_share(value, None)
            share.apply(contribution(2431, levels_code([2])))
            stack.redis.hset(name, field, value[:8] + share.pack()[0])
            return cds, CellField(field.decode())
    raise AssertionError("no school has a cell")


def produce_results(
    stack: RebuildStack, school: str, *, count: int, tested_school: str | None = None
) -> None:
    """Results of students nobody else knows."""
    producer = Producer({"bootstrap.servers": stack.kafka, "partitioner": "murmur2_random"})
    for number in range(count):
        student = f"LATE{school[-4:]}{number}"
        event = ExamResult(
            assessment_id=load_registry().natural_id("ELA-SUM", Grade("03"), 2026),
            opportunity_id=f"late-{school}-{number}",
            school_year=2026,
            status="scored",
            status_date=datetime(2026, 4, 1, 8, number, tzinfo=UTC),
            sequence=900_000 + number,
            student_id=student,
            school=school,
            tested_school=tested_school,
            grade="03",
            scale_score=2431,
            level=2,
        )
        key = Pseudonymizer(SECRET.encode()).student_key(StudentId(student))
        producer.produce(EXAM_RESULTS, key=key.encode(), value=encode_event(event))
    assert producer.flush(10) == 0


def load_school(stack: RebuildStack, cds: str) -> None:
    """Put a school into the directory."""
    producer = Producer({"bootstrap.servers": stack.kafka})
    entry = OrganizationEntry(cds=cds, name="Juniper Elementary", kind="school")
    producer.produce(ORGANIZATIONS, key=cds.encode(), value=encode_event(entry))
    assert producer.flush(10) == 0
    wait_for(lambda: stack.redis.hexists("{organizations}:entries", cds) is True, "the school is loaded")


def test_position_of_a_rebuilt_partition_is_where_its_worker_goes_on(stack: RebuildStack) -> None:
    """Nothing is lost between the rebuild's last batch and the worker's first."""
    with stack.worker():
        stack.season(results=300)
        stack.wait_until_applied()
    summary = stack.rebuild()  # nobody takes over
    assert summary["taken_over"] == 0
    with stack.worker():
        stack.season(results=300, seed=1)
        stack.wait_until_applied()
        stack.assert_exact()
    keys = PartitionKeys(stack.serving(), PartitionId(0))
    assert stack.redis.hget(keys.position, "owner") != b""


def test_rebuild_on_a_cluster_is_as_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORES_REDIS_CLUSTER", "yes")
    with (
        EmbeddedKafka({topic.name: topic.partitions for topic in topics(PARTITIONS)}) as kafka,
        EmbeddedRedisCluster(tmp_path / "cluster") as cluster,
    ):
        stack = RebuildStack(kafka.bootstrap_servers, cluster.url, tmp_path)
        with RedisCluster.from_url(cluster.url) as client, stack.worker() as worker:
            stack.redis = cast(Redis, client)
            stack.season(results=400)
            stack.wait_until_applied()
            summary = stack.rebuild("--attribution", "tested", "--keep-old")
            assert (summary["serves"], summary["equal"], summary["taken_over"]) == (True, True, PARTITIONS)
            stack.assert_exact("tested")
            before = summary["beside"]
            assert f"Removed {before}" in stack.run("rebuild", "clean")
            assert stack.tables(before) == []
            assert worker.running, worker.last_lines()


def test_import_index_is_filled_again_from_the_log(stack: RebuildStack) -> None:
    with stack.worker():
        run = stack.season(results=200)
    stack.run("rebuild", "imports")
    index = {
        exam: history
        for key in stack.redis.scan_iter("scores:imports:exams:*")
        for exam, history in dict[bytes, bytes](stack.redis.hgetall(key)).items()  # type: ignore[arg-type]
    }
    exams = {
        (event.assessment_id, event.opportunity_id): event
        for record in read_topic(stack.kafka, EXAM_RESULTS)
        for event in [decode_exam_result(record.value or b"")]
    }
    assert len(index) == len(exams) > 150 and run.produced > len(exams)
    assert all(len(history) == 30 + 14 for history in index.values()), "one holder each"
    stack.run("rebuild", "imports")  # again, which changes nothing
    assert sum(stack.redis.hlen(key) for key in stack.redis.scan_iter("scores:imports:exams:*")) == len(index)
