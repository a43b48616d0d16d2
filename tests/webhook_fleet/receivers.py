"""The handle of the process of receivers."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.receipts import Receipt
from tests.webhook_fleet.receiving import Hook, serve


class Receivers:
    """Receivers on 127.0.0.1, in one process of their own, running inside ``with``. Any thread may ask."""

    def __init__(self, seed: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._lock = threading.Lock()
        self._process = context.Process(target=serve, args=(theirs, seed), daemon=True)
        self._process.start()
        theirs.close()

    def open(self, hooks: Sequence[Hook]) -> dict[str, int]:
        """Listen for each endpoint; returns the ports of all."""
        ports: dict[str, int] = self._ask("open", list(hooks))
        return ports

    def behave(self, conduct: Mapping[str, Conduct]) -> None:
        """From now on these endpoints answer like that."""
        self._ask("conduct", dict(conduct))

    def take(self) -> list[Receipt]:
        """What came in since the last call, in the order of its coming."""
        receipts: list[Receipt] = self._ask("take")
        return receipts

    def count(self) -> int:
        """How many requests came up to now."""
        requests: int = self._ask("count")
        return requests

    def _ask(self, *command: Any) -> Any:
        with self._lock:
            self._pipe.send(command)
            return self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()
