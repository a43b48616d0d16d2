"""The audit of a real gateway: who saw what is known afterwards, whatever happened to the gateway, Kafka or the disk."""

from __future__ import annotations

import csv
import json
import re
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    STATE,
    GatewayProcess,
    RedisServer,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from redis import Redis
from stack import broker
from typer.testing import CliRunner

from cli.__main__ import app
from cli.audit.reading import spooled_lines, stored_lines
from schemas.audit import AuditEntry, AuditKind, read_entry
from schemas.errors import ScoreStreamError
from schemas.keys import AUDIT_HEADS

SCORE = 2417  # not a part of any time, code or id here
NOWHERE = {"SCORES_KAFKA": "127.0.0.1:1"}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def worker(redis: RedisServer) -> FakeWorker:
    worker = FakeWorker(redis.url)
    worker.list_organizations(ORGANIZATIONS)
    worker.apply(SCHOOL, [scored(SCORE, 3)] * 20)
    worker.serve()
    return worker


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[str]:
    with broker("embedded", 2, tmp_path) as bootstrap:
        yield bootstrap


def spooled(folder: Path) -> list[AuditEntry]:
    return [read_entry(line) for line, _ in spooled_lines(folder)] if folder.is_dir() else []


def shipped(kafka: str) -> list[AuditEntry]:
    return [read_entry(line) for line, _ in stored_lines(kafka, quiet=True)]


def told(kafka: str, *kinds: AuditKind) -> Callable[[], list[AuditEntry] | None]:
    """The entries in Kafka, once there is one of each kind."""

    def look() -> list[AuditEntry] | None:
        found = shipped(kafka)
        return found if {entry.event.kind for entry in found} >= set(kinds) else None

    return look


def scores(*arguments: str) -> tuple[int, str]:
    """``scores audit ...`` run in this process: exit status and what it printed."""
    done = CliRunner().invoke(app, ["audit", *arguments])
    if isinstance(done.exception, ScoreStreamError):
        raise done.exception
    return done.exit_code, done.stdout


