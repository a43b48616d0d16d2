"""Which rows certainly do not exist yet, so that a replay need not ask for them.

Tables that were empty when a partition was claimed hold what this claim wrote, and nothing else: there is one writer. So the
worker can remember what it has seen. One bit a slot and one slot a unit: after a million units one look in thirty asks Redis
without need; none ever skips a row that is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SLOTS: Final = 1 << 25  # 4 MB for each partition that is replayed from the beginning


class Newcomers:
    """Remembers units; only for a partition whose tables were empty when it was claimed."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = bytearray(_SLOTS >> 3)

    def perhaps_stored(self, units: Iterable[bytes]) -> list[bytes]:
        """Those of ``units`` that may have a row; all are known from now on."""
        seen = self._seen
        perhaps = []
        for unit in units:
            slot = hash(unit) & _SLOTS - 1
            eight, bit = seen[slot >> 3], 1 << (slot & 7)
            if eight & bit:
                perhaps.append(unit)
            else:
                seen[slot >> 3] = eight | bit
        return perhaps
