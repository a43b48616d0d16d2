"""Imports against a broker and a Redis that are really there: what is answered, what is kept, what is in Kafka."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from confluent_kafka import Consumer, TopicPartition
from fake_imports import (
    OTHER_SCHOOL,
    PSEUDONYMIZER,
    SCHOOL,
    UNLISTED_SCHOOL,
    event,
    registry,
    report,
    student_key,
)
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from starlette.applications import Starlette
from starlette.requests import Request

from cli.import_exams import import_exams
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.redis_server import EmbeddedRedis
from gateway.imports.reading import DocumentReader
from gateway.imports.routes import import_routes
from gateway.imports.service import ImportService
from gateway.imports.settings import ImportSettings
from gateway.imports.store import RedisImportStore
from gateway.kafka import KafkaPublisher
from gateway.tokens import Principal
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, IMPORT_ROLE
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.events import ExamResult, OrganizationEntry, decode_exam_result, encode_event
from schemas.identifiers import STATE
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_VERSION
from schemas.topics import EXAM_RESULTS, REJECTED

PATH = "/v1/exams/imports"
XML = {"content-type": "application/xml"}
PARTITIONS = 4
VENDOR = Principal(
    "vendor",
    (Grant(IMPORT_ROLE, STATE),),
    datetime.max.replace(tzinfo=UTC),
    "a token",
    BUILT_IN_ROLES.rights((Grant(IMPORT_ROLE, STATE),)),
)


def authenticate(request: Request) -> Principal | None:
    return VENDOR if request.headers.get("authorization") == "Bearer vendor" else None


@pytest.fixture
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka({EXAM_RESULTS: PARTITIONS, REJECTED: 1}) as broker:
        yield broker


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        list_schools(client, SCHOOL, OTHER_SCHOOL)
        yield client


def list_schools(redis: Redis, *codes: str) -> None:
    """What a stream worker does with directory entries."""
    for cds in codes:
        entry = OrganizationEntry(cds=cds, name=f"School {cds[-2:]}", kind="school")
        redis.hset(ORGANIZATIONS, cds, encode_event(entry))
    redis.incr(ORGANIZATIONS_VERSION)


@contextlib.contextmanager
def running_gateway(
    kafka: str, redis_url: str, settings: ImportSettings | None = None
) -> Iterator[httpx.Client]:
    """The import routes on a real socket, and a client of theirs."""
    limits = settings or ImportSettings(redis_seconds=10.0, produce_seconds=20.0)
    app = Starlette(lifespan=lambda app: wiring(app, kafka, redis_url, limits))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=url, headers={"authorization": "Bearer vendor"}, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextlib.asynccontextmanager
async def wiring(app: Starlette, kafka: str, redis_url: str, settings: ImportSettings) -> AsyncIterator[None]:
    publisher = KafkaPublisher(kafka, produce_seconds=settings.produce_seconds)
    publisher.start()
    async with AsyncRedis.from_url(redis_url, socket_connect_timeout=5) as redis:
        store = RedisImportStore(redis, settings)
        service = ImportService(store, publisher, PSEUDONYMIZER, DocumentReader(registry()))
        app.router.routes.extend(import_routes(service, authenticate, settings))
        yield
    publisher.close()


@pytest.fixture
def gateway(kafka: EmbeddedKafka, redis: Redis, redis_server: EmbeddedRedis) -> Iterator[httpx.Client]:
    with running_gateway(kafka.bootstrap_servers, redis_server.url) as client:
        yield client


def produced(
    kafka: EmbeddedKafka, topic: str = EXAM_RESULTS
) -> list[tuple[str, ExamResult, dict[str, bytes]]]:
    """Key, event and headers of everything in a topic, by partition and offset."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "test", "fetch.wait.max.ms": 10}
    )
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        ranges = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 10) for p in partitions}
        consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in ranges.items()])
        waiting = sum(high - low for low, high in ranges.values())
        found = []
        while waiting:
            for message in consumer.consume(waiting, 1.0):
                assert message.error() is None
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                assert isinstance(value, bytes)
                found.append((key.decode(), decode_exam_result(value), dict(message.headers() or [])))
                waiting -= 1
        return found
    finally:
        consumer.close()


