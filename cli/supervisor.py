"""The processes of the local stack: started with one environment, restarted with back-off, stopped together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.stack.child import Child

# The very commands of docker-compose.yml; a test compares the two.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "streams": ("scores", "streams"),
    "gateway": ("scores", "gateway"),
    "publisher": ("scores", "publisher"),
    "relay": ("scores", "relay"),
    "webhooks": ("scores", "webhooks", "run"),
    "lag": ("scores", "lag", "run"),
    "canary": ("scores", "canary", "run"),
}

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # after so long without a fault the next one is a new one
_WRONG_SETTINGS: Final = 2  # exit status; starting again cannot help


class Supervised:
    """One process that is started again when it ends, with a growing pause."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], logs: Path
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.restarts = 0
        self.faults = 0  # ends in a row, without running steadily in between
        self._arguments = arguments
        self._environment = {**os.environ, **environment}
        self._child: Child | None = None
        self._started = 0.0
        self._restart_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Start it with this very interpreter, wherever PATH points."""
        command = [sys.executable, "-m", "cli", *self._arguments]
        self._child = self._spawn(command)
        self._started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    @property
    def beyond_help(self) -> bool:
        """Whether it ended because its settings are wrong."""
        return self._child is not None and self._child.exit_status == _WRONG_SETTINGS

    @property
    def exit_status(self) -> int | None:
        """How it ended; None while it runs, or waits to be started again."""
        return None if self._child is None else self._child.exit_status

    def failure(self) -> Exception:
        """Why it does not run, with the last lines of its log."""
        assert self._child is not None
        return self._child.failure("ended")

    def supervise(self) -> str | None:
        """Start it again when it has ended; returns a line to show when something happened."""
        now = time.monotonic()
        if self._child is None:
            if now < self._restart_at:
                return None
            self.restarts += 1
            self.start()
            return f"{self.name} started again (restart {self.restarts})"
        if self._child.running or self.beyond_help:
            return None
        steady = now - self._started > _STEADY_SECONDS
        self.faults = 1 if steady else self.faults + 1
        self._pause_seconds = (
            _FIRST_PAUSE_SECONDS if steady else min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        )
        message = f"{self._how_it_ended(self._child)}\n{self.name} starts again in {self._pause_seconds:g} s"
        self._child, self._restart_at = None, now + self._pause_seconds
        return message

    def ask_to_stop(self, signal_number: int) -> None:
        """Send a signal, if it runs."""
        if self._child is not None:
            self._child.signal(signal_number)

    def wait_or_kill(self, deadline_monotonic: float) -> None:
        """Wait for its end until the deadline, then kill it."""
        if self._child is not None and not self._child.wait(max(0.0, deadline_monotonic - time.monotonic())):
            self._child.stop(0.0)

    def _spawn(self, command: Sequence[str]) -> Child:
        return Child(self.name, command, cwd=Path.cwd(), log=self.log, env=self._environment)

    def _how_it_ended(self, child: Child) -> str:
        return str(child.failure("ended"))


def wait_until(condition: Callable[[], bool], seconds: float, watched: Sequence[Supervised] = ()) -> bool:
    """Poll until the condition holds; False when the time is over.

    Raises:
        ServerFailed: a watched process has ended meanwhile.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        for process in watched:
            if process.pid is None:
                raise process.failure()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
