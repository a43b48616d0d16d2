"""Clients that idle, trickle, stop reading or vanish: each is let go in seconds, and the others notice nothing."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import socket
import struct
import sys
import time

import pytest
from fake_worker import FakeWorker
from integration.gateway_fixtures import (
    DISTRICT,
    SCHOOL,
    STATE,
    RedisServer,
    gateway_process,
    wait_until,
)
from integration.gateway_probes import assert_serves, counted
from integration.raw_http import RawConnection, get

from gateway.request_limits import BoundedProtocol

STREAM = f"/v1/stream?topic=school/{SCHOOL}"
MIB = 2**20


def test_connections_that_finish_no_request_are_closed_in_seconds_and_disturb_nobody(
    redis: RedisServer, worker: FakeWorker
) -> None:
    with gateway_process(redis.url) as gateway, contextlib.ExitStack() as kept:
        token = gateway.token(DISTRICT)
        whole = get(STREAM, token)
        began = time.monotonic()
        slow = [kept.enter_context(RawConnection(gateway.port)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.socket.setblocking(False)
            connection.send(whole[: number % (len(whole) - 2)])
        open_still, at = set(slow), 0
        while open_still:
            at += 1
            for connection in list(open_still):
                try:
                    # A byte now and then; the blank line that would end the head never comes.
                    connection.send(b"X-Slow: %d\r\n" % at if at % 7 == 0 else b"")
                    if connection.socket.recv(1) == b"":
                        open_still.discard(connection)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    open_still.discard(connection)
            if at % 5 == 1:
                assert_serves(gateway, worker)
            assert time.monotonic() - began < BoundedProtocol.head_seconds + 60
        # A loaded event loop's clock is up to a turn behind.
        assert time.monotonic() - began > BoundedProtocol.head_seconds - 1
        status, log = gateway.stop()
        assert status == 0 and len(log.splitlines()) < 20  # nobody can fill the log this way


@pytest.mark.skipif(
    sys.platform != "linux", reason="not run: limits of another process are set on Linux only"
)
def test_idle_connections_cannot_take_every_file_descriptor(redis: RedisServer, worker: FakeWorker) -> None:
    with gateway_process(redis.url) as gateway, contextlib.ExitStack() as kept:
        assert gateway.process is not None
        _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (256, hard))
        began = time.monotonic()
        idle = [kept.enter_context(RawConnection(gateway.port)) for _ in range(600)]
        # Those who came first made room, long before their time was over.
        assert idle[0].rest() == b""
        assert time.monotonic() - began < BoundedProtocol.head_seconds - 1
        assert_serves(gateway, worker)
        idle[-1].send(get("/healthz"))
        assert idle[-1].answer().status == 200
        status, log = gateway.stop()
        assert status == 0 and "Too many open files" not in log and "Traceback" not in log


@pytest.mark.skipif(sys.platform != "linux", reason="not run: a connection's state is told by Linux only")
def test_a_plain_answer_that_nobody_reads_is_not_kept(redis: RedisServer, worker: FakeWorker) -> None:
    long_names = [
        {"cds": f"1999005{number:07d}", "name": f"{number} " + "Larch " * 30, "kind": "school"}
        for number in range(1, 2_500)
    ]
    worker.list_organizations(long_names)
    with gateway_process(redis.url) as gateway:
        asked = get("/v1/organizations", gateway.token(STATE))
        with RawConnection(gateway.port, receive_bytes=4096) as unread, RawConnection(gateway.port) as reader:
            began = time.monotonic()
            unread.send(asked)
            whole = len(reader.send(asked).answer().body)
            assert whole > MIB / 2  # more than the kernel takes
            wait_until(
                lambda: not _established(unread.socket),
                seconds=BoundedProtocol.unread_seconds + 60,
                what="the end of the connection that is not read",
            )
            assert time.monotonic() - began > BoundedProtocol.unread_seconds - 1
            with pytest.raises(ConnectionResetError):
                while unread.socket.recv(65_536):
                    pass
            assert reader.send(get("/healthz")).answer().status == 200


def _established(connection: socket.socket) -> bool:
    """Whether a connection stands, without reading from it; as the kernel has it (Linux's ``tcp_info``)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"


class _Filter(ctypes.Structure):
    """Linux's ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))


def _cut_off(connection: socket.socket) -> None:
    """From here on nothing reaches this socket: its host acknowledges nothing, as one that has lost power."""
    nothing_passes = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = _Filter(1, ctypes.addressof(nothing_passes))
    attach_filter = 26  # SO_ATTACH_FILTER
    connection.setsockopt(socket.SOL_SOCKET, attach_filter, bytes(program))


@pytest.mark.skipif(sys.platform != "linux", reason="not run: a socket is cut off by a Linux socket filter")
def test_a_client_whose_host_vanishes_is_noticed_without_a_word_from_it(
    redis: RedisServer, worker: FakeWorker
) -> None:
    with (
        gateway_process(redis.url, SCORES_HEARTBEAT_SECONDS="1", SCORES_SEND_TIMEOUT_SECONDS="1") as gateway,
        RawConnection(gateway.port) as vanished,
    ):
        vanished.send(get(STREAM, gateway.token(DISTRICT))).until(b"event: put\n")
        _cut_off(vanished.socket)
        # The kernel alone would send its segments again for a quarter of an hour.
        wait_until(
            lambda: counted(gateway, "scores_sse_connections") == 0, seconds=45, what="the end of the stream"
        )
