"""What befalls a gateway: no tables yet, Redis away, a trimmed stream, a flipped generation, readers that stop, SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    SECOND_SCHOOL,
    GatewayProcess,
    RedisServer,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from promptness import assert_within

from schemas.identifiers import PartitionId
from schemas.keys import PartitionKeys

TOPIC = f"school/{SCHOOL}"
ELA = "2026:ELA-SUM:03"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def worker_with_results(redis: RedisServer) -> FakeWorker:
    worker = FakeWorker(redis.url)
    worker.list_organizations(ORGANIZATIONS)
    worker.apply(SCHOOL, [scored(2450, 3)])
    return worker


def readiness(gateway: GatewayProcess) -> tuple[int, list[str]]:
    answer = httpx.get(f"{gateway.url}/readyz", trust_env=False, timeout=30)
    return answer.status_code, answer.json()["reasons"]


def test_a_stream_that_is_opened_before_there_are_tables_is_held_and_then_served(redis: RedisServer) -> None:
    worker = worker_with_results(redis)
    with gateway_process(redis.url, ready=False, SCORES_HEARTBEAT_SECONDS="1") as gateway:
        wait_until(
            lambda: readiness(gateway) == (503, ["the tables are being filled"]), what="the first reading"
        )
        with gateway.client(DISTRICT) as client:
            assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 503
            with stream(client, TOPIC) as reader:
                reader.until("comment", lambda event: "being filled" in (event.comment or ""))
                reader.until("comment", lambda event: event.comment == "still here")
                assert {event.kind for event in reader.seen} == {
                    "comment",
                    "subscribed",
                }  # never an empty put
                worker.serve()
                assert reader.until("put").cells(SCHOOL)[ELA]["results"] == 1
        wait_until(lambda: readiness(gateway) == (200, []), what="readiness")


def test_while_redis_is_away_streams_stay_open_say_so_and_catch_up(redis: RedisServer) -> None:
    worker = worker_with_results(redis)
    worker.serve()
    with (
        gateway_process(redis.url) as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        reader.until("put")
        redis.stop()
        reader.until("comment", lambda event: "cannot be reached" in (event.comment or ""))
        reader.until("progress", lambda event: event.data["live"] is False)
        status, reasons = readiness(gateway)
        assert status == 503 and "Redis does not answer" in reasons
        assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 503
        redis.start()
        worker.apply(SCHOOL, [scored(2460, 3)])
        # It goes on where it was: what it missed comes as a patch, not as everything anew.
        assert reader.until("patch").cells(SCHOOL)[ELA]["with_scores"] == 2
        reader.until("progress", lambda event: event.data["live"] is True)
        assert [event.kind for event in reader.seen].count("put") == 1


def test_a_stream_opened_while_redis_is_away_is_served_when_it_is_back(redis: RedisServer) -> None:
    worker_with_results(redis).serve()
    with gateway_process(redis.url) as gateway, gateway.client(DISTRICT) as client:
        redis.stop()
        wait_until(lambda: readiness(gateway)[0] == 503, what="the gateway to notice")
        with stream(client, TOPIC) as reader:
            reader.until("comment", lambda event: "cannot be reached" in (event.comment or ""))
            redis.start()
            assert reader.until("put").cells(SCHOOL)[ELA]["results"] == 1


def test_a_gateway_that_never_saw_redis_turns_streams_away_politely(redis: RedisServer) -> None:
    redis.stop()
    # Any status but 200 would end a browser's EventSource for good.
    with (
        gateway_process(redis.url, ready=False) as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        bye = reader.until("bye")
        assert bye.data["reason"] == "not_ready" and bye.data["reconnect"] is True
        assert bye.retry is not None and bye.retry >= 15_000


def test_after_redis_came_back_with_an_older_state_everything_is_sent_anew(redis: RedisServer) -> None:
    worker = worker_with_results(redis)
    worker.serve()
    with (
        gateway_process(redis.url) as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        reader.until("put")
        worker.apply(SCHOOL, [scored(2460, 3)])
        reader.until("patch")
        # What a restart without its last second of log looks like: cells and notices of before.
        changes = PartitionKeys(worker.generation, PartitionId(0)).changes
        newest: Any = worker.redis.xrevrange(changes, count=1)
        redis.stop()
        redis.start()
        worker.redis.xdel(changes, newest[0][0])
        older = FakeWorker(redis.url)
        older.apply(SCHOOL, [scored(2450, 3)])
        put = reader.until("put").cells(SCHOOL)[ELA]
        assert (put["with_scores"], put["version"]) == (1, 1)


def test_when_notices_were_trimmed_before_they_were_read_everything_is_sent_anew(redis: RedisServer) -> None:
    worker = worker_with_results(redis)
    worker.serve()
    with (
        gateway_process(redis.url) as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        reader.until("put")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGSTOP)
        worker.apply(SCHOOL, [scored(2460, 3)])
        changes = PartitionKeys(worker.generation, PartitionId(0)).changes
        worker.apply(SECOND_SCHOOL, [scored(2460, 3)])
        worker.redis.xtrim(changes, maxlen=1, approximate=False)
        gateway.process.send_signal(signal.SIGCONT)
        assert reader.until("put").cells(SCHOOL)[ELA]["with_scores"] == 2


def test_when_another_generation_is_served_subscribers_get_its_figures(redis: RedisServer) -> None:
    worker_with_results(redis).serve()
    rebuilt = FakeWorker(redis.url, generation="g2", partitions=4)
    rebuilt.apply(SCHOOL, [scored(2500, 4)], grade="04", partition=3)
    with gateway_process(redis.url) as gateway, gateway.client(DISTRICT) as client:
        with stream(client, TOPIC) as reader:
            held = reader.until("put")
            rebuilt.serve()
            put = reader.until("put")
            assert put.data["generation"] == "g2"
            assert set(put.cells(SCHOOL)) == {"2026:ELA-SUM:04"}
            rebuilt.apply(SCHOOL, [scored(2500, 4)], grade="04", partition=2)
            assert reader.until("patch").cells(SCHOOL)["2026:ELA-SUM:04"]["results"] == 2
        assert held.id is not None
        with stream(client, TOPIC, **{"Last-Event-ID": held.id}) as reader:
            assert reader.until("put").data["generation"] == "g2"


def test_streams_end_at_their_age_and_say_when_to_come_back(redis: RedisServer) -> None:
    worker_with_results(redis).serve()
    with (
        gateway_process(redis.url, SCORES_STREAM_MAX_AGE_SECONDS="1") as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        bye = reader.until("bye")
        assert bye.data["reason"] == "max_age" and bye.data["reconnect"] is True
        assert bye.retry == bye.data["retry_ms"] and 2_000 <= bye.data["retry_ms"] < 8_000
        assert reader.next() is None


def test_sigterm_says_goodbye_to_everybody_and_is_over_within_two_seconds(redis: RedisServer) -> None:
    worker_with_results(redis).serve()

    def ended() -> float:
        with (
            gateway_process(redis.url) as gateway,
            gateway.client(DISTRICT) as client,
            stream(client, TOPIC) as one,
            stream(client, f"district/{DISTRICT}") as another,
        ):
            one.until("put")
            another.until("put")
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            for reader in (one, another):
                bye = reader.until("bye")
                assert bye.data["reason"] == "draining" and bye.data["reconnect"] is True
                assert reader.next() is None
            _, log = gateway.process.communicate(timeout=60)
            took = time.monotonic() - asked
            assert gateway.process.returncode == 0
            assert "Traceback" not in log and log.rstrip().endswith("gateway stopped")
            return took

    assert_within(2.0, ended)


def test_while_it_drains_it_is_not_ready_and_sends_newcomers_elsewhere(redis: RedisServer) -> None:
    worker_with_results(redis).serve()
    with (
        gateway_process(redis.url, SCORES_DRAIN_SECONDS="300") as gateway,
        gateway.client(DISTRICT) as client,
        stream(client, TOPIC) as reader,
    ):
        reader.until("put")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: readiness(gateway)[0] == 503, what="the drain")
        assert readiness(gateway)[1] == ["the gateway is shutting down"]
        with stream(client, TOPIC) as newcomer:
            assert newcomer.until("bye").data["reason"] == "draining"
        gateway.process.send_signal(signal.SIGTERM)  # a second one: at once
        _, log = gateway.process.communicate(timeout=60)
        assert gateway.process.returncode == 0 and "Traceback" not in log


def test_a_subscriber_that_stops_reading_is_dropped_and_counted(redis: RedisServer) -> None:
    worker = worker_with_results(redis)
    schools = [f"1999001{number:07d}" for number in range(200, 320)]
    worker.list_organizations({"cds": cds, "name": f"School {cds}", "kind": "school"} for cds in schools)
    for cds in schools:
        worker.apply(cds, [scored(2400 + n, 2) for n in range(3)])
    worker.serve()
    with gateway_process(redis.url, SCORES_SEND_TIMEOUT_SECONDS="0.5") as gateway:
        topics = "&".join(f"topic=school/{cds}" for cds in schools)
        request = (
            f"GET /v1/stream?{topics} HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {gateway.token(DISTRICT)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", gateway.port)) as unread:
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            unread.sendall(request.encode())
            dropped = 'scores_sse_closes_total{reason="slow_reader"} 1.0'

            def counted() -> bool:
                for cds in schools:
                    worker.apply(cds, [scored(2500, 4)])
                return dropped in httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=30).text

            wait_until(counted, what="the drop")
            # Not a polite end, which would wait for the reader: the connection is reset.
            with pytest.raises(ConnectionResetError):
                while unread.recv(65_536):
                    pass
        status, log = gateway.stop()
        assert status == 0 and "Traceback" not in log and "without completing" not in log


def gateway_once(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway"],
        env={**os.environ, "SCORES_STUDENT_KEY_SECRET": "only for tests, nothing is secret", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_in_use_is_one_sentence_and_exit_status_two(redis: RedisServer) -> None:
    worker_with_results(redis).serve()
    with gateway_process(redis.url) as gateway:
        ended = gateway_once(
            SCORES_GATEWAY_PORT=str(gateway.port), SCORES_JWKS_FILE=str(gateway.issuer.jwks_file)
        )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert (
        f"port {gateway.port} on 127.0.0.1 is in use" in ended.stderr
        and "SCORES_GATEWAY_PORT" in ended.stderr
    )


def test_wrong_settings_are_told_before_anything_starts(tmp_path: Path) -> None:
    ended = gateway_once(SCORES_JWKS_FILE=str(tmp_path / "none.json"))
    assert ended.returncode == 2 and "none.json" in ended.stderr and "Traceback" not in ended.stderr
    ended = gateway_once(SCORES_GATEWAY_PORT="0", SCORES_REDIS_URL="here")
    assert ended.returncode == 2
    assert all(
        name in ended.stderr for name in ("SCORES_GATEWAY_PORT", "SCORES_REDIS_URL", "SCORES_JWKS_FILE")
    )
