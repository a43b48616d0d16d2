"""The npm package ``eventsource`` in node, installed from the lock file into a folder of the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Self

from cli.stack.child import ServerFailed
from tests.watching.clients import Followed
from tests.watching.seen import EVENTS, Seen

_SOURCES: Final = Path(__file__).parents[1] / "node"
_INSTALL_SECONDS: Final = 180.0


def installed(folder: Path) -> Path:
    """A copy of ``tests/node`` in ``folder``, with its packages.

    Raises:
        ServerFailed: npm could not install them.
    """
    place = folder / "node"
    shutil.copytree(_SOURCES, place, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise ServerFailed(f"npm could not install what {_SOURCES} locks: {done.stderr.strip()[-1_000:]}")
    return place


class NodeClient:
    """One process for all its streams; it prints each event as a line of JSON.

    Args:
        folder: as from ``installed``.
    """

    def __init__(self, gateway: str, token: str, followed: Sequence[Followed], folder: Path) -> None:
        self._followed = followed
        self._folder = folder
        self._watched = {
            "token": token,
            "addresses": [one.watch.url(gateway) for one in followed],
            "events": EVENTS,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        with (self._folder / "errors.txt").open("wb") as errors:
            self._process = subprocess.Popen(
                ["node", "watch.mjs"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "WATCHED": json.dumps(self._watched)},
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="node", daemon=True
        )
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None and self._reader is not None
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                told = json.loads(line)
                seen = Seen(told["at"] / 1000, told["what"], told["data"], told["id"])
                self._followed[told["stream"]].take(seen)