def test_the_record_says_who_saw_what_through_which_token_and_how_it_ended(
    redis: RedisServer, worker: FakeWorker, kafka: str, tmp_path: Path
) -> None:
    spool = tmp_path / "audit"
    with gateway_process(redis.url, SCORES_KAFKA=kafka, SCORES_AUDIT_DIR=str(spool)) as gateway:
        token = gateway.token(DISTRICT, subject="m.alvarez@district.test")
        mine = {"Authorization": f"Bearer {token}"}
        with gateway.client(**mine) as client:
            with stream(client, f"school/{SCHOOL}", query={"test": ["ELA-SUM"]}) as reader:
                opened = reader.until("subscribed")
                reader.until("put")
                asked = {"topics": [f"district/{DISTRICT}"]}
                here = f"/v1/streams/{opened.data['stream']}"
                assert client.post(f"{here}/subscription", json=asked).status_code == 202
                assert client.post(f"{here}/renew").status_code == 202
                worker.apply(SCHOOL, [scored(SCORE, 2)] * 5)
                reader.until("put")
            assert client.get(f"/v1/aggregates/{DISTRICT}").status_code == 200
            assert client.get("/v1/organizations").status_code == 200
            assert client.get("/v1/stream", params={"topic": f"district/{OTHER_DISTRICT}"}).status_code == 403
            # A token in the wrong places is neither kept nor told.
            assert client.get(f"/v1/aggregates/{token}").status_code in (400, 403)
            assert client.get("/v1/stream", params={"topic": token}).status_code in (400, 403)
        with gateway.client() as client:
            assert client.get(f"/v1/aggregates/{OTHER_SCHOOL}").status_code == 401
            assert client.get(f"/v1/aggregates/{token}").status_code == 401
        with gateway.client(STATE) as client:
            assert client.get(f"/v1/aggregates/{STATE}").status_code == 200
        found = wait_until(told(kafka, AuditKind.STREAM_CLOSED, AuditKind.REFUSED), what="the record")
    wait_until(told(kafka, AuditKind.CHAIN_ENDED), what="the chain's end")

    by_kind = {entry.event.kind: entry.event for entry in found}
    opening = by_kind[AuditKind.STREAM_OPENED]
    token_id = opening.token_id
    assert (opening.subject, opening.organizations) == ("m.alvarez@district.test", (f"school/{SCHOOL}",))
    assert opening.classes == ("exact-released",) and opening.tests == ("ELA-SUM",)
    assert opening.address == "127.0.0.1" and opening.issuer.startswith("https://") and token_id
    changed = by_kind[AuditKind.STREAM_CHANGED]
    assert (changed.organizations, changed.stream) == ((f"district/{DISTRICT}",), opening.stream)
    assert by_kind[AuditKind.STREAM_RENEWED].stream == opening.stream
    closed = by_kind[AuditKind.STREAM_CLOSED]
    assert (closed.stream, closed.outcome) == (opening.stream, "client_gone") and closed.seconds > 0
    refused = [entry.event for entry in shipped(kafka) if entry.event.kind is AuditKind.REFUSED]
    assert [(one.outcome, one.subject, one.organizations) for one in refused if one.organizations] == [
        ("403", "m.alvarez@district.test", (f"district/{OTHER_DISTRICT}",)),
        ("401", "", (OTHER_SCHOOL,)),
    ]

    # No token, and no figure.
    everything = b"\n".join(line for line, _ in stored_lines(kafka, quiet=True))
    everything += b"".join(path.read_bytes() for path in spool.iterdir())
    for part in token.split("."):
        assert part.encode() not in everything
    assert str(SCORE).encode() not in re.sub(rb'"(at_ms|hash|number)":("[0-9a-f]*"|[0-9]+)', b"", everything)

    status, printed = scores("verify", "--kafka", kafka, "--redis", redis.url, "--spool", str(spool))
    assert status == 0, printed
    client = Redis.from_url(redis.url)
    [(chain, packed)] = client.hgetall(AUDIT_HEADS).items()
    longer = {**json.loads(packed), "number": json.loads(packed)["number"] + 1}
    client.hset(AUDIT_HEADS, chain, json.dumps(longer))
    client.close()
    status, printed = scores("verify", "--kafka", kafka, "--redis", redis.url)
    assert status == 1 and "CUT OFF" in printed and "Redis says" in printed
    earlier = tmp_path / "earlier.json"
    status, printed = scores("verify", "--kafka", kafka, "--json")
    earlier.write_text(printed)
    assert status == 0 and json.loads(printed)["findings"] == []
    assert scores("verify", "--kafka", kafka, "--against", str(earlier))[0] == 0

    def searched(*arguments: str) -> list[dict[str, Any]]:
        status, printed = scores("search", "--kafka", kafka, "--json", *arguments)
        assert status == 0
        return [json.loads(line)["event"] for line in printed.splitlines()]

    of_school = [event["kind"] for event in searched("--organization", SCHOOL, "--subject", opening.subject)]
    assert {"stream_opened", "stream_changed", "stream_closed", "results_read"} <= set(of_school)
    assert [event["kind"] for event in searched("--organization", OTHER_SCHOOL, "--reach", "itself")] == [
        "refused"
    ]
    assert all(event["token_id"] == token_id for event in searched("--token", token_id))
    assert searched("--until", "2020-01-01") == []
    status, table = scores("search", "--kafka", kafka, "--kind", "stream-opened")
    assert status == 0 and "m.alvarez@district.test" in table

    record = tmp_path / "record.csv"
    status, _ = scores("export", "--kafka", kafka, "--district", DISTRICT, "--output", str(record))
    rows = list(csv.DictReader(record.read_text().splitlines()))
    assert status == 0 and record.stat().st_mode & 0o777 == 0o600
    assert [(row["topic"], row["how_it_ended"]) for row in rows if row["subject"] == opening.subject] == [
        (f"school/{SCHOOL}", "changed"),
        (f"district/{DISTRICT}", "client_gone"),
        (f"district/{DISTRICT}", "answered"),
    ]
    assert [(row["topic"], row["level"]) for row in rows if row["subject"] != opening.subject] == [
        (f"state/{STATE}", "state")
    ]
    status, printed = scores("export", "--kafka", kafka, "--district", OTHER_DISTRICT, "--json")
    assert {json.loads(line)["topic"] for line in printed.splitlines()} == {f"state/{STATE}"}


