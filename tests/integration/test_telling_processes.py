"""What every process tells of itself while it works: metrics, health, logs and traces, and nothing of anybody."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fake_imports import event
from otlp_receiver import OtlpReceiver, Received
from prometheus_client.parser import text_string_to_metric_families
from stack import broker, wait_for
from watched_stack import DISTRICT, SCHOOL, SCHOOL_NAME, SUBJECT, WatchedStack, parsed, watched_stack
from webhook_stand import Receiver

from cli.supervisor import COMMANDS
from cli.webhooks.client import WebhooksClient
from schemas.tracing import parse_traceparent

STUDENT = "9000000777"
CALLERS_TRACE = "c0ffee00c0ffee00c0ffee00c0ffee00"
CALLER = f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01"
PROCESSES = sorted(COMMANDS)

# Whatever has one of these, its values come from a set that the code or the operators make: none grows with the season.
BOUNDED = {
    "version", "outcome", "reason", "kind", "result", "topic", "group", "partition", "verdict", "part", "stage",
    "state", "endpoints", "clock", "le",
}  # fmt: skip
LABEL_VALUES_AT_MOST = 200


class SchoolDay:
    """A stack on which a school's results were imported, shown on a screen and told to a district's system."""

    def __init__(self, stack: WatchedStack, collector: OtlpReceiver, receiver: Receiver) -> None:
        self.stack = stack
        self.collector = collector
        self.receiver = receiver
        self.token = stack.token()
        self.signing_secret = ""
        self._imported = 0

    def import_result(self) -> None:
        """One more result of one student, by a caller who traces, too."""
        self._imported += 1
        body = event(
            student_id=STUDENT,
            scale_score=2400 + self._imported,
            status_date=f"2021-05-10T10:00:{self._imported:02}Z",
        )
        answer = httpx.post(
            f"{self.stack.local.gateway_url}/v1/exams/imports",
            json=body,
            headers={"authorization": f"Bearer {self.token}", "traceparent": CALLER},
            timeout=30,
        )
        assert answer.status_code == 202, answer.text

    def told(self) -> int:
        """How many messages the district's system has taken."""
        return len(self.receiver.told("/warehouse"))

    def connected(self) -> dict[str, Received]:
        """Spans by name that parents and links connect with an import of the caller's, the latest of each name."""
        spans = list(self.collector.spans)
        known = {
            span.id: span
            for span in spans
            if span.name.startswith("POST /v1") and any(trace == CALLERS_TRACE for trace, _ in span.links)
        }
        while True:
            more = {
                span.id: span
                for span in spans
                if span.id not in known
                and ((span.trace_id, span.parent) in known or any(link in known for link in span.links))
            }
            if not more:
                return {span.name: span for span in known.values()}
            known |= more


@contextmanager
def watching(day: SchoolDay) -> Iterator[list[str]]:
    """A screen that shows the school: the lines that it gets."""
    lines: list[str] = []
    ended = threading.Event()

    def read() -> None:
        url = f"{day.stack.local.gateway_url}/v1/stream?topic=school/{SCHOOL}"
        with (
            suppress(httpx.HTTPError),
            httpx.stream("GET", url, headers={"authorization": f"Bearer {day.token}"}, timeout=30) as answer,
        ):
            for line in answer.iter_lines():
                lines.append(line)
                if ended.is_set():
                    return

    screen = threading.Thread(target=read, daemon=True)
    screen.start()
    try:
        wait_for(lambda: any(line == "event: put" for line in lines), "the screen shows the school")
        yield lines
    finally:
        ended.set()
        screen.join(60)  # the next heartbeat, or change, ends it


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchoolDay]:
    folder = tmp_path_factory.mktemp("day")
    collector, receiver = OtlpReceiver(), Receiver()
    settings = {"SCORES_OTLP_ENDPOINT": collector.endpoint, "SCORES_HEARTBEAT_SECONDS": "1"}
    try:
        with broker("real", 2, folder) as kafka, watched_stack(kafka, folder / "state", **settings) as stack:
            day = SchoolDay(stack, collector, receiver)
            with WebhooksClient(stack.local.gateway_url, day.token) as client:
                issued = client.create(
                    {
                        "url": f"http://127.0.0.1:{receiver.port}/warehouse",
                        "follows": [{"organization": DISTRICT}],
                        "private_network": True,
                        "interval_seconds": 0,
                        "signing": ["v1"],
                    }
                )
                [day.signing_secret] = [issued.secret for issued in issued.secrets]
                wait_for(
                    lambda: client.endpoint(issued.endpoint.id).status == "active",
                    "the address has confirmed",
                )
            with watching(day) as lines:
                day.import_result()
                wait_for(lambda: "event: patch" in lines, "the screen shows the change")
                wait_for(lambda: day.told() >= 1, "the district's system is told")
                _until_traced(day)
            yield day
    finally:
        collector.close()
        receiver.close()


def _until_traced(day: SchoolDay) -> None:
    """A push is traced at most once a second, and the canary's may be the one: so import again until ours is."""

    def pushed() -> bool:
        with suppress(AssertionError):
            wait_for(lambda: "push changes" in day.connected(), "our push is traced", 3)
            return True
        day.import_result()
        return False

    wait_for(pushed, "an import's push is traced", 120)
    wait_for(lambda: bool(day.collector.named("POST webhook")), "a webhook is traced")


