"""The audit's spool: what is noted is written, outlives the process, and reaches Kafka whole and in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from cli.audit.chains import Fault, check
from cli.audit.noting import noted_by_operator
from cli.audit.reading import spooled_lines
from gateway.audit.refusals import Refusals
from schemas.audit import AuditEntry, AuditEvent, AuditKind, read_entry
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.keys import AUDIT_HEADS
from schemas.process.audit.auditor import AuditUnavailable, NoAudit
from schemas.process.audit.heads import Heads
from schemas.process.audit.metrics import AuditMetrics
from schemas.process.audit.settings import AuditSettings
from schemas.process.audit.shipping import Shipper
from schemas.process.audit.spool import segments
from schemas.process.audit.writer import Audit
from schemas.process.outgoing import OutgoingRecord
from schemas.topics import AUDIT

pytestmark = pytest.mark.anyio


class MemoryKafka:
    """Takes records, until it is told not to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.away = False
        self.takes = 10**9  # records of one publish that arrive

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        assert {record.topic for record in records} == {AUDIT}
        if self.away:
            raise DependencyUnavailable("Kafka is away")
        arrived = records[: self.takes]
        self.lines += [record.value or b"" for record in arrived]
        if len(arrived) < len(records):
            raise DependencyUnavailable("not all were acknowledged")


def process(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own that keeps its audit in the folder, run to its end."""
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def opened(number: int) -> AuditEvent:
    return AuditEvent(
        kind=AuditKind.STREAM_OPENED,
        subject=f"teacher-{number}@school.test",
        stream=f"node.s{number}",
        organizations=("school/19990010000101",),
    )


def entries(folder: Path) -> list[AuditEntry]:
    return [read_entry(line) for line, _ in spooled_lines(folder)]


def subjects(lines: Sequence[bytes]) -> list[str]:
    return [entry.event.subject for line in lines if (entry := read_entry(line)).event.subject]


@contextmanager
def running(
    folder: Path, node: str = "one", *, segment_bytes: int = 1 << 20, keep_hours: float = 72
) -> Iterator[tuple[Audit, Shipper, MemoryKafka]]:
    """One process's audit, with a shipper that ships when told."""
    settings = AuditSettings(folder, keep_hours=keep_hours, segment_bytes=segment_bytes)
    kafka, metrics = MemoryKafka(), AuditMetrics(CollectorRegistry())
    audit = Audit(settings, node, metrics)
    audit.start()
    try:
        yield audit, Shipper(settings, audit, kafka, metrics), kafka
    finally:
        audit.close()
        audit.release()


async def test_what_is_noted_is_in_the_file_when_it_is_said_to_be(tmp_path: Path) -> None:
    with running(tmp_path) as (audit, _, _):
        for number in range(2_500):
            audit.note(opened(number))
        await audit.written()
        written = entries(tmp_path)
    assert [entry.event.kind for entry in written[:2]] == [AuditKind.CHAIN_STARTED, AuditKind.STREAM_OPENED]
    assert [entry.number for entry in written] == list(range(1, 2_502))
    assert check(line for line, _ in spooled_lines(tmp_path)) == []
    assert entries(tmp_path)[-1].event.kind is AuditKind.CHAIN_ENDED
    assert [path.stat().st_mode & 0o777 for path in files(tmp_path, "*.jsonl")] == [0o600]


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from schemas.process.audit.settings import AuditSettings
from schemas.process.audit.writer import Audit
from schemas.process.audit.metrics import AuditMetrics
from schemas.audit import AuditEvent, AuditKind

async def run():
    audit = Audit(AuditSettings(Path(sys.argv[1])), "killed", AuditMetrics(CollectorRegistry()))
    audit.start()
    audit.note(AuditEvent(kind=AuditKind.STREAM_OPENED, subject="seen@school.test"))
    await audit.written()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""


async def test_what_was_written_outlives_kill_9_and_is_shipped_by_whoever_comes_next(tmp_path: Path) -> None:
    ended = process(_KILLED, tmp_path)
    assert ended.returncode == -signal.SIGKILL
    with running(tmp_path, "next") as (audit, shipper, kafka):
        await shipper.ship()
        assert subjects(kafka.lines) == ["seen@school.test"]
        started = [read_entry(line) for line in kafka.lines if b'"chain_started"' in line]
        heads = {head.chain.rpartition("-")[2]: head.number for one in started for head in one.event.heads}
        assert heads == {"killed": 2}
        assert audit.chain in {one.chain for one in started}
    assert check(kafka.lines) == []
    # Whoever cuts the last entry of the killed one off is found out by the chain that took over.
    cut = [line for line in kafka.lines if b"seen@school.test" not in line]
    assert [one.fault for one in check(cut)] == [Fault.CUT]


async def test_the_chain_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path, "one") as (first, _, _), running(tmp_path, "two") as (second, shipper, kafka):
        first.note(opened(1))
        await first.written()
        second.note(opened(2))
        await second.written()
        await shipper.ship()
        assert subjects(kafka.lines) == ["teacher-2@school.test"]
        assert not second.left_behind
    with running(tmp_path, "three") as (third, shipper, kafka):
        await shipper.ship()
        # Both ended; the second is in Kafka but for its last entry, the first was in nobody's care but its own.
        assert subjects(kafka.lines) == ["teacher-1@school.test"]
        assert len(third.left_behind) == 2


