"""``scores rejected`` on a broker and a store: what a worker or the gateway put aside, listed, shown, retried, exported."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from redis import Redis
from rejected_results import CE, NOON, rejected, result
from stack import (
    SECRET,
    broker,
    live_cells,
    loader_token,
    positions,
    process_environment,
    running_stack_processes,
    running_worker,
    store,
    wait_for,
)
from typer.testing import CliRunner

from cli.__main__ import app
from cli.load_entities import load_entities
from cli.rejected.topic import read_all
from cli.simulator.recount import Recount
from cli.stack.child import Child
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.verify import compare
from schemas import topics
from schemas.assessments import load_registry
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.events import decode_exam_result
from schemas.identifiers import StudentId
from schemas.pseudonyms import Pseudonymizer
from streams.topic_reading import read_topic

PARTITIONS = 4
SCHOOL = "99123450000011"
LATE_SCHOOL = "99123450000022"  # comes into the directory during a test
MISSING_SCHOOL = "99123450000033"  # never does
PSEUDONYMS = Pseudonymizer(SECRET.encode())

# The worker acknowledges what it rejects, and dies before the position moves.
DIES_AFTER_REJECTING = """
import os, signal, sys
from streams.rejected import RejectedTopic
put = RejectedTopic.put
async def put_and_die(self, rejected, partition):
    await put(self, rejected, partition)
    os.kill(os.getpid(), signal.SIGKILL)
RejectedTopic.put = put_and_die
from streams.__main__ import main
sys.exit(main())
"""


@dataclass
class Stack:
    """A broker and a store, and what was sent to them."""

    kafka: str
    redis_url: str
    folder: Path
    store: Redis
    sent: list[tuple[str, bytes]] = field(default_factory=list)  # keys and events, to be counted again
    produced: int = 0

    def send(self, student: str, body: bytes, *, key: bytes | None = None, counted: bool = True) -> None:
        """Produce one result as a producer does, under the student's key if no other is given."""
        pseudonym = PSEUDONYMS.student_key(StudentId(student))
        if counted:
            self.sent.append((pseudonym, body))
        producer = Producer({"bootstrap.servers": self.kafka, "partitioner": "murmur2_random"})
        producer.produce(topics.EXAM_RESULTS, body, key or pseudonym.encode(), headers=list(CE))
        assert producer.flush(10) == 0
        self.produced += 1

    def settle(self, records: int | None = None) -> None:
        """Wait until the workers have passed all that is in the results topic."""
        wanted = self.produced if records is None else records
        wait_for(lambda: sum(positions(self.store, PARTITIONS).values()) == wanted, f"{wanted} passed")

    def load(self, *schools: str) -> None:
        """Put schools into the directory; a worker has to be running."""
        file = self.folder / "schools.csv"
        file.write_text(
            "cds,name,kind\n99123450000000,Nonesuch Unified,district\n"
            + "".join(f"{school},School {school[-2:]},school\n" for school in schools)
        )
        assert load_entities([file], self.kafka, self.redis_url, as_json=True) == 0

    def rejected(self, *arguments: str) -> tuple[int, str, str]:
        """``scores rejected ...``: exit status, output, messages."""
        environment = process_environment(self.kafka, self.redis_url)
        done = CliRunner().invoke(app, ["rejected", *arguments], env=environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def told(self, *arguments: str) -> tuple[int, Any]:
        """The same, as JSON."""
        status, out, messages = self.rejected(*arguments, "--json")
        assert out, messages
        return status, json.loads(out)

    def assert_counted(self, schools: Sequence[str]) -> None:
        """Every cell equals a recount of all that was sent."""
        recount = Recount(load_registry(), schools)
        for key, body in self.sent:
            recount.add(key, decode_exam_result(body))
        assert compare(recount.cells(), live_cells(self.redis_url)) == []


def exam(student: str, school: str, **fields: object) -> bytes:
    """The body of a student's exam at a school."""
    return result(school, student_id=student, **fields)


def students(first: int, number: int) -> list[str]:
    return [f"70000{n:05d}" for n in range(first, first + number)]


@contextmanager
def stack(kind: str, folder: Path) -> Iterator[Stack]:
    with (
        broker(kind, PARTITIONS, folder) as kafka,
        store("embedded") as server,
        Redis.from_url(server.url) as client,
    ):
        yield Stack(kafka, server.url, folder, client)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Stack]:
    with stack("embedded", tmp_path) as running:
        yield running


