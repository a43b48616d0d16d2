"""One system call for many sockets: whatever becomes of each, every client gets every byte, in order, once."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest

import gateway.bursts
from gateway.bursts import Burst, best_burst
from gateway.lines import NO_DESCRIPTOR, Chunk
from gateway.ring import SENDS_AT_ONCE, Ring, RingUnavailable, Unfinished

DATA = b"data: " + b"x" * 700 + b"\n\n"


@pytest.fixture
def ring() -> Iterator[Ring]:
    try:
        made = Ring()
    except RingUnavailable as error:
        pytest.skip(f"not run: {error}")
    with made:
        yield made


@contextlib.contextmanager
def pairs(number: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with contextlib.ExitStack() as stack:
        made = [socket.socketpair() for _ in range(number)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
                end.setblocking(False)
        yield made


class RecordingLine:
    """A line that keeps what it is to send by itself."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.kept = b""

    def write(self, chunk: Chunk) -> None:
        self.kept += chunk.framed

    def write_on(self, chunk: Chunk, sent: int) -> None:
        self.descriptor = NO_DESCRIPTOR
        self.kept += chunk.framed[sent:]

    def unsent(self) -> bool:
        return bool(self.kept)

    def end(self) -> None:
        raise AssertionError

    def reset(self) -> None:
        raise AssertionError


def received(end: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while piece := end.recv(65_536):
            found += piece
    return found


@pytest.mark.parametrize("sockets", [1, 7, SENDS_AT_ONCE - 1, SENDS_AT_ONCE])
def test_each_socket_gets_the_same_bytes_however_often_the_ring_goes_round(ring: Ring, sockets: int) -> None:
    with pairs(sockets) as both:
        for turn in range(5):
            said = b"%d" % turn + DATA
            assert ring.send([near.fileno() for near, _ in both], said) == []
            assert [received(far) for _, far in both] == [said] * sockets


def test_who_has_hung_up_is_named_and_the_others_get_theirs(ring: Ring) -> None:
    with pairs(200) as both:
        for number in (3, 150):
            both[number][1].close()
        for _ in range(3):
            assert ring.send([near.fileno() for near, _ in both], DATA) == [
                Unfinished(3, 0),
                Unfinished(150, 0),
            ]
            assert all(received(far) == DATA for n, (_, far) in enumerate(both) if n not in (3, 150))


def test_descriptor_that_is_none_any_more_harms_nobody(ring: Ring) -> None:
    with pairs(3) as both:
        numbers = [near.fileno() for near, _ in both]
        both[1][0].close()
        assert ring.send(numbers, DATA) == [Unfinished(1, 0)]


def test_whoever_does_not_read_takes_a_part_and_we_know_how_much(ring: Ring) -> None:
    """Over TCP, as streams are."""
    said = random.Random(1).randbytes(1 << 20)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as far,
        listener.accept()[0] as near,
    ):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        near.setblocking(False)
        taken = b""
        while (unfinished := ring.send([near.fileno()], said)) != [Unfinished(0, 0)]:
            taken += said[: unfinished[0].sent] if unfinished else said
        assert 0 < len(taken) < 50 * len(said)
        far.settimeout(5)
        arrived = b""
        while len(arrived) < len(taken):
            arrived += far.recv(65_536)
        assert arrived == taken


@pytest.mark.parametrize("with_ring", [True, False])
def test_burst_gives_each_line_its_own_chunks_in_their_order(ring: Ring, with_ring: bool) -> None:
    burst = Burst(ring if with_ring else None)
    first, second = Chunk(b"data: first\n\n"), Chunk(b"data: second\n\n")
    with pairs(20) as both:
        lines = [
            RecordingLine(near.fileno() if number % 5 else NO_DESCRIPTOR)
            for number, (near, _) in enumerate(both)
        ]
        both[7][1].close()
        for number, line in enumerate(lines):
            burst.write(line, first if number < 10 else second)
        burst.flush()
        burst.flush()
        for number, (line, (_, far)) in enumerate(zip(lines, both, strict=True)):
            said = (first if number < 10 else second).framed
            arrived = b"" if number == 7 else received(far)
            assert arrived + line.kept == said
        assert sum(not line.kept for line in lines) == (
            15 if with_ring else 0
        )  # 20, less 4 of their own, less 1 gone


def test_streams_that_get_the_progress_and_those_that_do_not_take_two_calls_however_they_are_mixed(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    enter = ring._enter

    def counted(count: int) -> None:
        calls.append(count)
        enter(count)

    monkeypatch.setattr(ring, "_enter", counted)
    burst, chunks = Burst(ring), (Chunk(b"data: alone\n\n"), Chunk(b"data: with the progress\n\n"))
    with pairs(20) as both:
        for number, (near, _) in enumerate(both):
            burst.write(RecordingLine(near.fileno()), chunks[number % 2])
        burst.flush()
        assert [received(far) for _, far in both] == [chunks[number % 2].framed for number in range(20)]
    assert calls == [10, 10]


def test_where_there_is_no_ring_lines_are_written_to_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Ring:
        raise RingUnavailable("io_uring: Operation not permitted")

    monkeypatch.setattr(gateway.bursts, "Ring", none)
    for wanted in (True, False):
        burst, line = best_burst(wanted), RecordingLine(5)
        burst.write(line, Chunk(DATA))
        assert line.kept.endswith(DATA + b"\r\n")