def live(kafka: EmbeddedKafka) -> list[tuple[str, str]]:
    """Student key and opportunity of the exams that stand, by the workers' rule: the highest version wins."""
    newest: dict[tuple[str, str], ExamResult] = {}
    for key, exam, _ in produced(kafka):
        known = newest.get((key, exam.opportunity_id))
        if known is None or (exam.status_date, exam.sequence) > (known.status_date, known.sequence):
            newest[key, exam.opportunity_id] = exam
    return sorted(name for name, exam in newest.items() if exam.status != "reset")


def curl(client: httpx.Client, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Status and body, as somebody at a terminal gets them."""
    command = ["curl", "-sS", "-H", "Authorization: Bearer vendor", "-w", "\n%{http_code}", *arguments]
    done = subprocess.run([*command, f"{client.base_url}{PATH}"], capture_output=True, check=True, timeout=60)
    body, status = done.stdout.rsplit(b"\n", 1)
    return int(status), json.loads(body)


def test_an_accepted_report_is_in_kafka_and_only_its_pseudonym_in_redis(
    gateway: httpx.Client, kafka: EmbeddedKafka, redis: Redis, tmp_path: Path
) -> None:
    file = tmp_path / "9000000001.xml"
    file.write_bytes(report())

    status, imported = curl(gateway, "-H", "Content-Type: application/xml", "--data-binary", f"@{file}")

    assert (status, imported["status"]) == (202, "ACCEPTED")
    [(key, exam, headers)] = produced(kafka)
    assert (key, exam.student_id, exam.scale_score) == (student_key("9000000001"), "9000000001", 2480)
    assert headers["ce_id"].decode() == imported["id"]
    assert gateway.get(imported["_links"]["self"]["href"]).json() == imported
    everything = b"".join(key + (redis.dump(key) or b"") for key in redis.scan_iter("*"))
    assert b"9000000001" not in everything
    assert b"Nonesuch" not in everything
    assert 0 < redis.ttl(f"scores:imports:{imported['id']}") <= 400 * 86_400


def test_files_sent_by_curl_as_a_form_are_imported_together(gateway: httpx.Client, tmp_path: Path) -> None:
    for name, data in (("a.xml", report()), ("b.xml", report(opportunity="2")), ("c.xml", b"<oops")):
        (tmp_path / name).write_bytes(data)
    files = [part for name in ("a.xml", "b.xml", "c.xml") for part in ("-F", f"file=@{tmp_path / name}")]

    status, answer = curl(gateway, *files)

    assert status == 202
    assert answer["summary"] == {
        "received": 3,
        "accepted": 2,
        "duplicate": 0,
        "parked": 0,
        "rejected": {"BAD_FORMAT": 1},
    }


def test_a_body_of_ten_megabytes_is_refused_where_eight_are_allowed(
    kafka: EmbeddedKafka, redis: Redis, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    file = tmp_path / "large.xml"
    file.write_bytes(b"<x>" + b"a" * (10 * 1024 * 1024))
    with running_gateway(
        kafka.bootstrap_servers, redis_server.url, ImportSettings(request_bytes=8 * 1024 * 1024)
    ) as client:
        whole = ["-H", "Content-Type: application/xml", "-H", "Expect:", "--data-binary", f"@{file}"]
        for arguments in (whole, [*whole, "-H", "Transfer-Encoding: chunked"]):
            status, answer = curl(client, *arguments)
            assert status == 413
            assert "larger than 8 MiB" in answer["detail"]

    assert not produced(kafka)


def test_the_same_bytes_again_get_the_first_import_even_from_another_gateway(
    gateway: httpx.Client, kafka: EmbeddedKafka, redis_server: EmbeddedRedis
) -> None:
    first = gateway.post(PATH, content=report(), headers=XML).json()
    with running_gateway(kafka.bootstrap_servers, redis_server.url) as other:
        second = other.post(PATH, content=report(), headers=XML).json()

    assert second == first
    assert len(produced(kafka)) == 1


def test_a_corrected_student_leaves_the_exam_under_the_new_one_alone(
    gateway: httpx.Client, kafka: EmbeddedKafka
) -> None:
    gateway.post(PATH, content=report(student="9000000001"), headers=XML)
    gateway.post(PATH, content=report(student="9000000002", status_date="2021-05-12T10:00:00"), headers=XML)
    # The first report once more, a second late and a digit different: older, so it must not bring the exam back.
    gateway.post(PATH, content=report(student="9000000001", score=2481), headers=XML)

    assert live(kafka) == [(student_key("9000000002"), "700001")]


def test_imports_of_one_exam_at_the_same_time_leave_it_under_one_student(
    kafka: EmbeddedKafka, redis: Redis, redis_server: EmbeddedRedis
) -> None:
    students = [f"90000000{number:02d}" for number in range(12)]
    with (
        running_gateway(kafka.bootstrap_servers, redis_server.url) as one,
        running_gateway(kafka.bootstrap_servers, redis_server.url) as two,
        ThreadPoolExecutor(12) as pool,
    ):
        answers = pool.map(
            lambda pair: pair[0].post(PATH, content=report(student=pair[1]), headers=XML).json()["status"],
            [((one, two)[number % 2], student) for number, student in enumerate(students)],
        )
        assert set(answers) == {"ACCEPTED"}

    states = [exam for _, exam, _ in produced(kafka) if exam.status != "reset"]
    assert len({exam.sequence for exam in states}) == 12
    last = max(states, key=lambda exam: exam.sequence)
    assert live(kafka) == [(student_key(last.student_id or ""), "700001")]


def test_the_same_bytes_sent_at_the_same_time_are_one_import(gateway: httpx.Client, redis: Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: gateway.post(PATH, params={"batch": "b"}, content=report(), headers=XML).json(),
                range(8),
            )
        )

    assert len({answer["id"] for answer in answers}) == 1
    counts = gateway.get(PATH, params={"batch": "b"}).json()
    assert (counts["received"], counts["accepted"], counts["duplicate"]) == (8, 1, 7)


def test_while_kafka_is_away_nothing_is_accepted_and_the_resend_is(
    kafka: EmbeddedKafka, redis: Redis, redis_server: EmbeddedRedis
) -> None:
    with running_gateway(
        kafka.bootstrap_servers, redis_server.url, ImportSettings(produce_seconds=1.0)
    ) as gateway:
        kafka.set_broker_down()
        refused = gateway.post(PATH, params={"batch": "b"}, content=report(), headers=XML)

        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert not list(redis.scan_iter("scores:imports:digest:*"))
        assert gateway.get(PATH, params={"batch": "b"}).status_code == 404

        kafka.set_broker_up()
        assert resent(gateway, report())["status"] == "ACCEPTED"

    assert live(kafka) == [(student_key("9000000001"), "700001")]


def resent(gateway: httpx.Client, content: bytes) -> dict[str, Any]:
    """The answer of a sender that comes again until it is taken."""
    deadline = time.monotonic() + 60
    while True:
        response = gateway.post(PATH, content=content, headers=XML)
        if response.status_code == 202:
            answer: dict[str, Any] = response.json()
            return answer
        assert response.status_code == 503
        assert time.monotonic() < deadline, "the gateway never recovered"


def test_while_redis_is_away_nothing_is_produced_and_the_resend_is_accepted(kafka: EmbeddedKafka) -> None:
    with EmbeddedRedis() as server, running_gateway(kafka.bootstrap_servers, server.url) as gateway:
        server.kill()
        refused = gateway.post(PATH, content=report(), headers=XML)
        assert refused.status_code == 503
        assert not produced(kafka)

        server.start()  # with nothing kept, not even the scripts
        with Redis.from_url(server.url) as redis:
            list_schools(redis, SCHOOL)
        assert resent(gateway, report())["status"] == "ACCEPTED"


def test_an_exam_of_an_unknown_school_is_parked_and_accepted_once_the_school_is_listed(
    gateway: httpx.Client, kafka: EmbeddedKafka, redis: Redis
) -> None:
    parked = gateway.post(PATH, content=report(school=UNLISTED_SCHOOL), headers=XML).json()

    assert (parked["status"], parked["code"]) == ("UNKNOWN_SCHOOL", -6)
    [(key, exam, headers)] = produced(kafka, REJECTED)
    assert (key, exam.school) == (student_key("9000000001"), UNLISTED_SCHOOL)
    assert headers["rejected_reason"] == b"unknown_organization"
    assert not produced(kafka)

    list_schools(redis, UNLISTED_SCHOOL)
    accepted = gateway.post(PATH, content=report(school=UNLISTED_SCHOOL), headers=XML).json()

    assert accepted["status"] == "ACCEPTED"
    assert live(kafka) == [(student_key("9000000001"), "700001")]


def test_sequences_rise_over_all_requests_and_survive_the_loss_of_redis(
    gateway: httpx.Client, kafka: EmbeddedKafka, redis: Redis
) -> None:
    body = json.dumps([event(opportunity_id=str(number)) for number in range(50)]).encode()
    gateway.post(PATH, content=body, headers={"content-type": "application/json"})
    redis.flushall()
    redis.script_flush()
    list_schools(redis, SCHOOL)
    gateway.post(PATH, content=report(opportunity="afterwards"), headers=XML)

    sequences = {exam.opportunity_id: exam.sequence for _, exam, _ in produced(kafka)}
    assert [sequences[str(number)] for number in range(50)] == sorted(set(sequences.values()))[:50]
    assert sequences["afterwards"] == max(sequences.values())


def test_a_folder_is_imported_by_the_command_and_the_second_time_recognized(
    gateway: httpx.Client, kafka: EmbeddedKafka, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(250):
        (tmp_path / f"{number}.xml").write_bytes(report(opportunity=str(number)))
    (tmp_path / "far.xml").write_bytes(report(opportunity="far", school=UNLISTED_SCHOOL))
    url = str(gateway.base_url)

    assert import_exams([tmp_path], url, "vendor", batch="b", as_json=True) == 0
    first = json.loads(capfd.readouterr().out)
    assert import_exams([tmp_path], url, "vendor", batch="b", as_json=True) == 0
    second = json.loads(capfd.readouterr().out)

    assert (first["accepted"], first["parked"], first["duplicate"]) == (250, 1, 0)
    assert (second["accepted"], second["parked"], second["duplicate"]) == (0, 0, 251)
    assert first["reasons"][0]["files"] == [str(tmp_path / "far.xml")]
    assert len(live(kafka)) == 250


def test_rejected_reports_are_listed_by_reason_with_examples_and_the_exit_status_tells(
    gateway: httpx.Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.xml").write_bytes(report())
    for number in range(5):
        (tmp_path / f"bad-{number}.xml").write_bytes(report(opportunity=str(number), score="bad data"))
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")

    assert import_exams([tmp_path], str(gateway.base_url), "vendor", batch=None, as_json=True) == 1

    account = json.loads(capfd.readouterr().out)
    reasons = {reason["status"]: reason for reason in account["reasons"]}
    assert (account["received"], account["accepted"], account["rejected"]) == (7, 1, 6)
    assert reasons["BAD_DATA"]["count"] == 5
    assert [Path(name).name for name in reasons["BAD_DATA"]["files"]] == [
        "bad-0.xml",
        "bad-1.xml",
        "bad-2.xml",
    ]
    assert "broken.tar.gz" in reasons["UNREADABLE"]["files"][0]

    assert import_exams([tmp_path], str(gateway.base_url), "vendor", batch=None, as_json=False) == 1
    table = capfd.readouterr().out
    assert "BAD_DATA" in table
    assert "bad-0.xml" in table


def test_batches_that_the_gateway_finds_too_large_are_halved(
    kafka: EmbeddedKafka,
    redis: Redis,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for number in range(30):
        (tmp_path / f"{number}.xml").write_bytes(report(opportunity=str(number)))
    with running_gateway(
        kafka.bootstrap_servers, redis_server.url, ImportSettings(request_documents=7)
    ) as client:
        assert import_exams([tmp_path], str(client.base_url), "vendor", batch=None, as_json=True) == 0

    assert json.loads(capfd.readouterr().out)["accepted"] == 30


def test_the_command_says_what_is_wrong_before_it_reads_anything(
    gateway: httpx.Client, tmp_path: Path
) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(report())
    with pytest.raises(InvalidInput, match="token is refused"):
        import_exams([file], str(gateway.base_url), "nobody", batch=None, as_json=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DependencyUnavailable, match=f"no gateway answers at http://127.0.0.1:{port}"):
        import_exams([file], f"http://127.0.0.1:{port}", "vendor", batch=None, as_json=True)