def test_a_gateway_that_is_killed_right_after_a_connect_has_noted_it_and_the_next_one_ships_it(
    redis: RedisServer, worker: FakeWorker, kafka: str, tmp_path: Path
) -> None:
    spool = {"SCORES_AUDIT_DIR": str(tmp_path / "audit")}
    with gateway_process(redis.url, **NOWHERE, **spool) as gateway:
        process = gateway.process
        assert process is not None
        with (
            gateway.client(DISTRICT) as client,
            client.stream("GET", "/v1/stream", params={"topic": f"school/{SCHOOL}"}) as answer,
        ):
            assert answer.status_code == 200
            process.send_signal(signal.SIGKILL)
            process.communicate()
            with pytest.raises(httpx.TransportError):
                answer.read()
        kept = spooled(tmp_path / "audit")
        assert [entry.event.kind for entry in kept] == [AuditKind.CHAIN_STARTED, AuditKind.STREAM_OPENED]
    with gateway_process(redis.url, SCORES_KAFKA=kafka, **spool):
        found = wait_until(told(kafka, AuditKind.STREAM_OPENED), what="the killed gateway's entry in Kafka")
    assert {entry.chain for entry in found if entry.event.kind is AuditKind.STREAM_OPENED} == {kept[0].chain}
    status, printed = scores("export", "--kafka", kafka, "--json")
    [row] = [json.loads(line) for line in printed.splitlines()]
    assert status == 0 and row["how_it_ended"] == "the gateway ended"
    assert scores("verify", "--kafka", kafka)[0] == 0


def test_while_kafka_is_away_results_are_pushed_and_the_record_arrives_later(
    redis: RedisServer, worker: FakeWorker, tmp_path: Path
) -> None:
    spool = {"SCORES_AUDIT_DIR": str(tmp_path / "audit")}
    with (
        gateway_process(redis.url, **NOWHERE, **spool) as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, f"school/{SCHOOL}") as reader,
    ):
        reader.until("put")
        worker.apply(SCHOOL, [scored(SCORE, 1)] * 3)
        reader.until("patch")
        unshipped = "scores_audit_unshipped_bytes "
        wait_until(lambda: _metric(gateway, unshipped) > 0, what="the gateway says that something waits")
    with broker("embedded", 2, tmp_path) as kafka, gateway_process(redis.url, SCORES_KAFKA=kafka, **spool):
        wait_until(told(kafka, AuditKind.STREAM_OPENED, AuditKind.STREAM_CLOSED), what="the record in Kafka")
        assert scores("verify", "--kafka", kafka)[0] == 0


def test_with_a_full_disk_open_streams_go_on_and_nothing_new_is_shown(
    redis: RedisServer, worker: FakeWorker, tmp_path: Path
) -> None:
    spool = tmp_path / "audit"
    with gateway_process(redis.url, **NOWHERE, SCORES_AUDIT_DIR=str(spool)) as gateway:
        assert gateway.process is not None
        pid = gateway.process.pid
        with gateway.client(DISTRICT) as client, stream(client, f"school/{SCHOOL}") as reader:
            reader.until("put")
            unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, unlimited[1]))
            turned_away = client.get("/v1/stream", params={"topic": f"school/{SCHOOL}"})
            assert turned_away.status_code == 200 and '"reason":"not_ready"' in turned_away.text
            assert "event: put" not in turned_away.text
            refused = client.get(f"/v1/aggregates/{SCHOOL}")
            assert refused.status_code == 503 and refused.headers["retry-after"]
            ready = client.get("/readyz")
            assert ready.status_code == 503 and "audit" in ready.text
            worker.apply(SCHOOL, [scored(SCORE, 4)] * 2)
            reader.until("patch")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            wait_until(lambda: client.get("/readyz").status_code == 200, what="the audit is written again")
            assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 200
    assert scores("verify", "--spool-only", "--spool", str(spool))[0] == 0
    # What was refused then was noted before it was refused.
    kinds = [entry.event.kind for entry in spooled(spool)]
    assert kinds.count(AuditKind.STREAM_OPENED) == 2 and kinds.count(AuditKind.STREAM_CLOSED) == 2
    assert AuditKind.RESULTS_READ in kinds


def test_whoever_tampers_with_a_spool_is_found_out(
    redis: RedisServer, worker: FakeWorker, tmp_path: Path
) -> None:
    spool = tmp_path / "audit"
    with (
        gateway_process(redis.url, **NOWHERE, SCORES_AUDIT_DIR=str(spool)) as gateway,
        gateway.client(DISTRICT) as client,
    ):
        assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 200
    [file] = spool.glob("*.jsonl")
    written = file.read_bytes()
    assert b"test@example.test" in written
    file.write_bytes(written.replace(b"test@example.test", b"none@example.test"))
    status, printed = scores("verify", "--spool-only", "--spool", str(spool))
    assert status == 1 and "NOT whole" in printed and "CHANGED" in printed


def _metric(gateway: GatewayProcess, name: str) -> float:
    text = httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=30).text
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0.0)
