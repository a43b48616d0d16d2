"""A year's test is closed: later results are parked and listed, and applied when it is opened again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer
from rebuild_stack import PARTITIONS, RebuildStack
from stack import SECRET, broker, live_cells, store, wait_for

from cli.rejected.records import RejectedRecord
from cli.rejected.topic import read_all
from cli.simulator.recount import CellId, CountedCell, Recount
from cli.verify import compare
from schemas.assessments import load_registry
from schemas.closings import decode_closings
from schemas.events import ClosingEntry, ExamResult, decode_closing, decode_exam_result, encode_event
from schemas.identifiers import StudentId
from schemas.keys import CLOSINGS as CLOSINGS_SHOWN
from schemas.keys import GENERATION
from schemas.pseudonyms import Pseudonymizer
from schemas.topics import CLOSINGS, EXAM_RESULTS
from streams.closings_topic import read_changes
from streams.topic_reading import StoredRecord, read_topic

PSEUDONYMS = Pseudonymizer(SECRET.encode())
TEST, YEAR = "ELA-SUM", 2026


@pytest.fixture(params=["embedded", "real"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RebuildStack]:
    """An empty log and an empty store."""
    folder = tmp_path_factory.mktemp("closing")
    with broker(request.param, PARTITIONS, folder) as kafka, store("embedded") as server:
        yield RebuildStack(kafka, server.url, folder)


def send(stack: RebuildStack, *events: ExamResult) -> None:
    """Produce results as a producer does."""
    producer = Producer({"bootstrap.servers": stack.kafka, "partitioner": "murmur2_random"})
    for event in events:
        assert event.student_id is not None
        key = PSEUDONYMS.student_key(StudentId(event.student_id)).encode()
        producer.produce(EXAM_RESULTS, encode_event(event), key, headers=[("ce_id", b"rescore")])
    assert producer.flush(10) == 0


def newest(stack: RebuildStack, test: str, count: int) -> list[ExamResult]:
    """Scored exams of a test as the log has them last, of students with one exam in it."""
    registry = load_registry()
    exams: dict[tuple[str, str], list[ExamResult]] = {}
    for record in read_topic(stack.kafka, EXAM_RESULTS):
        event = decode_exam_result(record.value or b"")
        if event.student_id and registry.resolve(event.assessment_id, event.school_year).test == test:
            exams.setdefault((event.student_id, event.assessment_id), []).append(event)
    once = [found[0] for found in exams.values() if len(found) == 1 and found[0].status == "scored"]
    assert len(once) >= count, "the season is too small"
    return once[:count]


def rescored(event: ExamResult) -> ExamResult:
    """The same exam, a point better."""
    assert event.scale_score is not None
    later = event.status_date + timedelta(days=30)
    return replaced(event, status_date=later, sequence=event.sequence + 1, scale_score=event.scale_score + 1)


def reset(event: ExamResult) -> ExamResult:
    """The same exam, taken back."""
    return replaced(event, status="reset", status_date=event.status_date + timedelta(days=31))


def replaced(event: ExamResult, **fields: Any) -> ExamResult:
    from msgspec.structs import replace as with_fields

    return with_fields(event, **fields)


def taken(stack: RebuildStack, parked: bool) -> list[StoredRecord]:
    """The results that came while their test was closed, or the others; told from the two topics alone."""
    changes = [
        (decode_closing(record.value or b""), record.timestamp)
        for record in read_topic(stack.kafka, CLOSINGS)
    ]
    registry = load_registry()

    def closed(record: StoredRecord) -> bool:
        event = decode_exam_result(record.value or b"")
        assessment = registry.resolve(event.assessment_id, event.school_year)
        about = (assessment.school_year, str(assessment.test))
        said = [
            entry.change
            for entry, recorded_ms in changes
            if (entry.school_year, entry.test) == about
            and effective_ms(entry, recorded_ms) <= record.timestamp
        ]
        return said[-1:] == ["closed"]

    return [record for record in read_topic(stack.kafka, EXAM_RESULTS) if closed(record) is parked]


def effective_ms(entry: ClosingEntry, recorded_ms: int) -> int:
    at = 0 if entry.at is None else round(entry.at.timestamp() * 1000)
    return max(at, recorded_ms + 10_000)


def oracle(stack: RebuildStack) -> dict[CellId, CountedCell]:
    """The recount of what was not parked."""
    schools = set(load_schools(stack))
    recount = Recount(load_registry(), schools)
    for record in taken(stack, parked=False):
        recount.add((record.key or b"").decode(), decode_exam_result(record.value or b""))
    return recount.cells()


def load_schools(stack: RebuildStack) -> list[str]:
    entries: Any = stack.redis.hgetall("{organizations}:entries")
    return [cds.decode() for cds, entry in entries.items() if json.loads(entry)["kind"] == "school"]


def parked_references(stack: RebuildStack) -> dict[str, bytes]:
    """What is in the rejected topic because its test was closed: by reference, byte for byte."""
    return {
        record.reference: record.stored.value or b""
        for record in read_all(stack.kafka, quiet=True)
        if isinstance(record, RejectedRecord) and record.reason == "closed"
    }


def told(stack: RebuildStack, *arguments: str, exit_status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        stack.run(*arguments, "--json", exit_status=exit_status).splitlines()[0]
    )
    return found


def wait_until_closed(stack: RebuildStack) -> None:
    """Until a result that is produced now comes after the closing, by any broker's clock."""
    [*_, change] = read_changes(stack.kafka)
    latest_ms = change.effective_ms + 100
    wait_for(lambda: datetime.now(UTC).timestamp() * 1000 > latest_ms, "the closing holds")


