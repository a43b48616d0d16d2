"""The receivers of docs/clients as programs of their own, and deliveries to them as the worker makes them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from signed_webhooks import SECRET

from schemas.aggregates import CellName
from schemas.identifiers import Grade, OrganizationId, TestCode
from schemas.webhooks.ids import message_id
from schemas.webhooks.payloads import ToldCell, aggregate_updated, organization_part
from schemas.webhooks.secrets import SigningSecret
from schemas.webhooks.signing import signed_headers

CLIENTS: Final = Path(__file__).parents[1] / "docs" / "clients"
SCHOOL: Final = OrganizationId("71700016000001")
_ENDPOINT: Final = "ep_aspen"
_CHANGED_MS: Final = 1_777_896_000_000  # 2026-05-04T12:00:00Z
_STOP_SECONDS: Final = 60.0

Headers = dict[str, str]


def told(grade: str = "03", *, version: int, minutes: int = 0, test: str = "ELA-SUM") -> ToldCell:
    """A changed cell; ``minutes`` after noon."""
    return ToldCell(CellName(2026, TestCode(test), Grade(grade)), version, _CHANGED_MS + minutes * 60_000)


def update(*cells: ToldCell) -> bytes:
    """The body that tells of these cells of one school."""
    (body,) = aggregate_updated(
        organization_part(SCHOOL, "Aspen Elementary"), cells, base_url="https://scores.example"
    )
    return body.content


def signed(
    body: bytes,
    *,
    secrets: Sequence[SigningSecret] = (SECRET,),
    message: str | None = None,
    seconds_ago: int = 0,
    at: int | None = None,
) -> Headers:
    """The headers of an attempt that was made so long ago, or at that second."""
    attempted = int(time.time()) - seconds_ago if at is None else at
    return signed_headers(secrets, message or message_id(_ENDPOINT, body), attempted, body, version="0.0.0")


class Address:
    """A receiver at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, Headers]:
        """Deliver; the answer's status and headers, names in lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/scores", body, dict(headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def deliver(self, body: bytes, **how: Any) -> int:
        """Deliver what is signed as the worker does; the answer's status."""
        return self.post(body, signed(body, **how))[0]


class ReceiverProgram(Address):
    """A receiver that is a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        super().__init__(port)
        self._process = process
        self._said: tuple[str, str] | None = None

    def handled(self) -> list[dict[str, Any]]:
        """End it; what it printed of what it took, in order."""
        return [json.loads(line) for line in self._end()[0].splitlines()]

    def complained(self) -> str:
        """End it; what it wrote of faults."""
        return self._end()[1]

    def next_line(self) -> str:
        """Wait for a line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end_by(self, number: int) -> int:
        """Send this signal; the exit status."""
        self._process.send_signal(number)
        return self._process.wait(_STOP_SECONDS)

    def _end(self) -> tuple[str, str]:
        if self._said is None:
            self._process.terminate()
            self._said = self._process.communicate(timeout=_STOP_SECONDS)
        return self._said


@contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    announced_on: Literal["stdout", "stderr"] = "stdout",
) -> Iterator[ReceiverProgram]:
    """A program whose first line there ends with the port that it listens on."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            announcing = process.stdout if announced_on == "stdout" else process.stderr
            assert announcing is not None
            line = announcing.readline()
            if not line.startswith("listening on "):
                raise AssertionError(f"{command[0]} did not start: {line}{process.communicate()[1]}")
            yield ReceiverProgram(process, int(line.rpartition(":")[2]))
        finally:
            process.kill()


def command_of(example: str) -> list[str]:
    """How to run one of the examples, on any free port."""
    interpreter = "node" if example.endswith(".mjs") else sys.executable
    return [interpreter, str(CLIENTS / example), "--port", "0"]
