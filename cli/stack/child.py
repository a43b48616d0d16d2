"""One server process of ours: started with its output in a file, stopped within a time limit, never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from cli.stack.leash import leashed
from schemas.errors import DependencyUnavailable

_KILL_SECONDS: Final = 5.0  # the kernel needs milliseconds; a process stuck in a dead file system, for ever


class ServerFailed(DependencyUnavailable):
    """A server did not start, did not answer in time, or ended by itself; the message quotes its last lines."""


class Child:
    """A running program in a session of its own, so that Ctrl-C reaches the launcher alone.

    On Linux it dies with this process even by ``kill -9``. Elsewhere it is stopped when the interpreter exits.

    Args:
        name: what messages call it.
        argv: the program's absolute path and its arguments.
        cwd: its working directory; must exist.
        log: the file that its output replaces.
        inherit: file descriptors that it holds open as long as it lives.

    Raises:
        ServerFailed: the program cannot be started at all.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._argv = leashed(list(argv))
        self._cwd = cwd
        self._env = None if env is None else dict(env)
        self._inherit = tuple(inherit)
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        # The leash breaks when the starting *thread* ends, not the process, so a caller in a thread pool would
        # lose its server with an idle worker. This thread lives exactly as long as the child.
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()
        self._started.wait()
        if self._process is None:
            raise ServerFailed(f"{name} could not be started: {self._failure}")
        atexit.register(self.stop, 0.0)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._keeper.is_alive()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return None if self._process is None else self._process.returncode

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; False if it still runs after ``seconds``."""
        self._keeper.join(seconds)
        return not self.running

    def stop(self, grace_seconds: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after ``grace_seconds`` (at once if that is 0). Stopping twice is fine."""
        atexit.unregister(self.stop)
        if self._process is None:
            return
        if grace_seconds > 0:
            self._process.terminate()
        if grace_seconds <= 0 or not self.wait(grace_seconds):
            self._process.kill()
            self.wait(_KILL_SECONDS)

    def last_lines(self, count: int = 15) -> str:
        """The end of its output, for messages."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def failure(self, what: str) -> ServerFailed:
        """An error that says what went wrong, how it ended, and what it said last."""
        ended = f" (exit status {self.exit_status})" if self.exit_status is not None else ""
        return ServerFailed(f"{self.name} {what}{ended}. Its log {self.log} ends with:\n{self.last_lines()}")

    def _keep(self) -> None:
        try:
            self._process = self._start()
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        self._attend(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "wb") as output:
            return self._popen(output)

    def _popen(self, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._inherit,
        )

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()


def executable(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a file that we may run."""
    return os.path.isfile(path) and os.access(path, os.X_OK)