@pytest.mark.parametrize("kind", ["embedded", "real"])
def test_unknown_school_parked_entry_added_replayed_reconciled(kind: str, tmp_path: Path) -> None:
    with stack(kind, tmp_path) as running, running_worker(running.kafka, running.redis_url, tmp_path):
        running.load(SCHOOL)
        for student in students(0, 6):
            running.send(student, exam(student, SCHOOL, scale_score=2400))
        for student in students(6, 5):
            running.send(student, exam(student, LATE_SCHOOL, scale_score=2500, level=4))
        running.send("7000000099", exam("7000000099", MISSING_SCHOOL))
        running.settle()

        status, told = running.told("list")
        assert status == 1
        [reason] = told["reasons"]
        assert (reason["reason"], reason["results"]) == ("unknown_organization", 6)
        assert reason["waits_for"] == [
            {"name": LATE_SCHOOL, "results": 5, "known": False},
            {"name": MISSING_SCHOOL, "results": 1, "known": False},
        ]
        assert running.told("retry")[1]["waiting"][0]["results"] == 5  # nothing can go yet
        running.settle()
        running.assert_counted([SCHOOL])

        running.load(LATE_SCHOOL)
        assert running.told("list", "--limit", "0")[1]["reasons"][0]["waits_for"][0]["known"]
        status, shown, _ = running.rejected("list")
        assert f"organization {LATE_SCHOOL}: known by now, retry" in shown
        assert f"organization {MISSING_SCHOOL}: still unknown" in shown
        assert "Load the missing school with `scores entities load FILE`" in shown
        status, told = running.told("retry", "--dry-run")
        assert (status, told["would_retry"], told["retried"]) == (1, 5, 0)
        status, told = running.told("retry")
        assert (status, told["retried"]) == (1, 5)
        assert [waiting["waits_for"] for waiting in told["waiting"]] == [MISSING_SCHOOL]
        running.produced += 5
        running.settle()

        running.assert_counted([SCHOOL, LATE_SCHOOL])
        # Reconciled: received = applied + parked. Twelve were sent, six and five count, one still waits.
        [state] = [cell for name, cell in live_cells(running.redis_url).items() if name.cds == "0" * 14]
        assert state.results == 11
        assert running.told("list")[1]["rejected"] == 1


def test_every_kind_of_rejection_is_listed_with_its_coordinates_and_exported_with_its_bytes(
    embedded: Stack, tmp_path: Path
) -> None:
    later = NOON + timedelta(hours=1)
    faulty: dict[str, tuple[bytes, bytes | None]] = {
        "unknown_assessment": (exam("7000000001", SCHOOL, assessment_id="NEW-2026"), None),
        "refused_assessment": (exam("7000000001", SCHOOL, assessment_id="(SBAC)ELPAC-INITIAL-3-2026"), None),
        "invalid": (exam("7000000001", SCHOOL, scale_score=4095), None),
        "contradiction": (exam("7000000001", SCHOOL, scale_score=2432), None),
        "wrong_key": (exam("7000000001", SCHOOL, status_date=later), b"0" * 24),
        "undecodable": (b"\xff\x00<TDSReport>", None),
        "unknown_organization": (exam("7000000001", MISSING_SCHOOL), None),
    }
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
        embedded.send("7000000001", exam("7000000001", SCHOOL))
        for body, key in faulty.values():
            embedded.send("7000000001", body, key=key, counted=False)
        embedded.settle()
    embedded.assert_counted([SCHOOL])

    status, told = embedded.told("list")
    found = {record["reason"]: record for record in told["records"]}
    assert status == 1
    assert found.keys() == faulty.keys() - (
        set() if "refused_assessment" in found else {"refused_assessment"}
    )
    for reason, record in found.items():
        status, out, _ = embedded.rejected("export", record["record"])
        line = json.loads(out)
        assert status == 0
        body, key = faulty[reason]
        key = key or PSEUDONYMS.student_key(StudentId("7000000001")).encode()
        value = line["value"].encode() if "value" in line else b64decode(line["value_base64"])
        assert (line["key"].encode(), value) == (key, body)
        assert [(one["name"], one["value"].encode()) for one in line["headers"]] == list(CE)
        assert record["record"] == f"{line['partition']}:{line['offset']}"
        assert stands_at(embedded, line["partition"], line["offset"]) == body

    invalid = found["invalid"]["record"]
    status, shown, _ = embedded.rejected("show", invalid)
    assert status == 0 and "7000000001" not in shown and "4095" in shown
    assert "7000000001" in embedded.rejected("show", invalid, "--reveal")[1]
    assert embedded.told("retry", invalid)[1]["waiting"][0]["reason"] == "invalid"


