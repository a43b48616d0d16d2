"""The process of the receivers: one port for each endpoint, plain HTTP/1.1 with connections that stay open.

Started by ``tests.webhook_fleet.receivers``. A receiver verifies and keeps every request, whatever it answers.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any, Final, NamedTuple

from cli.stack.ports import HOST
from tests.webhook_fleet.conduct import SLOW_SECONDS, Conduct
from tests.webhook_fleet.receipts import Receipt
from tests.webhook_fleet.verifying import Verifier, read_request

_ACCEPTED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
_FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
_FLAP_SECONDS: Final = (2.0, 6.0)  # a flapping receiver is well for so long, then away for as long
_BACKLOG: Final = 64


class Hook(NamedTuple):
    """One endpoint's receiver: its id, and the key with which it verifies; without one it takes everything unread."""

    endpoint: str
    key: str


@dataclass(slots=True)
class _Receiver:
    endpoint: str
    verifier: Verifier | None
    flap_seconds: float
    flap_phase: float
    conduct: Conduct = Conduct.LIVE
    port: int = 0
    server: asyncio.Server | None = None
    connections: set[_Connection] = field(default_factory=set)

    def present(self) -> Conduct:
        """What it does right now."""
        if self.conduct is not Conduct.FLAPPING:
            return self.conduct
        away = int((time.monotonic() + self.flap_phase) / self.flap_seconds) % 2
        return Conduct.FAILING if away else Conduct.LIVE

    async def listen(self) -> None:
        """Take connections, on the port that it had before."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Connection(self), HOST, self.port, backlog=_BACKLOG)
        self.port = self.server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take none any more, and drop those that there are."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for connection in tuple(self.connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver.connections.discard(self)
        self._transport = None

    def abort(self) -> None:
        """Reset it."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            _, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
            begin = end + 4
            length = int(headers.get("content-length", "0"))
            if len(self._buffer) < begin + length:
                return
            body, self._buffer = self._buffer[begin : begin + length], self._buffer[begin + length :]
            self._answer(headers, body)

    def _answer(self, headers: Mapping[str, str], body: bytes) -> None:
        receiver = self._receiver
        conduct = receiver.present()
        accepted = conduct in (Conduct.LIVE, Conduct.SLOW)
        token = None
        if receiver.verifier is not None:
            receipt, token = read_request(
                receiver.endpoint, receiver.verifier, headers, body, accepted=accepted
            )
            if receipt.fault:
                accepted, receipt = False, receipt._replace(accepted=False)
            _RECEIPTS.append(receipt)
        elif b'"endpoint.ping"' in body:
            token = _confirmation(body)
        _COUNT.requests += 1
        answer = _ACCEPTED if accepted else _FAILED
        if token is not None and accepted:
            answer = answer.replace(b"\r\n\r\n", f"\r\nwebhook-confirmation: {token}\r\n\r\n".encode())
        match conduct:
            case Conduct.SILENT:
                return
            case Conduct.SLOW:
                asyncio.get_running_loop().call_later(SLOW_SECONDS, self._write, answer)
            case _:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


@dataclass(slots=True)
class _Count:
    requests: int = 0


_RECEIPTS: list[Receipt] = []
_COUNT = _Count()


def serve(pipe: Connection, seed: int) -> None:
    """Do what the pipe asks for until it is closed."""
    gc.disable()  # nothing here is cyclic, and receipts are many
    asyncio.run(_Service(pipe, seed).run())


class _Service:
    def __init__(self, pipe: Connection, seed: int) -> None:
        self._pipe = pipe
        self._seed = seed
        self._receivers: dict[str, _Receiver] = {}

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._pipe.fileno(), readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                while self._pipe.poll():
                    self._pipe.send(await self._do(*self._pipe.recv()))
        except EOFError:
            return

    async def _do(self, command: str, *arguments: Any) -> Any:
        match command:
            case "open":
                return await self._open(*arguments)
            case "conduct":
                return await self._conduct(*arguments)
            case "take":
                taken = list(_RECEIPTS)
                _RECEIPTS.clear()
                return taken
            case "count":
                return _COUNT.requests
        raise ValueError(command)

    async def _open(self, hooks: Sequence[Hook]) -> dict[str, int]:
        for endpoint, key in hooks:
            rng = Random(f"{self._seed} {hashlib.sha256(endpoint.encode()).hexdigest()}")
            verifier = Verifier(key) if key else None
            receiver = _Receiver(endpoint, verifier, rng.uniform(*_FLAP_SECONDS), rng.uniform(0, 60))
            await receiver.listen()
            self._receivers[endpoint] = receiver
        return {endpoint: receiver.port for endpoint, receiver in self._receivers.items()}

    async def _conduct(self, changed: Mapping[str, Conduct]) -> None:
        for endpoint, conduct in changed.items():
            receiver = self._receivers[endpoint]
            receiver.conduct = conduct
            if conduct is Conduct.REFUSING:
                receiver.refuse()
            elif receiver.server is None:
                await receiver.listen()


def _confirmation(body: bytes) -> str | None:
    """The token of a ping that is not verified, for measurements."""
    _, found, rest = body.partition(b'"confirmation":"')
    return rest.partition(b'"')[0].decode() if found else None
