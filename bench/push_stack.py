"""What every compared server looks like to the benchmark, and the ones that take events by POST."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bench.push_event import event_data
from bench.push_reading import Address
from cli.stack.child import Child
from cli.stack.ports import HOST, is_free

_START_SECONDS: Final = 20.0


class Stack(Protocol):
    """A running server."""

    address: Address

    @property
    def pid(self) -> int:
        """Its first process, leader of the session of all its processes."""

    @property
    def store_pid(self) -> int | None:
        """The database that only it needs."""

    def requests(self, streams: int) -> list[bytes]:
        """The requests that open so many streams."""

    def publish(self, version: int, changed_ms: int, size: int) -> None:
        """Hand it one event for everybody."""


@dataclass(slots=True)
class HttpStack:
    """A server that takes events by POST."""

    child: Child
    address: Address
    subscribe: str  # path and query
    publish_path: str
    body: Callable[[bytes], bytes]  # of the event's bytes
    headers: Mapping[str, str]
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(*self.address, timeout=30)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def store_pid(self) -> int | None:
        return None

    def requests(self, streams: int) -> list[bytes]:
        request = f"GET {self.subscribe} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n"
        return [request.encode()] * streams

    def publish(self, version: int, changed_ms: int, size: int) -> None:
        body = self.body(event_data(version, changed_ms, size))
        self.connection.request("POST", self.publish_path, body, dict(self.headers))
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise self.child.failure(f"answered {answer.status} to an event ({said[:80]!r})")


@contextmanager
def serving(
    folder: Path,
    command: list[str],
    port: int,
    subscribe: str,
    publish_path: str,
    *,
    body: Callable[[bytes], bytes] = bytes,
    headers: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[HttpStack]:
    """Run a command that listens on ``port``."""
    variables = {**os.environ, **(environment or {})}
    child = Child(Path(command[0]).name, command, cwd=folder, log=folder / "server.log", env=variables)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while is_free(port):
            if not child.running or time.monotonic() > deadline:
                raise child.failure("does not listen")
            time.sleep(0.02)
        stack = HttpStack(child, (HOST, port), subscribe, publish_path, body, headers or {})
        with closing(stack.connection):
            yield stack
    finally:
        child.stop(2.0)
