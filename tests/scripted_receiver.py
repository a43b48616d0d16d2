"""A receiver of webhooks that answers what a test says, byte for byte, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ScriptedReceiver:
    """Listens on an address of this machine for as long as it is entered.

    Attributes:
        answer: what it answers to each request: bytes, or a function that writes them; None: nothing.
        requests: head and body of each, as they came.
        connections: how many were made.
        let_go: set once a connection of which ``answer`` was a function has been ended by the other side.
    """

    def __init__(
        self,
        answer: bytes | Answering | None = OK,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.host = host
        self.port = port
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._progress = asyncio.Event()
        self.let_go = asyncio.Event()
        self._tls = tls
        self._handlers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    async def asked(self, count: int = 1) -> None:
        """Wait for so many requests, of all that ever came."""
        while len(self.requests) < count:
            self._progress.clear()
            await self._progress.wait()

    def end_connections(self) -> None:
        """End all connections, as a server does that has waited long enough."""
        for writer in self._writers:
            writer.transport.abort()

    @property
    def bodies(self) -> Sequence[bytes]:
        """Of all requests."""
        return [body for _, body in self.requests]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")
                )
                self.requests.append((head, await reader.readexactly(length)))
                self._progress.set()
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                    await writer.drain()
                elif self.answer is not None:
                    await self.answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            self.let_go.set()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
