"""HTTP/1 by hand: requests as bytes, answers as bytes, and nothing between that would put either right."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """One answer, its header names in small letters."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """The value of a header; None when it is absent."""
        return next((value for known, value in self.fields if known == name), None)


def get(target: str | bytes, token: str | None = None, *fields: bytes, version: str = "1.1") -> bytes:
    """A GET request; ``target`` and ``fields`` go out as they are."""
    target = target.encode() if isinstance(target, str) else target
    authorization = [b"Authorization: Bearer " + token.encode()] if token else []
    lines = [b"GET " + target + b" HTTP/" + version.encode(), b"Host: gateway", *authorization, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class RawConnection:
    """A TCP connection to a gateway."""

    def __init__(self, port: int, *, receive_bytes: int | None = None, seconds: float = 60.0) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(seconds)
        self.socket.connect(("127.0.0.1", port))
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        """Send some bytes."""
        self.socket.sendall(data)
        return self

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with ``mark``; fails at the end of the connection."""
        while mark not in self._received:
            more = self.socket.recv(65_536)
            assert more, f"the connection ended before {mark!r}: {self._received[-500:]!r}"
            self._received += more
        found, _, self._received = self._received.partition(mark)
        return found + mark

    def head(self) -> Answer:
        """The status line and headers of the next answer."""
        status, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        assert status.startswith("HTTP/1.1 "), status
        fields = [line.split(": ", 1) for line in lines]
        return Answer(int(status.split(" ")[1]), [(name.lower(), value) for name, value in fields], b"")

    def answer(self) -> Answer:
        """The next answer, whose headers say how long it is."""
        head = self.head()
        length = head.field("content-length")
        if length is None:
            assert head.status in (204, 304), f"an answer without length: {head}"
            return head
        while len(self._received) < int(length):
            more = self.socket.recv(65_536)
            assert more, "the connection ended within an answer"
            self._received += more
        body, self._received = self._received[: int(length)], self._received[int(length) :]
        return head._replace(body=body)

    def rest(self) -> bytes:
        """What comes until the connection is closed, politely or not."""
        try:
            while more := self.socket.recv(65_536):
                self._received += more
        except ConnectionResetError:
            pass
        rest, self._received = self._received, b""
        return rest
