"""How long a revoked subject's streams go on: two gateways, thousands of streams, from the order to each client's ``bye``.

``python -m bench.revocation`` runs it. Half of the streams are on the node that takes the order, half on the other; as many
more belong to somebody else and have to stay. Everything is on one machine, the readers too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.environments import CannotSetUp
from bench.latency import at
from bench.push import allow_files
from bench.push_ours import Ours
from bench.push_reading import Address
from schemas.access.roles import READER_ROLE
from schemas.identifiers import STATE

_SCHOOLS: Final = 20
_BYSTANDERS: Final = 100
_AT_ONCE: Final = 100
_GIVE_UP_SECONDS: Final = 60.0
_STANDS: Final = b"event: put\n"
_REVOKED: Final = b'"reason":"revoked"'


@dataclass(frozen=True)
class Revoked:
    """One run; times are from sending the order."""

    streams: int
    answered_ms: float  # the order itself
    latencies_ms: list[float]  # of each stream, ascending
    ended_elsewhere: int  # streams that closed without the word
    bystanders_lost: int
    refused: bool  # the next connect, on both nodes


class _Streams:
    """Open streams; what they send is searched for one word at a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._open: dict[int, tuple[socket.socket, bytes]] = {}
        self.ended = 0

    def __len__(self) -> int:
        return len(self._open)

    def connect(self, address: Address, request: bytes) -> None:
        """Ask for one more."""
        connection = socket.create_connection(address)
        connection.sendall(request)
        connection.setblocking(False)
        self._open[connection.fileno()] = (connection, b"")
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def until(self, word: bytes, number: int) -> list[float]:
        """When each of the first so many streams that say the word said it; fewer when time is over."""
        came: list[float] = []
        said: set[int] = set()
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while len(came) < number and self._open and time.monotonic() < deadline:
            for descriptor, _ in self._epoll.poll(0.5):
                connection, rest = self._open[descriptor]
                data = self._received(connection)
                now = time.monotonic()
                if not data:
                    self._forget(descriptor)
                    self.ended += 1
                    continue
                if descriptor not in said and word in rest + data:
                    said.add(descriptor)
                    came.append(now)
                self._open[descriptor] = (connection, (rest + data)[-len(word) :])
        return came

    def alive(self) -> int:
        """How many of them have not been closed."""
        self.until(_REVOKED, 0)
        for descriptor, (connection, _) in list(self._open.items()):
            while True:
                try:
                    if connection.recv(65_536):
                        continue
                    self._forget(descriptor)
                except OSError:  # nothing more to read: it is open
                    pass
                break
        return len(self._open)

    def close(self) -> None:
        """Close all."""
        for descriptor in list(self._open):
            self._forget(descriptor)
        self._epoll.close()

    def _received(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(65_536)
        except OSError:
            return b""

    def _forget(self, descriptor: int) -> None:
        connection, _ = self._open.pop(descriptor)
        self._epoll.unregister(descriptor)
        connection.close()


def revoke_once(ours: Ours, nodes: Sequence[Address], streams: int, name: str) -> Revoked:
    """One run with a subject of its own.

    Raises:
        CannotSetUp: not all streams could be opened.
    """
    mine, others = _Streams(), _Streams()
    token = ours.token(name, READER_ROLE, STATE)
    bystander = ours.token(f"beside-{name}", READER_ROLE, STATE)
    officer = ours.token("officer", "PRIVACY_OFFICER", STATE)
    try:
        for opened, bearer, number in ((mine, token, streams), (others, bystander, _BYSTANDERS)):
            for first in range(0, number, _AT_ONCE):
                some = range(first, min(number, first + _AT_ONCE))
                for one in some:
                    school = ours.schools[one % len(ours.schools)]
                    opened.connect(nodes[one % len(nodes)], _request(f"school/{school}", bearer))
                if len(opened.until(_STANDS, len(some))) < len(some):
                    raise CannotSetUp(f"only {len(opened)} of {number} streams could be opened")
        began = time.monotonic()
        with ThreadPoolExecutor(1) as beside:  # while the clients read
            order = beside.submit(_order, nodes[0], officer, name)
            came = mine.until(_REVOKED, streams)
            answered = order.result()
        return Revoked(
            streams,
            (answered - began) * 1000,
            sorted((moment - began) * 1000 for moment in came),
            streams - len(came),
            _BYSTANDERS - others.alive(),
            all(_status(node, token) == http.client.UNAUTHORIZED for node in nodes),
        )
    finally:
        mine.close()
        others.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print a table; exit status 1 when a stream outlived its revocation, or a bystander did not."""
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description=__doc__)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args(arguments)
    allow_files()
    with (
        tempfile.TemporaryDirectory(prefix="scores-revocation-") as folder,
        Ours(
            Path(folder), _SCHOOLS, SCORES_STREAMS_PER_SUBJECT="100000", SCORES_STREAMS_PER_ADDRESS="100000"
        ) as ours,
        ours.another_gateway() as other,
    ):
        runs = [
            revoke_once(ours, (ours.address, other), chosen.streams, f"reader-{number}")
            for number in range(chosen.runs)
        ]
    print(
        "| run | order answered, ms | median, ms | p99, ms | last, ms | not told | bystanders lost | next connect |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number, run in enumerate(runs, 1):
        figures = [f"{at(run.latencies_ms, percent):.0f}" for percent in (50, 99, 100)]
        refused = "refused" if run.refused else "NOT REFUSED"
        print(
            f"| {number} | {run.answered_ms:.0f} | {' | '.join(figures)} | {run.ended_elsewhere} | {run.bystanders_lost} | "
            f"{refused} |"
        )
    lasts = [run.latencies_ms[-1] for run in runs if run.latencies_ms]
    print(
        f"\n{chosen.streams} streams over 2 nodes: last told after {statistics.median(lasts):.0f} ms (median of runs), ",
        end="",
    )
    print(f"{max(lasts):.0f} ms (worst run)")
    sound = all(not run.ended_elsewhere and not run.bystanders_lost and run.refused for run in runs)
    return 0 if sound else 1


def _request(topic: str, token: str) -> bytes:
    headers = f"Host: bench\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
    return f"GET /v1/stream?topic={topic} HTTP/1.1\r\n{headers}".encode()


def _order(node: Address, officer: str, subject: str) -> float:
    """When the revocation was answered."""
    connection = http.client.HTTPConnection(*node, timeout=30)
    headers = {"Authorization": f"Bearer {officer}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/revocations", json.dumps({"subject": subject}), headers)
    answer = connection.getresponse()
    if answer.status != http.client.CREATED:
        raise CannotSetUp(f"the revocation was answered {answer.status}: {answer.read(300)!r}")
    connection.close()
    return time.monotonic()


def _status(node: Address, token: str) -> int:
    connection = http.client.HTTPConnection(*node, timeout=30)
    connection.request("GET", "/v1/organizations", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
