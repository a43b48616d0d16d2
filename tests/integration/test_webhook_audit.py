"""What a webhook told whom is in the audit, whatever happens to the worker, the receiver or the disk."""

from __future__ import annotations

import csv
import json
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from cli.audit.reading import spooled_lines, stored_lines
from cli.stack.ports import free_port
from schemas.audit import AuditEntry, AuditKind, read_entry
from schemas.webhooks.messages import MessageState
from tests.fake_worker import scored
from tests.webhook_stand import DISTRICT, OTHER_SCHOOL, SCHOOL, WebhookStand, until, webhook_stand

SCORE = 2417  # not a part of any time, code or id here
DELIVERIES = (AuditKind.WEBHOOK_SENT, AuditKind.WEBHOOK_ANSWERED)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WebhookStand]:
    with webhook_stand(tmp_path) as stand:
        yield stand


def spooled(stand: WebhookStand) -> list[AuditEntry]:
    """Entries about deliveries that are in the folder."""
    entries = [read_entry(line) for line, _ in spooled_lines(stand.folder / "audit")]
    return [entry for entry in entries if entry.event.kind in DELIVERIES]


def shipped(stand: WebhookStand) -> list[AuditEntry]:
    """Those that are in Kafka."""
    entries = [read_entry(line) for line, _ in stored_lines(stand.kafka, quiet=True)]
    return [entry for entry in entries if entry.event.kind in DELIVERIES]


def scores(stand: WebhookStand, *arguments: str) -> str:
    """What ``scores audit ...`` prints."""
    done = CliRunner().invoke(app, ["audit", arguments[0], "--kafka", stand.kafka, *arguments[1:]])
    assert done.exit_code == 0, done.output
    return done.stdout


def disclosed(stand: WebhookStand, district: str) -> list[dict[str, str]]:
    """A district's record of disclosures."""
    return list(csv.DictReader(scores(stand, "export", "--district", district).splitlines()))


def test_a_district_can_be_told_which_system_was_sent_which_results_and_how_it_answered(
    stand: WebhookStand,
) -> None:
    stand.endpoint("ep_one", subject="clerk@district.test", payload="full")
    with stand.worker() as worker:
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(SCORE, 3)] * 12)
        stand.tell()
        until(lambda: len(shipped(stand)) == 2, "the delivery and its answer are in Kafka")
        worker.stop()
    [message] = [one for one in stand.messages("ep_one") if one.organization]
    assert message.state is MessageState.DELIVERED

    [row] = disclosed(stand, DISTRICT)
    assert (row["way"], row["subject"], row["topic"]) == (
        "webhook",
        "clerk@district.test",
        f"school/{SCHOOL}",
    )
    assert (row["how_it_ended"], row["report"], row["tests"]) == ("204", "aggregate", "ELA-SUM")
    assert row["visibility"].startswith("exact") and row["ended"] >= row["begun"]
    assert row["said"] == "ep_one, aggregate.updated, with figures"
    assert row["address"] == f"http://127.0.0.1:{stand.receiver.port}"
    assert disclosed(stand, "71700010000000") == []

    found = [
        json.loads(line) for line in scores(stand, "search", "--json", "--organization", SCHOOL).splitlines()
    ]
    assert [one["event"]["kind"] for one in found] == list(DELIVERIES)
    assert found[0]["event"]["stream"].startswith(message.id)
    assert scores(stand, "search", "--json", "--organization", OTHER_SCHOOL, "--reach", "itself") == ""
    assert "Whole" in scores(
        stand, "verify", "--spool", str(stand.folder / "audit"), "--redis", stand.redis_url
    )
    everything = b"".join(line for line, _ in stored_lines(stand.kafka, quiet=True))
    assert message.body.count(str(SCORE).encode()) and str(SCORE).encode() not in everything


def test_a_message_that_was_sent_when_the_worker_was_killed_is_on_record_and_so_is_its_repetition(
    stand: WebhookStand,
) -> None:
    stand.endpoint("ep_one")
    arrived, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        go_on.wait(60)

    with stand.worker() as killed:
        stand.until_confirmed("ep_one")
        stand.receiver.before_answer = hold
        stand.tables.apply(SCHOOL, [scored(SCORE, 3)])
        stand.tell()
        assert arrived.wait(60)
        killed.signal(signal.SIGKILL)
        assert killed.wait(60)
    go_on.set()
    stand.receiver.before_answer = None
    [sent] = spooled(stand)
    assert (sent.event.kind, sent.event.organizations) == (AuditKind.WEBHOOK_SENT, (f"school/{SCHOOL}",))
    with stand.worker() as second:
        until(lambda: len(shipped(stand)) == 3, "both attempts are in Kafka")
        second.stop()
    ends = {row["entry"].partition(":")[0]: row["how_it_ended"] for row in disclosed(stand, DISTRICT)}
    assert len(ends) == 2 and ends.pop(sent.chain) == "the worker ended" and list(ends.values()) == ["204"]
    assert "Whole" in scores(stand, "verify")


def test_with_a_full_disk_nothing_is_sent_until_there_is_room(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    port = free_port()

    def set_aside() -> bool:
        page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        return 'scores_webhook_attempts_total{result="unsent"} 0.0' not in page

    with stand.worker(SCORES_WEBHOOKS_METRICS_PORT=str(port)) as worker:
        stand.until_confirmed("ep_one")
        unlimited = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (100, unlimited[1]))
        stand.tables.apply(SCHOOL, [scored(SCORE, 3)])
        stand.tell()
        until(set_aside, "the worker sets the message aside")
        assert stand.receiver.told("/ep_one") == []
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, unlimited)
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the message arrives")
        until(lambda: _outcomes(stand) == ["not sent", "204"], "the record has its answer")


def _outcomes(stand: WebhookStand) -> list[str]:
    return [entry.event.outcome for entry in spooled(stand) if entry.event.outcome]
