"""Crowds: subscribers that never read, that come back in a loop, that are too many, that hang up at once."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import sys

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    SCHOOL,
    RedisServer,
    gateway_process,
    stream,
    wait_until,
)
from integration.gateway_probes import assert_serves, counted, descriptors, resident_bytes
from integration.raw_http import RawConnection, get

STREAM = f"/v1/stream?topic=school/{SCHOOL}"
MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="not run: memory is read from /proc")
def test_subscribers_that_never_read_take_little_memory_and_are_reset_and_counted(
    redis: RedisServer, worker: FakeWorker
) -> None:
    schools = [f"1999001{number:07d}" for number in range(300, 400)]
    worker.list_organizations({"cds": cds, "name": f"School {cds}", "kind": "school"} for cds in schools)
    for cds in schools:
        worker.apply(cds, [scored(2400, 2)])
    readers = 40
    topics = "&".join(f"topic=school/{cds}" for cds in schools)
    with (
        gateway_process(
            redis.url, SCORES_SEND_TIMEOUT_SECONDS="4", SCORES_STREAMS_PER_SUBJECT="1000"
        ) as gateway,
        contextlib.ExitStack() as kept,
    ):
        assert_serves(gateway, worker)
        asked = get(f"/v1/stream?{topics}", gateway.token(DISTRICT))
        before = resident_bytes(gateway)
        unread = [
            kept.enter_context(RawConnection(gateway.port, receive_bytes=4096)).send(asked)
            for _ in range(readers)
        ]
        largest = before
        dropped = 'scores_sse_closes_total{reason="slow_reader"}'

        def all_dropped() -> bool:
            nonlocal largest
            for cds in schools:
                worker.apply(cds, [scored(2500, 4)])
            largest = max(largest, resident_bytes(gateway))
            return counted(gateway, dropped) >= readers

        wait_until(all_dropped, seconds=120, what="the end of those who never read")
        assert (largest - before) / readers < MIB
        for connection in unread:
            with pytest.raises(ConnectionResetError):
                while connection.socket.recv(65_536):
                    pass
        assert_serves(gateway, worker)


def test_a_client_that_reconnects_in_a_loop_is_told_to_wait_and_the_others_go_on(
    redis: RedisServer, worker: FakeWorker
) -> None:
    with (
        gateway_process(redis.url, SCORES_STREAMS_PER_SUBJECT="3") as gateway,
        gateway.client(Authorization=f"Bearer {gateway.token(DISTRICT, subject='somebody else')}") as other,
        stream(other, f"school/{SCHOOL}") as neighbour,
        contextlib.ExitStack() as kept,
    ):
        neighbour.until("put")
        asked = get(STREAM, gateway.token(DISTRICT))
        held = [kept.enter_context(RawConnection(gateway.port)).send(asked) for _ in range(3)]
        for connection in held:
            connection.until(b"event: put\n")
        for _ in range(300):
            with RawConnection(gateway.port) as again:
                farewell = again.send(asked).answer()
            assert farewell.status == 200  # any other would end a browser's EventSource for good
            assert b'"reason":"too_many_streams","reconnect":true' in farewell.body
            retry = re.search(rb"^retry: (\d+)$", farewell.body, re.MULTILINE)
            assert retry is not None and 15_000 <= int(retry[1]) <= 30_000
        worker.apply(SCHOOL, [scored(2470, 3)])
        neighbour.until("patch")
        for connection in held:
            connection.until(b"event: patch\n")
        assert counted(gateway, 'scores_sse_connects_total{outcome="too_many_streams"}') >= 300
        held[0].socket.close()

        def admitted() -> bool:
            with RawConnection(gateway.port) as again:
                return again.send(asked).head().field("content-length") is None

        wait_until(admitted, what="the place of the one that left")


def test_clients_that_hang_up_at_once_leave_nothing_behind(redis: RedisServer, worker: FakeWorker) -> None:
    with gateway_process(redis.url) as gateway:
        asked = get(STREAM, gateway.token(DISTRICT))

        def storm(times: int) -> None:
            for number in range(times):
                with RawConnection(gateway.port) as client:
                    client.send(asked)
                    if number % 3 == 1:
                        client.head()
                    elif number % 3 == 2:  # as a process that is killed
                        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wait_until(lambda: counted(gateway, "scores_sse_connections") == 0, what="their end")

        storm(300)
        sockets = descriptors(gateway)
        before = resident_bytes(gateway)
        storm(600)
        assert descriptors(gateway) <= sockets + 2
        assert resident_bytes(gateway) - before < 8 * MIB
        assert_serves(gateway, worker)
        _, log = gateway.stop()
        assert "Traceback" not in log
