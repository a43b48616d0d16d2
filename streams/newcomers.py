"""Which rows certainly do not exist yet, so that a replay need not ask for them.

Tables that were empty when a partition was claimed hold what this claim wrote, and nothing else: there is one writer. So the
worker can remember what it has seen: three bits of one 16-bit word for each unit (a Bloom filter in blocks, which touches
memory once). After a million units one look in 150 asks Redis without need; none ever skips a row that is there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import combinations
from typing import Final

_WORDS: Final = 1 << 21  # 4 MB for each partition that is replayed from the beginning
_MARKS: Final = tuple(1 << a | 1 << b | 1 << c for a, b, c in combinations(range(16), 3))[:512]
_MARK_AT: Final = 21  # bits of a hash that no word's number takes


class Newcomers:
    """Remembers units; only for a partition whose tables were empty when it was claimed."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = array("H", bytes(2 * _WORDS))

    def perhaps_stored(self, units: Iterable[bytes]) -> list[bytes]:
        """Those of ``units`` that may have a row; all are known from now on."""
        seen = self._seen
        perhaps = []
        for unit in units:
            number = hash(unit)
            word, mark = number & _WORDS - 1, _MARKS[number >> _MARK_AT & 511]
            marked = seen[word]
            if marked & mark == mark:
                perhaps.append(unit)
            else:
                seen[word] = marked | mark
        return perhaps