def stands_at(running: Stack, partition: int, offset: int) -> bytes | None:
    """What the results topic has at these coordinates."""
    records = read_topic(running.kafka, topics.EXAM_RESULTS, {partition: offset}, partitions=[partition])
    return next(records).value


def test_result_retried_twice_counts_once(embedded: Stack, tmp_path: Path) -> None:
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
        embedded.send("7000000001", exam("7000000001", LATE_SCHOOL))
        embedded.settle()
        [record] = embedded.told("list")[1]["records"]
        embedded.load(LATE_SCHOOL)

        assert embedded.told("retry")[1]["retried"] == 1
        assert embedded.told("retry")[1]["retried"] == 0  # it is noted
        status, told = embedded.told("retry", record["record"])
        assert (status, told["retried_before"]) == (0, [record["record"]])
        assert embedded.told("retry", record["record"], "--force")[1]["retried"] == 1
        embedded.settle(3)

    embedded.assert_counted([SCHOOL, LATE_SCHOOL])
    assert embedded.told("list") == (0, {"rejected": 0, "retried": 1, "reasons": [], "records": []})
    [again] = embedded.told("list", "--retried")[1]["records"]
    assert again["record"] == record["record"] and again["retried"]


def test_retry_of_a_result_that_was_rescored_meanwhile_changes_nothing(
    embedded: Stack, tmp_path: Path
) -> None:
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
        embedded.send("7000000001", exam("7000000001", LATE_SCHOOL))
        embedded.settle()
        embedded.load(LATE_SCHOOL)
        rescored = exam("7000000001", LATE_SCHOOL, scale_score=2440, status_date=NOON + timedelta(days=1))
        embedded.send("7000000001", rescored)
        embedded.settle()
        assert embedded.told("retry")[0] == 0
        embedded.settle(3)
    embedded.assert_counted([SCHOOL, LATE_SCHOOL])


def test_forced_retry_that_still_lacks_its_school_is_rejected_again_and_appears_as_a_retry(
    embedded: Stack, tmp_path: Path
) -> None:
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
        embedded.send("7000000001", exam("7000000001", MISSING_SCHOOL))
        embedded.settle()
        [first] = embedded.told("list")[1]["records"]
        status, told = embedded.told("retry")
        assert (status, told["retried"], told["waiting"][0]["waits_for"]) == (1, 0, MISSING_SCHOOL)
        assert embedded.told("retry", "--force")[1]["retried"] == 1
        embedded.settle(2)
    [again] = embedded.told("list")[1]["records"]
    assert again["retry_of"] == first["record"] != again["record"]
    assert embedded.told("list")[1]["retried"] == 1


def test_worker_killed_between_rejecting_and_moving_on_leaves_one_listed_record(
    embedded: Stack, tmp_path: Path
) -> None:
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
    embedded.send("7000000001", exam("7000000001", MISSING_SCHOOL))
    dying = Child(
        "worker",
        [sys.executable, "-c", DIES_AFTER_REJECTING],
        cwd=tmp_path,
        log=tmp_path / "dying.log",
        env=process_environment(embedded.kafka, embedded.redis_url),
    )
    try:
        assert dying.wait(120), dying.last_lines()
        assert dying.exit_status == -signal.SIGKILL, dying.last_lines()
    finally:
        dying.stop(0.0)
    assert sum(positions(embedded.store, PARTITIONS).values()) == 0
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.settle()

    assert len(list(read_all(embedded.kafka, quiet=True))) == 2  # at least once
    [record] = embedded.told("list")[1]["records"]
    assert embedded.told("show", record["record"])[1]["times_rejected"] == 2


def test_report_that_the_gateway_parked_counts_after_its_school_is_loaded_and_it_is_retried(
    embedded: Stack, tmp_path: Path
) -> None:
    body = exam("7000000001", LATE_SCHOOL)
    headers = {"authorization": f"Bearer {loader_token(tmp_path)}", "content-type": "application/json"}
    with running_stack_processes(embedded.kafka, embedded.redis_url, tmp_path) as url:
        embedded.load(SCHOOL)
        answer = httpx.post(f"{url}/v1/exams/imports", content=body, headers=headers, timeout=30).json()
        assert answer["status"] == "UNKNOWN_SCHOOL"
        [record] = embedded.told("list")[1]["records"]
        assert (record["record"][:7], record["waits_for"]) == ("import-", LATE_SCHOOL)
        embedded.load(LATE_SCHOOL)
        assert embedded.told("retry")[0] == 0
        embedded.settle(1)
    embedded.sent.append((PSEUDONYMS.student_key(StudentId("7000000001")), body))
    embedded.assert_counted([SCHOOL, LATE_SCHOOL])
    assert embedded.told("list")[0] == 0


