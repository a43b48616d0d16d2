"""A Redis-compatible server and a gateway process of its own for tests, and a small reader of streams."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import redis

from cli.stack.ports import free_port
from cli.stack.redis_server import bundled_binary, server_command
from gateway.development_issuer import DevelopmentIssuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.identifiers import OrganizationId

COUNTY = "19000000000000"
DISTRICT = "19990010000000"
SCHOOL = "19990010000101"
SECOND_SCHOOL = "19990010000102"
OTHER_DISTRICT = "19990020000000"
OTHER_SCHOOL = "19990020000201"
STATE = "00000000000000"

ORGANIZATIONS: list[dict[str, Any]] = [
    {"cds": COUNTY, "name": "Alder County", "kind": "county"},
    {"cds": DISTRICT, "name": "Birch Valley Unified", "kind": "district"},
    {"cds": SCHOOL, "name": "Cedar Elementary", "kind": "school"},
    {"cds": SECOND_SCHOOL, "name": "Dogwood Elementary", "kind": "school"},
    {"cds": OTHER_DISTRICT, "name": "Elm Union", "kind": "district"},
    {"cds": OTHER_SCHOOL, "name": "Fir Middle", "kind": "school"},
]


def wait_until(condition: Callable[[], Any], *, seconds: float = 60.0, what: str = "the condition") -> Any:
    """What ``condition`` returns as soon as it is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    late = False
    while not (found := condition()):
        assert not late, f"{what} did not come about within {seconds:g} s"
        time.sleep(0.02)
        late = time.monotonic() > deadline  # and one more look, after whatever held us up
    return found


_ON_DISK = {"appendonly": "yes", "appendfsync": "always", "save": ""}


class RedisServer:
    """A Redis-compatible server that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, with what was kept on disk, and wait until it answers."""
        self._process = subprocess.Popen(
            server_command(bundled_binary(), self.port, self._folder, _ON_DISK),
            stdout=subprocess.DEVNULL,
        )
        with redis.Redis.from_url(self.url) as client:
            wait_until(lambda: _answers(client), what="Redis")

    def stop(self) -> None:
        """Stop; what was written stays on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server with an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class GatewayProcess:
    """``python -m gateway`` on a port of its own."""

    def __init__(self, redis_url: str, folder: Path, **settings: str) -> None:
        self.issuer = DevelopmentIssuer(
            folder, issuer=DEVELOPMENT_ISSUER, audience=DEVELOPMENT_AUDIENCE, environment="development"
        )
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "SCORES_REDIS_URL": redis_url,
            "SCORES_GATEWAY_PORT": str(self.port),
            "SCORES_JWKS_FILE": str(self.issuer.jwks_file),
            "SCORES_PROGRESS_SECONDS": "0.2",
            "SCORES_AUDIT_DIR": str(folder / "audit"),
            "SCORES_STUDENT_KEY_SECRET": "only for tests, nothing is secret",
            "SCORES_UNLISTED_RELEASE_STATE": "released",
            **settings,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, ready: bool = True) -> None:
        """Start and wait until it is ready, or at least answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], env=self._environment, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: self._status("/readyz" if ready else "/healthz") == 200, what="the gateway")

    def stop(self) -> tuple[int, str]:
        """SIGTERM; returns the exit status and what was logged."""
        if self.process is None:
            return 0, ""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=60)
        status, self.process = self.process.returncode, None
        return status, log

    def token(
        self,
        organization: str,
        *,
        role: str = READER_ROLE,
        seconds: float = 600,
        subject: str = "test@example.test",
    ) -> str:
        """A token for one organization."""
        return self.issuer.issue(
            subject, [Grant(role, OrganizationId(organization))], timedelta(seconds=seconds)
        )

    def client(self, organization: str | None = None, **headers: str) -> httpx.Client:
        """An HTTP client, with a token for ``organization``."""
        if organization is not None:
            headers["Authorization"] = f"Bearer {self.token(organization)}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def _status(self, path: str) -> int:
        assert self.process is not None
        if self.process.poll() is not None:
            assert self.process.stderr is not None
            raise AssertionError(f"the gateway ended: {self.process.stderr.read()}")
        try:
            return httpx.get(self.url + path, trust_env=False).status_code
        except httpx.TransportError:
            return 0


@contextlib.contextmanager
def gateway_process(redis_url: str, *, ready: bool = True, **settings: str) -> Iterator[GatewayProcess]:
    """A running gateway."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = GatewayProcess(redis_url, Path(folder), **settings)
        try:
            gateway.start(ready=ready)
            yield gateway
        finally:
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.stop()


@dataclass
class Event:
    """One event as it came, or a comment."""

    kind: str
    data: Any = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def cells(self, organization: str) -> dict[str, dict[str, Any]]:
        """The cells of one organization in a put or patch, by year, test and grade."""
        return {
            f"{cell['school_year']}:{cell['test']}:{cell['grade']}": cell
            for one in self.data["organizations"]
            if one["id"] == organization
            for cell in one["cells"]
        }


@dataclass
class EventReader:
    """Reads a stream line by line, without the help of any library that might be lenient."""

    response: httpx.Response
    seen: list[Event] = field(default_factory=list)
    _lines: Iterator[str] | None = None

    def next(self) -> Event | None:
        """The next block of lines; None at the end of the stream."""
        if self._lines is None:
            self._lines = self.response.iter_lines()
        event = Event("comment")
        started = False
        for line in self._lines:
            if not line:
                if started:
                    self.seen.append(event)
                    return event
                continue
            started = True
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "":
                    event.comment = value
                case "event":
                    event.kind = value
                case "data":
                    event.data = json.loads(value)
                case "id":
                    event.id = value
                case "retry":
                    event.retry = int(value)
        return None

    def until(self, kind: str, condition: Callable[[Event], Any] = lambda _: True) -> Event:
        """The next event of a kind that meets the condition; others are passed over."""
        deadline = time.monotonic() + 40
        while (event := self.next()) is not None:
            if event.kind == kind and condition(event):
                return event
            assert time.monotonic() < deadline, f"no such {kind} within 40 s"
        raise AssertionError(f"the stream ended without the expected {kind}")


@contextlib.contextmanager
def stream(
    client: httpx.Client, *topics: str, query: Mapping[str, Sequence[str]] | None = None, **headers: str
) -> Iterator[EventReader]:
    """An open stream; ``query`` has what is asked besides topics."""
    asked = {"topic": topics, **(query or {})}
    with client.stream("GET", "/v1/stream", params=asked, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield EventReader(response)
