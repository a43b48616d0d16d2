"""Plain curl in a shell loop, as somebody has it who has nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

from tests.watching.clients import Followed
from tests.watching.seen import END, EVENTS, GAVE_UP, OPEN, Blocks, Seen

_LOOP: Final = Path(__file__).with_name("follow_with_curl.sh")
_REFUSED: Final = b"22"  # curl's exit status for a status of 400 and above


class CurlClient:
    """Each stream in a shell of its own, its output read in a thread."""

    def __init__(self, gateway: str, token: str, followed: Sequence[Followed]) -> None:
        self._gateway = gateway
        self._environment = {**os.environ, "TOKEN": token}
        self._followed = followed
        self._shells: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for followed in self._followed:
            shell = subprocess.Popen(
                ["bash", str(_LOOP), followed.watch.url(self._gateway)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,  # so that the shell's curl ends with it
            )
            assert shell.stdout is not None
            reader = threading.Thread(target=_read, args=(shell.stdout, followed), name="curl", daemon=True)
            reader.start()
            self._shells.append(shell)
            self._threads.append(reader)
        return self

    def __exit__(self, *error: object) -> None:
        for shell, reader in zip(self._shells, self._threads, strict=True):
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait(10)
            reader.join(10)


def _read(output: IO[bytes], followed: Followed) -> None:
    blocks, begun = Blocks(), False
    with output:
        for raw in output:
            line, now = raw.removesuffix(b"\n"), time.time()
            if line == b"--- begins":
                blocks, begun = Blocks(), False
            elif line.startswith(b"--- ended"):
                if line.endswith(_REFUSED):
                    followed.take(Seen(now, GAVE_UP, line.decode()))
                followed.take(Seen(now, END))
            else:
                if not begun and line:
                    begun = True
                    followed.take(Seen(now, OPEN))
                seen = blocks.line(line.decode(), now)
                if seen is not None and seen.what in EVENTS:
                    followed.take(seen)
