"""The process of the readers: raw sockets, epoll, and a search for the event in what came.

The same for every stack, so that what differs is the server's. Its own CPU is not counted.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from bench.push_event import EVENT, EVENT_ID, moment

Address = tuple[str, int]

_SOURCES: Final = 16  # client addresses, 127.0.0.2 upwards: each has ports, and limits, of its own
_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h; Python names it from 3.12 on
_READ_BYTES: Final = 262_144
_GIVE_UP_SECONDS: Final = 120.0
_HTTP_OK: Final = (b"HTTP/1.1 200", b"HTTP/1.0 200")


@dataclass(frozen=True)
class Opened:
    """How it went to open some streams."""

    streams: int
    refused: int  # answered otherwise, or closed before the streams stood
    refusal: str  # how the first of those was answered
    seconds: float
    waits: list[float]  # of each stream, from the start until it stood, ascending


@dataclass(frozen=True)
class Received:
    """What came since ``Readers.count``."""

    events: int
    whole: int  # streams that have the newest event
    backwards: int  # events older than one that the stream had before
    ended: int  # streams that are no more
    bytes_read: int
    latencies_ms: list[float]  # ascending; from the moment in the event to the moment it was read


@dataclass(slots=True, eq=False)
class _Stream:
    socket: socket.socket
    request: bytes
    awaited: int | None  # the version with which it stands; None: its headers are enough
    answered: bool = False
    stands: bool = False
    version: int = 0
    last_id: bytes = b""
    rest: bytes = b""  # the beginning of a frame whose end has not come


@dataclass(slots=True)
class _Reading:
    """The state of the process."""

    address: Address
    keep_ids: bool
    epoll: select.epoll
    streams: dict[int, _Stream] = field(default_factory=dict)
    ids: list[bytes] = field(default_factory=list)  # the last ones of streams that have ended
    opened: int = 0
    standing: list[float] = field(default_factory=list)  # when
    refused: int = 0
    refusal: str = ""
    events: int = 0
    backwards: int = 0
    ended: int = 0
    bytes_read: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def open(self, requests: Sequence[bytes], at_once: int, version: int | None) -> Opened:
        start = time.time()
        self.standing, self.refused, self.refusal = [], 0, ""
        waiting = deque(requests)
        while (done := len(self.standing) + self.refused) < len(requests):
            while waiting and len(requests) - len(waiting) - done < at_once:
                self._connect(waiting.popleft(), version)
            self.poll(0.5)
            if time.time() - start > _GIVE_UP_SECONDS:
                self.refused = len(requests) - len(self.standing)
                self.refusal = self.refusal or f"nothing came within {_GIVE_UP_SECONDS:.0f} s"
        waits = sorted(stood - start for stood in self.standing)
        return Opened(len(waits), self.refused, self.refusal, waits[-1] if waits else 0.0, waits)

    def resume(self, requests: Sequence[bytes], version: int) -> Opened:
        ids = [*self.ids, *(stream.last_id for stream in self.streams.values())]
        self.cut()
        resuming = [
            request[:-2] + b"Last-Event-ID: " + last + b"\r\n\r\n" if last else request
            for request, last in zip(requests, ids, strict=True)
        ]
        return self.open(resuming, len(resuming), version)

    def count(self) -> None:
        self.events = self.backwards = self.ended = self.bytes_read = 0
        self.latencies = array("d")

    def seen(self) -> int:
        return self.events

    def received(self, newest: int) -> Received:
        whole = sum(stream.version >= newest for stream in self.streams.values())
        return Received(
            self.events, whole, self.backwards, self.ended, self.bytes_read, sorted(self.latencies)
        )

    def cut(self) -> None:
        for stream in list(self.streams.values()):
            self._forget(stream)
        self.ids = []

    def poll(self, seconds: float) -> bool:
        """Read what has come; whether a command is waiting."""
        commanded = False
        for descriptor, what in self.epoll.poll(seconds):
            stream = self.streams.get(descriptor)
            if stream is None:
                commanded = True
            elif what & select.EPOLLOUT:
                self._send(stream)
            else:
                self._read(stream)
        return commanded

    def _connect(self, request: bytes, awaited: int | None) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.0.{2 + self.opened % _SOURCES}", 0))
        self.opened += 1
        connection.connect_ex(self.address)
        self.streams[connection.fileno()] = _Stream(connection, request, awaited)
        self.epoll.register(connection.fileno(), select.EPOLLOUT)

    def _send(self, stream: _Stream) -> None:
        try:
            stream.socket.send(stream.request)  # a new connection's buffer takes it whole
        except OSError as error:
            self._end(stream, str(error))
            return
        stream.request = b""
        self.epoll.modify(stream.socket.fileno(), select.EPOLLIN)

    def _read(self, stream: _Stream) -> None:
        try:
            data = stream.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(stream, str(error))
            return
        now = time.time()
        if not data:
            self._end(stream, "closed")
            return
        self.bytes_read += len(data)
        if stream.rest:
            data = stream.rest + data
        if not stream.answered:
            if b"\r\n\r\n" not in data:
                stream.rest = data
                return
            if not data.startswith(_HTTP_OK):
                self._end(stream, data.split(b"\r\n", 1)[0].decode(errors="replace"))
                return
            stream.answered = True
        end = 0
        for found in EVENT.finditer(data):
            end = found.end()
            version = int(found[1])
            if version > stream.version:
                stream.version = version
                self.events += 1
                self.latencies.append((now - moment(found[2])) * 1000)
            elif version < stream.version:
                self.backwards += 1
        if self.keep_ids and (ids := EVENT_ID.findall(data)):
            stream.last_id = ids[-1]
        if not stream.stands and (stream.awaited is None or stream.version >= stream.awaited):
            stream.stands = True
            self.standing.append(now)
        # What follows the last blank line may be the beginning of an event.
        blank = max(data.rfind(b"\n\n", end), data.rfind(b"\n\r\n", end))
        stream.rest = data[max(end, blank + 1) :]

    def _end(self, stream: _Stream, why: str) -> None:
        if stream.stands:
            self.ended += 1
            self.ids.append(stream.last_id)
        else:
            self.refused += 1
            self.refusal = self.refusal or why
        self._forget(stream)

    def _forget(self, stream: _Stream) -> None:
        self.epoll.unregister(stream.socket.fileno())
        del self.streams[stream.socket.fileno()]
        stream.socket.close()


def serve(pipe: Connection, address: Address, keep_ids: bool) -> None:
    """The process: commands from the pipe, frames from the sockets."""
    gc.disable()  # a collection of thousands of streams would be taken for the server's delay
    epoll = select.epoll()
    epoll.register(pipe.fileno(), select.EPOLLIN)
    reading = _Reading(address, keep_ids, epoll)
    while True:
        if not (reading.poll(1.0) and pipe.poll()):
            continue
        try:
            command, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(reading, command)(*arguments))