def test_one_import_is_one_connected_trace_from_the_request_to_the_screen(day: SchoolDay) -> None:
    connected = day.connected()
    request, sent, batch, push = (
        connected[name]
        for name in (
            "POST /v1/exams/imports",
            "send exam-results.v1",
            "apply exam-results.v1",
            "push changes",
        )
    )
    assert [one.service for one in (request, sent, batch, push)] == [
        "scores-gateway",
        "scores-gateway",
        "scores-streams",
        "scores-gateway",
    ]
    assert sent.parent in {span.span_id for span in day.collector.named("POST /v1/exams/imports")}
    assert batch.id in {link for span in day.collector.named("push changes") for link in span.links}
    assert request.attributes["http.response.status_code"] == "202"
    assert batch.attributes["messaging.batch.message_count"] == "1"


def test_import_begins_a_trace_of_its_own_whatever_its_caller_says(day: SchoolDay) -> None:
    assert CALLERS_TRACE not in {span.trace_id for span in day.collector.spans}


def test_attempt_of_a_webhook_is_traced_and_its_receiver_can_go_on_with_the_trace(day: SchoolDay) -> None:
    traced = {span.id for span in day.collector.named("POST webhook")}
    named = {parse_traceparent(header) for header in day.receiver.traces}
    assert None not in named
    ids = {(f"{one.trace_id:032x}", f"{one.span_id:016x}") for one in named if one is not None}
    assert ids & traced


def test_no_span_says_of_whom_it_is(day: SchoolDay) -> None:
    said = " ".join(span.said for span in day.collector.spans)
    for told in (
        STUDENT,
        SCHOOL,
        DISTRICT,
        SCHOOL_NAME,
        SUBJECT,
        str(day.receiver.port),
        "warehouse",
        "700001",
    ):
        assert told not in said
    attributes = {name for span in day.collector.spans for name in span.attributes}
    assert attributes <= {
        "http.request.method", "http.request.body.size", "http.response.status_code", "http.route",
        "messaging.system", "messaging.operation.type", "messaging.operation.name", "messaging.destination.name",
        "messaging.destination.partition.id", "messaging.consumer.group.name", "messaging.batch.message_count",
        "scores.push.organizations", "scores.push.frames", "error.type",
    }  # fmt: skip


@pytest.mark.parametrize("process", PROCESSES)
def test_process_says_what_it_is_since_when_and_that_it_lives(day: SchoolDay, process: str) -> None:
    health = day.stack.page(process, "/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.headers["cache-control"] == "no-store"
    samples = {
        sample.name: sample
        for family in text_string_to_metric_families(day.stack.page(process, "/metrics").text)
        for sample in family.samples
    }
    assert samples["scores_build_info"].value == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+", samples["scores_build_info"].labels["version"])
    assert samples["scores_started_timestamp_seconds"].value > 1_700_000_000
    assert day.stack.page(process, "/somewhere").status_code == 404


@pytest.mark.parametrize("process", PROCESSES)
def test_metrics_are_named_as_prometheus_wants_them(day: SchoolDay, process: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("not run: promtool is not installed; it is in Debian's package prometheus")
    text = day.stack.page(process, "/metrics").content
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


@pytest.mark.parametrize("process", PROCESSES)
def test_labels_of_metrics_are_few_and_never_of_a_school_a_student_or_a_user(
    day: SchoolDay, process: str
) -> None:
    text = day.stack.page(process, "/metrics").text
    values: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("scores_"), family.name
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault((family.name, label), set()).add(value)
    assert {label for _, label in values} <= BOUNDED
    assert {name: found for name, found in values.items() if len(found) > LABEL_VALUES_AT_MOST} == {}
    for told in (STUDENT, SCHOOL, DISTRICT, SCHOOL_NAME, SUBJECT, "warehouse"):
        assert told not in text


@pytest.mark.parametrize("process", PROCESSES)
def test_every_line_of_a_log_is_one_json_object_that_says_when_who_and_how_bad(
    day: SchoolDay, process: str
) -> None:
    lines = [parsed(line) for line in day.stack.logs()[process]]
    assert lines
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys(), line


def test_no_log_has_a_secret_a_token_or_a_student(day: SchoolDay) -> None:
    secrets = {
        **day.stack.secrets(),
        "the loader's token": day.token,
        "the webhook's secret": day.signing_secret,
        "the student": STUDENT,
    }
    for process, lines in day.stack.logs().items():
        text = "\n".join(lines)
        assert [name for name, secret in secrets.items() if secret in text] == [], process


def test_screens_tell_how_old_a_change_was_when_it_was_shown(day: SchoolDay) -> None:
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(day.stack.page("gateway", "/metrics").text)
        for sample in family.samples
        if sample.name.startswith("scores_freshness_seconds")
    }
    shown = samples["scores_freshness_seconds_count", None]
    assert shown >= 1
    assert ("scores_freshness_seconds_bucket", "2.0") in samples, "the objective asks for this bucket"


def test_without_a_collector_no_process_even_imports_what_makes_traces(tmp_path: Path) -> None:
    """Python itself writes down every import of these processes."""
    with watched_stack("embedded", tmp_path, PYTHONPROFILEIMPORTTIME="1", SCORES_LOG_FORMAT="text") as stack:
        for process, lines in stack.logs().items():
            imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
            assert "prometheus_client" in imported, process
            # redis-py imports the API and the metrics of OpenTelemetry by itself, where they are installed.
            makes_traces = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "schemas.process.spans")
            assert not [name for name in imported if name.startswith(makes_traces)], process
