"""Thousands of subscribers in one process of their own; this is its handle, ``bench.push_reading`` the process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from bench.push_reading import Address, Opened, Received, serve


class Readers:
    """The process of the readers, running inside ``with``."""

    def __init__(self, address: Address, *, keep_ids: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, address, keep_ids), daemon=True)
        self._process.start()

    def open(self, requests: Sequence[bytes], *, at_once: int, version: int | None = None) -> Opened:
        """Open a stream for each request, so many at a time; it stands with its headers, or with that version."""
        opened: Opened = self._ask(("open", list(requests), at_once, version))
        return opened

    def resume(self, requests: Sequence[bytes], *, version: int) -> Opened:
        """Open all anew at once, each from the last id that its predecessor got."""
        opened: Opened = self._ask(("resume", list(requests), version))
        return opened

    def count(self) -> None:
        """Count from now on."""
        self._ask(("count",))

    def events(self) -> int:
        """How many events came up to now."""
        events: int = self._ask(("seen",))
        return events

    def received(self, newest: int = 0) -> Received:
        """What came up to now, ``newest`` being the number of the last event that was made."""
        received: Received = self._ask(("received", newest))
        return received

    def cut(self) -> None:
        """Close all streams."""
        self._ask(("cut",))

    def _ask(self, command: tuple[Any, ...]) -> Any:
        self._pipe.send(command)
        return self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()
