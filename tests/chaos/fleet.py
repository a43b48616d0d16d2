"""Workers under fire: supervised as in production, each start with a log of its own, each end noted."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cli.stack.child import Child
from cli.supervisor import Supervised


class WorkerSlot(Supervised):
    """One worker, started again and again.

    A death that a disturbance caused is no crash loop: only deaths of its own make the pause before a restart grow.

    Args:
        launch: starts it for the n-th time.
        folder: for the file that tells it to die at a point.
    """

    def __init__(self, name: str, launch: Callable[[int], Child], folder: Path) -> None:
        super().__init__(name, (), {}, folder)
        self.ends: Counter[str] = Counter()  # how it ended: "killed", "left", "by itself"
        self.crashes: list[str] = []  # why it ended by itself
        self.logs: list[Path] = []  # of all its starts
        self.away = False  # whether it shall not be started again for now
        self.fail_point = folder / f"{name}.fail-point"
        self._launch = launch
        self._starts = 0
        self._noted: Child | None = None

    def start(self) -> None:
        """Start it anew."""
        self._starts += 1
        self._child = self._launch(self._starts)
        self.logs.append(self._child.log)
        self._started = time.monotonic()

    def supervise(self) -> str | None:
        """As in production; nothing while it is away."""
        child = self._child
        if child is not None and child is not self._noted and not child.running:
            self._noted = child
            self._note_end(child)
        if self.away:
            return None
        return super().supervise()

    def kill(self) -> None:
        """``kill -9``."""
        self.ask_to_stop(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: it neither works nor dies."""
        self.ask_to_stop(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on and does not know that time has passed."""
        self.ask_to_stop(signal.SIGCONT)

    def leave(self) -> None:
        """SIGTERM, and no restart before ``come_back``."""
        self.away = True
        self.ask_to_stop(signal.SIGTERM)

    def come_back(self) -> None:
        """Start again, when the one before has ended."""
        self.away = False

    def end(self) -> None:
        """The run is over."""
        self.thaw()
        self.away = True
        self.kill()
        self.wait_or_kill(time.monotonic() + 5)

    def arm(self, point: str) -> None:
        """Let it die when it comes to that point."""
        unfinished = self.fail_point.with_suffix(".unfinished")
        unfinished.write_text(point)
        unfinished.rename(self.fail_point)

    @property
    def armed(self) -> bool:
        """Whether it still has to come to the point."""
        return self.fail_point.exists()

    def disarm(self) -> None:
        """Let it live."""
        self.fail_point.unlink(missing_ok=True)

    def _note_end(self, child: Child) -> None:
        status = child.exit_status
        if status == -signal.SIGKILL:
            self.ends["killed"] += 1
        elif status in (0, -signal.SIGTERM):  # the latter before it could handle the signal
            self.ends["left"] += 1
        else:
            self.ends["by itself"] += 1
            self.crashes.append(f"{self.name}, {child.log.name}: exit status {status}: {_reason(child)}")
            return
        self._started = float("-inf")  # steady, so that the pause before the next start is the first one


def _reason(child: Child) -> str:
    """The line that says why it ended: Faust's first, or else the last that names an error."""
    lines = child.last_lines(500).splitlines()
    crashes = [line for line in lines if "Crashed reason" in line][:1]
    errors = [line for line in lines if "Error" in line or "Unavailable" in line]
    return (crashes or errors or lines or ["nothing said"])[-1][:400]
