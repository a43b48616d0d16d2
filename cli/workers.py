"""``scores streams --workers N``: several stream workers on one machine, each a process, restarted with back-off.

They share the partitions as workers on several machines do. Each has a name that survives restarts, so that one that is
back within the session timeout gets its partitions again, and the others are not disturbed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.stack.child import Child
from cli.stop_signals import stop_signals
from cli.supervisor import COMMANDS, Supervised
from schemas.errors import InvalidInput
from schemas.logs import configure_logging
from streams.settings import Settings

logger = logging.getLogger("workers")

_LOOK_SECONDS: Final = 0.2
# A worker stops within ten; docker-compose.yml allows twenty.
_STOP_SECONDS: Final = 15.0
# With the growing pauses, some minute of nothing but faults. A worker that waited out an outage for its whole budget has
# run steadily, so an outage alone never gets here.
_GIVE_UP_FAULTS: Final = 5
_LOOP_FAULTS: Final = 3
_LAST_LINES: Final = 15
_WRONG_SETTINGS: Final = 2


def run_workers(count: int, variables: Mapping[str, str]) -> int:
    """Run until told to stop.

    Returns 0 after SIGTERM or SIGINT when all stopped by themselves; 1 when one had to be killed, or when all die again and
    again.

    Raises:
        InvalidInput: the settings are wrong.
    """
    settings = Settings.from_env(variables)
    configure_logging(settings.log_format)
    workers = [Worker(environment, settings.log_format) for environment in environments(settings, count)]
    with stop_signals() as stop:
        try:
            for worker in workers:
                worker.start()
            logger.info("workers started count=%d", count)
            while not stop.wait(_LOOK_SECONDS):
                if any(worker.beyond_help for worker in workers):
                    return _WRONG_SETTINGS
                for worker in workers:
                    _supervise(worker)
                if all(worker.pid is None and worker.faults >= _GIVE_UP_FAULTS for worker in workers):
                    logger.error("all workers die again and again, giving up")
                    for worker in workers:
                        print(f"{worker.name} ended with:\n{worker.last_words}", file=sys.stderr)
                    return 1
        finally:
            clean = _stop(workers)
    return 0 if clean else 1


def environments(settings: Settings, count: int) -> list[dict[str, str]]:
    """What each worker is told beside the common settings: a name, and where its metrics are.

    Raises:
        InvalidInput: there are not as many ports.
    """
    first = settings.metrics_port
    if first and first + count - 1 > 65535:
        raise InvalidInput(
            f"SCORES_STREAMS_METRICS_PORT is {first}; {count} workers need as many ports from there on, up to 65535"
        )
    return [
        {
            "SCORES_INSTANCE_ID": f"{settings.instance_id}-{number}",
            "SCORES_STREAMS_METRICS_PORT": str(first + number if first else 0),
        }
        for number in range(count)
    ]


class Worker(Supervised):
    """One worker; what it says goes to our own standard error."""

    def __init__(self, environment: Mapping[str, str], log_format: str) -> None:
        name = environment["SCORES_INSTANCE_ID"]
        super().__init__(name, COMMANDS["streams"][1:], environment, Path(os.devnull))
        # A line of JSON must stay one.
        self._prefix = f"{name}: ".encode() if log_format == "text" else b""
        self.last_words = ""

    def _spawn(self, command: Sequence[str]) -> Child:
        return _Relayed(self.name, command, self._environment, self._prefix)

    def _how_it_ended(self, child: Child) -> str:
        self.last_words = child.last_lines(_LAST_LINES)  # they have been passed on already
        return f"{self.name} ended with status {child.exit_status}"


class _Relayed(Child):
    """A child whose output is passed on line by line; the last lines are remembered."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], prefix: bytes) -> None:
        self._prefix = prefix
        self._lines: deque[bytes] = deque(maxlen=_LAST_LINES)
        super().__init__(name, argv, cwd=Path.cwd(), log=Path(os.devnull), env=environment)

    def last_lines(self, count: int = _LAST_LINES) -> str:
        """The end of its output."""
        return b"".join(list(self._lines)[-count:]).decode(errors="replace").rstrip("\n")

    def _start(self) -> subprocess.Popen[bytes]:
        return self._popen(subprocess.PIPE)

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self._lines.append(line)
                # One write, so that lines of several workers do not mix.
                os.write(sys.stderr.fileno(), self._prefix + line)
        process.wait()


def _supervise(worker: Worker) -> None:
    told = worker.supervise()
    if told:
        message = told.replace("\n", "; ")
        loop = worker.faults >= _LOOP_FAULTS
        logger.log(
            logging.ERROR if loop else logging.WARNING,
            "%s restarts=%d faults_in_a_row=%d%s",
            message,
            worker.restarts,
            worker.faults,
            " it is restarted in a loop" if loop else "",
        )


def _stop(workers: Sequence[Worker]) -> bool:
    """Stop all at once; whether they ended by themselves, without a fault."""
    running = [worker for worker in workers if worker.pid is not None]
    for worker in running:
        worker.ask_to_stop(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for worker in running:
        worker.wait_or_kill(deadline)
    logger.info("workers stopped")
    return all(worker.exit_status == 0 for worker in running)
