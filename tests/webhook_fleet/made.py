"""What the streams have made: every version of every cell, and when."""

from __future__ import annotations

import threading
from typing import NamedTuple

CellAddress = tuple[str, str]  # organization, cell


class MadeCell(NamedTuple):
    """One cell: when each of its versions was made; the first has version 1."""

    moments: list[float]

    @property
    def version(self) -> int:
        """The latest."""
        return len(self.moments)


class Made:
    """Filled by the producer before the tables change, so nobody is told of a version that is not in here."""

    def __init__(self) -> None:
        self._cells: dict[CellAddress, MadeCell] = {}
        self._lock = threading.Lock()

    def add(self, organization: str, cell: str, moment: float) -> int:
        """One more version; returns its number."""
        with self._lock:
            made = self._cells.setdefault((organization, cell), MadeCell([]))
            made.moments.append(moment)
            return made.version

    def moments(self, organization: str, cell: str) -> list[float]:
        """When each version of a cell was made; none of a cell that never was."""
        found = self._cells.get((organization, cell))
        return [] if found is None else found.moments

    def latest(self) -> dict[CellAddress, int]:
        """The latest version of every cell."""
        with self._lock:
            return {address: made.version for address, made in self._cells.items()}