async def test_each_ended_chain_is_taken_over_once(tmp_path: Path) -> None:
    for node in ("one", "two", "three"):
        with running(tmp_path, node):
            pass
    named = [head.chain.rpartition("-")[2] for entry in entries(tmp_path) for head in entry.event.heads]
    assert sorted(named) == ["one", "two"]


async def test_a_line_that_was_being_written_when_the_machine_stopped_is_passed_over(tmp_path: Path) -> None:
    with running(tmp_path, "one") as (audit, _, _):
        audit.note(opened(1))
    [file] = files(tmp_path, "*.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"chain":"20260501T0800')
    with running(tmp_path, "two") as (_, shipper, kafka):
        await shipper.ship()
    assert subjects(kafka.lines) == ["teacher-1@school.test"]
    assert check(kafka.lines) == []


async def test_while_kafka_is_away_noting_goes_on_and_everything_is_shipped_later(tmp_path: Path) -> None:
    with running(tmp_path) as (audit, shipper, kafka):
        kafka.away = True
        for number in range(30):
            audit.note(opened(number))
        await audit.written()
        with pytest.raises(DependencyUnavailable):
            await shipper.ship()
        kafka.away, kafka.takes = False, 7
        with pytest.raises(DependencyUnavailable):
            await shipper.ship()
        kafka.takes = 10**9
        await shipper.ship()
        await shipper.ship()
    # Those that Kafka had taken without saying so come twice, which a reader passes over.
    assert len(kafka.lines) == 7 + 31
    assert check(kafka.lines) == []
    assert len({read_entry(line).number for line in kafka.lines}) == 31


async def test_a_restart_goes_on_shipping_where_the_last_acknowledgement_was(tmp_path: Path) -> None:
    with running(tmp_path, "one") as (audit, shipper, kafka):
        audit.note(opened(1))
        await audit.written()
        await shipper.ship()
        audit.note(opened(2))
    with running(tmp_path, "two") as (_, shipper, later):
        await shipper.ship()
    assert subjects(later.lines) == ["teacher-2@school.test"]
    assert check([*kafka.lines, *later.lines]) == []


async def test_files_that_kafka_has_are_removed_after_their_time_and_not_before(tmp_path: Path) -> None:
    with running(tmp_path, "one", segment_bytes=2_000) as (audit, shipper, kafka):
        for number in range(40):
            audit.note(opened(number))
            await audit.written()
        [firsts] = segments(tmp_path).values()
        assert len(firsts) > 3
        await shipper.ship()  # cleans at its first turn; three days are not over
        assert list(segments(tmp_path).values()) == [firsts]
    with running(tmp_path, "two", keep_hours=0) as (audit, shipper, later):
        later.away = True
        with pytest.raises(DependencyUnavailable):
            await shipper.ship()
        assert len(segments(tmp_path)) == 2  # what Kafka has not stays, however old
        later.away = False
        await shipper.ship()
        assert list(segments(tmp_path)) == [audit.chain]
        assert files(tmp_path, "*-one.*") == []
    assert check([*kafka.lines, *later.lines]) == []


_DISK_FULL = """
import asyncio, resource, sys, json
from pathlib import Path
from prometheus_client import CollectorRegistry
from schemas.process.audit.settings import AuditSettings
from schemas.process.audit.writer import Audit
from schemas.process.audit.auditor import AuditUnavailable
from schemas.process.audit.metrics import AuditMetrics
from schemas.audit import AuditEvent, AuditKind

async def refused(audit):
    try:
        await audit.written()
    except AuditUnavailable:
        return True
    return False

async def run():
    audit = Audit(AuditSettings(Path(sys.argv[1])), "full", AuditMetrics(CollectorRegistry()))
    audit.start()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, unlimited[1]))
    said = {"first": [], "failing": False}
    for number in range(30):
        audit.note(AuditEvent(kind=AuditKind.STREAM_CLOSED, stream=f"node.s{number}", outcome="max_age"))
        said["first"].append(await refused(audit))
    said["failing"] = audit.failing
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    while audit.failing:
        await asyncio.sleep(0.05)
    audit.note(AuditEvent(kind=AuditKind.STREAM_OPENED, stream="node.after"))
    said["after"] = await refused(audit)
    audit.close()
    print(json.dumps(said))

asyncio.run(run())
"""


async def test_with_a_full_disk_nothing_new_is_shown_and_nothing_that_happens_is_forgotten(
    tmp_path: Path,
) -> None:
    ended = process(_DISK_FULL, tmp_path)
    said = json.loads(ended.stdout)
    assert said["first"][0] is False and said["first"][-1] is True
    assert said["failing"] is True and said["after"] is False
    assert "nothing new is shown" in ended.stderr
    written = entries(tmp_path)
    closed = [entry.event.stream for entry in written if entry.event.kind is AuditKind.STREAM_CLOSED]
    assert closed == [f"node.s{number}" for number in range(30)]
    # The line that the disk took half of was finished later, in its place.
    assert check(line for line, _ in spooled_lines(tmp_path)) == []


async def test_a_folder_that_cannot_be_written_keeps_a_gateway_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    with pytest.raises(InvalidInput, match="SCORES_AUDIT_DIR"):
        Audit(AuditSettings(file / "audit"), "one", AuditMetrics(CollectorRegistry()))


async def test_more_than_can_be_held_is_counted_in_the_audit_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.process.audit.writer._MOST_WAITING", 5)
    audit = Audit(AuditSettings(tmp_path), "one", AuditMetrics(CollectorRegistry()))
    for number in range(12):  # nothing is written before the start
        audit.note(opened(number))
    audit.start()
    audit.close()
    audit.release()
    kept = entries(tmp_path)
    assert sum(entry.event.kind is AuditKind.STREAM_OPENED for entry in kept) == 5
    [lost] = [entry.event.detail for entry in kept if entry.event.kind is AuditKind.ENTRIES_LOST]
    assert lost in ("7 entries", "8 entries")  # the chain's end may be among them


@pytest.mark.parametrize(
    "faulty",
    [
        AuditEvent(kind=AuditKind.REFUSED, subject="half a character \ud83d"),
        AuditEvent(kind=AuditKind.REFUSED, subject=cast(str, None)),
        AuditEvent(kind=AuditKind.REFUSED, organizations=cast(tuple[str, ...], {"x": object()})),
        AuditEvent(kind=AuditKind.REFUSED, organizations=("x" * 100,) * 10_000),
    ],
    ids=["not text", "nothing", "an object", "a megabyte"],
)
async def test_an_event_that_cannot_be_kept_as_it_is_is_kept_as_having_happened(
    tmp_path: Path, faulty: AuditEvent
) -> None:
    with running(tmp_path) as (audit, shipper, kafka):
        audit.note(faulty)
        audit.note(opened(1))
        await audit.written()
        await shipper.ship()
    kinds = [read_entry(line).event.kind for line in kafka.lines]
    assert kinds == [AuditKind.CHAIN_STARTED, AuditKind.REFUSED, AuditKind.STREAM_OPENED]
    assert check(kafka.lines) == []


async def test_noting_never_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_works = threading.Event()
    write = os.write

    def stuck(descriptor: int, data: bytes) -> int:
        disk_works.wait()
        return write(descriptor, data)

    with running(tmp_path) as (audit, _, _):
        monkeypatch.setattr("schemas.process.audit.chain_file.os.write", stuck)
        monkeypatch.setattr("schemas.process.audit.writer._WRITTEN_SECONDS", 0.1)
        for number in range(1_000):
            audit.note(opened(number))  # would never return if it waited
        with pytest.raises(AuditUnavailable):
            await audit.written()
        disk_works.set()
        monkeypatch.setattr("schemas.process.audit.writer._WRITTEN_SECONDS", 10.0)
        await audit.written()
    assert len(entries(tmp_path)) == 1_002


async def test_a_loop_of_refusals_fills_no_disk_and_is_counted() -> None:
    audit, now = NoAudit(), [0.0]
    refusals = Refusals(audit, clock=lambda: now[0])
    for _ in range(500):
        refusals.note(AuditEvent(kind=AuditKind.REFUSED, address="192.0.2.1", outcome="401"))
    refusals.note(AuditEvent(kind=AuditKind.REFUSED, address="192.0.2.2", outcome="403"))
    assert len(audit.noted) == 21
    now[0] = 61.0
    refusals.note(AuditEvent(kind=AuditKind.REFUSED, address="192.0.2.1", outcome="401"))
    assert [event.detail for event in audit.noted[21:]] == ["and 480 more within a minute", ""]


class MemoryRedis:
    """One hash."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}

    async def hset(self, key: str, field: str, value: bytes) -> None:
        assert key == AUDIT_HEADS
        self.fields[field.encode()] = value

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        return dict(self.fields)


async def test_gateways_bear_witness_to_each_others_chains(tmp_path: Path) -> None:
    redis: Any = MemoryRedis()
    with running(tmp_path / "a", "one") as (first, _, _), running(tmp_path / "b", "two") as (second, _, _):
        ours, theirs = Heads(first, redis), Heads(second, redis)
        first.note(opened(1))
        await first.written()
        await ours.tell()
        await theirs.tell()
        await theirs.witness()
        await theirs.witness()  # nothing has moved
        await second.written()
    seen = [entry.event.heads for entry in entries(tmp_path / "b") if entry.event.kind is AuditKind.HEADS]
    assert [[(head.chain, head.number) for head in heads] for heads in seen] == [[(first.chain, 2)]]
    kept = [line for line, _ in spooled_lines(tmp_path / "a")][:1]
    others = [line for line, _ in spooled_lines(tmp_path / "b")]
    assert [(one.chain, one.fault) for one in check([*kept, *others])] == [(first.chain, Fault.CUT)]


async def test_what_an_operator_does_past_the_gateways_is_a_whole_chain_of_its_own() -> None:
    kafka = MemoryKafka()
    closed = AuditEvent(kind=AuditKind.YEAR_CLOSED, subject="registrar", detail="2026/ELA-SUM")
    await noted_by_operator(kafka, [closed])
    assert [read_entry(line).event for line in kafka.lines[1:-1]] == [closed]
    assert check(kafka.lines) == []
    kafka.away = True
    with pytest.raises(DependencyUnavailable):
        await noted_by_operator(kafka, [closed])