def test_rescores_of_a_closed_test_wait_and_are_applied_when_it_is_reopened(stack: RebuildStack) -> None:
    close = ("releases", "close", "--year", str(YEAR), "--test", TEST)
    with stack.worker() as worker:
        stack.season(results=600)
        stack.wait_until_applied()
        assert compare(oracle(stack), figures(stack)) == []
        exams, others = newest(stack, TEST, 12), newest(stack, "MATH-SUM", 3)

        # Closed.
        done = told(stack, *close)
        assert (done["changed"], done["test"], done["closed"][0]["to"]) == (True, TEST, None)
        assert told(stack, *close)["changed"] is False, "it is closed already"
        assert len(read_changes(stack.kafka)) == 1
        wait_for(lambda: shown(stack) == [(YEAR, TEST, 1)], "gateways can show that it is closed")
        in_time = [rescored(event) for event in exams[:2]]
        send(stack, *in_time)
        wait_until_closed(stack)
        before = figures(stack)
        late = [rescored(event) for event in exams[2:8]] + [reset(event) for event in exams[8:]]
        send(stack, *late)
        send(stack, *[rescored(event) for event in others])
        stack.wait_until_applied()

        # Parked and listed, byte for byte; no figure of it moved, those of others did.
        waiting = parked_references(stack)
        assert sorted(waiting.values()) == sorted(map(encode_event, late))
        assert sorted(waiting.values()) == sorted(record.value or b"" for record in taken(stack, parked=True))
        now = figures(stack)
        assert of_test(now, TEST) == of_test(before, TEST)
        assert of_test(now, "MATH-SUM") != of_test(before, "MATH-SUM")
        assert compare(oracle(stack), now) == []
        listed = told(stack, "rejected", "list", "--reason", "closed", exit_status=1)
        [reason] = listed["reasons"]
        assert (reason["reason"], reason["results"]) == ("closed", len(late))
        assert reason["waits_for"] == [{"name": "2026/ELA-SUM", "results": len(late), "known": False}]
        [standing] = told(stack, "releases", "closed")["closings"]
        assert (standing["state"], standing["waiting"]) == ("closed", len(late))
        retried = told(stack, "rejected", "retry", exit_status=1)
        assert (retried["retried"], retried["waiting"][0]["results"]) == (0, len(late))
        assert "2026/ELA-SUM is closed since" in retried["waiting"][0]["detail"]

        # A rebuild, and a replay from the beginning, come to the same.
        summary = stack.rebuild()
        assert (summary["serves"], summary["equal"], summary["newly_rejected"]) == (True, True, 0)
        assert summary["newly_taken"] == 0
        assert figures(stack) == now and parked_references(stack) == waiting
        assert worker.running, worker.last_lines()
    stack.redis.delete(GENERATION)  # other tables, from nothing
    with stack.worker() as worker:
        stack.wait_until_applied()
        assert figures(stack) == now and parked_references(stack) == waiting

        # Reopened.
        output = stack.run("releases", "reopen", "--year", str(YEAR), "--test", TEST, "--retry")
        assert f"wait for that: {len(late)}" in output and f"{len(late)} results produced again" in output
        stack.wait_until_applied()
        assert parked_references(stack) == waiting, "none is parked once more"
        applied = figures(stack)
        assert of_test(applied, TEST) != of_test(now, TEST)
        assert compare(oracle(stack), applied) == []
        assert told(stack, "rejected", "list", "--reason", "closed")["rejected"] == 0
        assert stack.run("releases", "closed") == "No test is closed.\n"
        assert worker.running, worker.last_lines()
    summary = stack.rebuild()
    assert (summary["serves"], summary["equal"]) == (True, True)
    assert figures(stack) == applied


def figures(stack: RebuildStack) -> dict[CellId, CountedCell]:
    """The serving cells; one whose results have all gone is as good as none."""
    return {name: cell for name, cell in live_cells(stack.redis_url).items() if cell.results}


def shown(stack: RebuildStack) -> list[tuple[int, str, int]]:
    """What workers have written down for gateways: year, test and how often it was closed."""
    stored: Any = stack.redis.get(CLOSINGS_SHOWN)
    return [(one.school_year, one.test, len(one.closed)) for one in decode_closings(stored or b"[]")]


def of_test(cells: dict[CellId, CountedCell], test: str) -> dict[CellId, CountedCell]:
    return {name: cell for name, cell in cells.items() if name.cell.startswith(f"{YEAR}:{test}:")}