def test_export_is_a_whole_file_that_only_its_owner_can_read(embedded: Stack, tmp_path: Path) -> None:
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.load(SCHOOL)
        for student in students(0, 3):
            embedded.send(student, exam(student, SCHOOL, scale_score=4095))
        embedded.settle()
    file = tmp_path / "faulty.jsonl"
    status, out, messages = embedded.rejected("export", "--reason", "invalid", "-o", str(file))
    assert (status, out) == (0, "")
    assert "student identifiers" in " ".join(messages.split())
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir() if "faulty" in path.name} == {"faulty.jsonl"}


def test_many_results_are_all_retried_and_all_noted(embedded: Stack) -> None:
    """More than are produced in one go; without a worker, so nobody asks whether they would be taken."""
    producer = Producer({"bootstrap.servers": embedded.kafka})
    for number in range(2_345):
        body = exam(f"7{number:09d}", MISSING_SCHOOL)
        parked = rejected(f"{number % PARTITIONS}:{number}", value=body, key=f"{number:024x}".encode())
        producer.produce(topics.REJECTED, parked.value, parked.key, headers=list(parked.headers))
    assert producer.flush(20) == 0

    assert embedded.told("retry", "--force", "--partition", "1")[1]["retried"] == 586
    assert embedded.told("retry", "--force")[1]["retried"] == 2_345 - 586
    assert embedded.told("list")[1]["retried"] == 2_345
    again = list(read_topic(embedded.kafka, topics.EXAM_RESULTS))
    assert {record.key for record in again} == {f"{number:024x}".encode() for number in range(2_345)}
    assert {dict(record.headers)["retry_of"].decode() for record in again} == {
        f"{number % PARTITIONS}:{number}" for number in range(2_345)
    }
    assert len(again) == 2_345


def test_what_cannot_be_asked_is_named_with_its_remedy(embedded: Stack) -> None:
    assert embedded.told("list") == (0, {"rejected": 0, "retried": 0, "reasons": [], "records": []})
    refused: dict[tuple[str, ...], tuple[type[Exception], str]] = {
        ("list", "--reason", "late"): (InvalidInput, "'late' is not a reason; expected one of unknown_org"),
        ("show", "3:1042"): (InvalidInput, "no rejected record is called 3:1042"),
        ("show", "first"): (InvalidInput, "'first' is not a reference; expected PARTITION:OFFSET"),
        ("retry", "3:1042"): (InvalidInput, "no rejected record is called 3:1042"),
        ("export", "-o", "nowhere/faulty.jsonl"): (InvalidInput, "'nowhere/faulty.jsonl' cannot be written"),
        ("retry", "--redis", "redis://127.0.0.1:1/0"): (
            DependencyUnavailable,
            "Redis at redis://127.0.0.1:1",
        ),
        ("list", "--kafka", "127.0.0.1:1"): (DependencyUnavailable, "Kafka at 127.0.0.1:1 did not answer"),
    }
    for arguments, (kind, told) in refused.items():
        with pytest.raises(kind, match=re.escape(told)):
            embedded.rejected(*arguments)


def test_wrong_usage_ends_with_status_two_and_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "rejected", "list", "--since", "yesterday", "--kafka", "127.0.0.1:1"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("scores: --since is 'yesterday'; expected a time such as 2026-05-02T08:00Z")


def test_broker_without_the_rejected_topic_is_named_with_how_to_make_it() -> None:
    with EmbeddedKafka({topics.EXAM_RESULTS: 1}) as kafka:
        told = "has no topic exam-results.rejected.v1; make it with `scores topics create"
        with pytest.raises(InvalidInput, match=told):
            list(read_all(kafka.bootstrap_servers, quiet=True))


def test_record_as_large_as_kafka_takes_is_rejected_and_stops_nobody(embedded: Stack, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": embedded.kafka, "message.max.bytes": 1_100_000})
    producer.produce(topics.EXAM_RESULTS, b"x" * 1_040_000, b"k", partition=0)
    assert producer.flush(10) == 0
    with running_worker(embedded.kafka, embedded.redis_url, tmp_path):
        embedded.settle(1)
    assert embedded.told("show", "0:0")[1]["omitted"] == ["value"]
