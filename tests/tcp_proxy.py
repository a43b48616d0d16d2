"""A TCP proxy on 127.0.0.1 that tests put between a client and a server, to do to the connection what networks do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"

_PIECE: Final = 65_536
_CONNECT_SECONDS: Final = 5.0
Pair = tuple[socket.socket, socket.socket]  # the client's end, the server's end

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds


class TcpProxy:
    """Passes bytes on, from inside ``with``, or from ``start`` to ``close``; its port stays the same all the time.

    Threads that block: two for each connection, so it is for tests of a few dozen connections.

    Args:
        upstream_port: the server's port on 127.0.0.1. The server may be away: then a client is cut after connecting.
        port: None takes a free one.
    """

    def __init__(self, upstream_port: int, *, port: int = 0) -> None:
        self.connections = 0  # accepted so far
        self._upstream_port = upstream_port
        self._wanted_port = port
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: dict[Pair, int] = {}  # how many of its two directions still flow
        self._flows = threading.Event()
        self._flows.set()
        self._accepts = True
        self._delay_seconds = 0.0
        self._answers_to_lose = 0

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._listener is not None, "start the proxy first"
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        """Listen; connections are accepted from now on."""
        self._listener = socket.create_server((HOST, self._wanted_port))
        self._wanted_port = self.port
        threading.Thread(target=self._accept, args=(self._listener,), name="proxy", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop listening and cut every connection. Closing twice is fine."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            listener.close()
        self.resume()
        self.cut()

    def lead_to(self, upstream_port: int) -> None:
        """Connect to another server from now on, as a load balancer does; connections that are open stay."""
        self._upstream_port = upstream_port

    def cut(self) -> None:
        """Reset every connection; what is under way in either direction is lost. New connections are accepted."""
        with self._lock:
            pairs, self._open = self._open, {}
        for pair in pairs:
            _reset(pair)

    def cut_before_answer(self, answers: int = 1) -> None:
        """Reset the next connections in the moment the server has answered: it did what was asked, and nobody knows."""
        with self._lock:
            self._answers_to_lose = answers

    def refuse(self) -> None:
        """Reset every connection, and new ones as soon as they are made, until ``accept``."""
        self._accepts = False
        self.cut()

    def accept(self) -> None:
        """End ``refuse``."""
        self._accepts = True

    def pause(self) -> None:
        """Pass nothing on, in either direction: connections stand, new ones too, and nobody is told."""
        self._flows.clear()

    def resume(self) -> None:
        """End ``pause``; what was sent meanwhile arrives."""
        self._flows.set()

    def delay(self, seconds: float) -> None:
        """Let each piece wait so long, in both directions; 0 ends it."""
        self._delay_seconds = seconds

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._connect, args=(client,), name="proxy", daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flows.wait()
        try:
            if not self._accepts:
                raise ConnectionRefusedError
            server = socket.create_connection((HOST, self._upstream_port), _CONNECT_SECONDS)
        except OSError:
            _reset((client,))
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, server)
        with self._lock:
            self._open[pair] = 2
        if not self._accepts or self._listener is None:  # refused or closed while we connected
            self._end(pair)
            return
        threading.Thread(target=self._pass_on, args=(pair, server, client), name="proxy", daemon=True).start()
        self._pass_on(pair, client, server)

    def _pass_on(self, pair: Pair, source: socket.socket, target: socket.socket) -> None:
        from_server = source is pair[1]
        try:
            while piece := source.recv(_PIECE):
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)
                self._flows.wait()
                if from_server and self._loses_this_answer():
                    break
                target.sendall(piece)
            else:
                target.shutdown(socket.SHUT_WR)  # one direction may end before the other
                if self._other_flows(pair):
                    return
        except OSError:
            pass
        self._end(pair)

    def _loses_this_answer(self) -> bool:
        with self._lock:
            if self._answers_to_lose == 0:
                return False
            self._answers_to_lose -= 1
            return True

    def _other_flows(self, pair: Pair) -> bool:
        with self._lock:
            left = self._open.get(pair, 0) - 1
            if left > 0:
                self._open[pair] = left
            return left > 0

    def _end(self, pair: Pair) -> None:
        with self._lock:
            self._open.pop(pair, None)
        _reset(pair)


def _reset(ends: tuple[socket.socket, ...]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in recv, which close alone does not
        end.close()
