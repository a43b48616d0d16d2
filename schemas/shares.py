"""A partition's share of a cell: as the worker keeps it, and as it stands in Redis.

Nearly every share is a handful of students: a school's grade, spread over the partitions. So a share lists its students'
contributions, four bytes each, while they are few, and becomes a ``Cell`` of totals when they are many. Adding a student
to a list costs a fraction of adding him to totals, and so does packing it; readers see totals either way.

Stored form: when the share last changed (8 bytes, Redis time), then either a packed cell of totals (format 1 or 3, see
``schemas.aggregates``) or, little-endian::

    u8 format (2) | u32 version | contributions, in no order, u32 each
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Any, Final

from schemas.aggregates import FORMATS, Cell, Contribution, unpack_cell
from schemas.byte_order import little_endian, native
from schemas.errors import AggregateUnderflow, InvalidInput

# Beyond this many the totals are about as short. Lists that long are still quicker to change, and slower to read.
LISTED_AT_MOST: Final = 96

_LISTED: Final = 2
_HEAD: Final = struct.Struct("<BI")
_CHANGED: Final = struct.Struct(">d")  # a double holds milliseconds exactly, and is what the script can pack
_NO_CELL: Final = Cell()  # stands where a share lists its students; never changed


class Share:
    """One partition's part of one cell; ``apply`` and ``retract`` undo each other exactly.

    ``version`` is how often the share changed. ``name`` is for the one who changes it: which cell it belongs to.
    """

    __slots__ = ("_cell", "_listed", "name", "version")

    def __init__(self) -> None:
        self.name: Any = None
        self.version = 0
        self._listed: array[int] | None = array("I")
        self._cell = _NO_CELL

    def __repr__(self) -> str:
        return f"Share(results={self.results}, version={self.version})"

    @property
    def results(self) -> int:
        """Students with a live result."""
        return self._cell.results if self._listed is None else len(self._listed)

    def apply(self, part: Contribution) -> None:
        """Add one result."""
        self.apply_all((part,))

    def apply_all(self, parts: Sequence[Contribution]) -> None:
        """Add some results."""
        if self._listed is None:
            self._cell.apply_all(parts)
        else:
            self._listed.extend(parts)

    def retract(self, part: Contribution) -> None:
        """Remove one result that was applied before.

        Raises:
            AggregateUnderflow: no such result is in the share.
        """
        listed = self._listed
        if listed is None:
            self._cell.retract(part)
            return
        try:
            listed.remove(part)
        except ValueError:
            raise AggregateUnderflow("no such result is left to retract; rebuild from the topic") from None

    def totals(self) -> Cell:
        """The share as a cell of its own."""
        cell = Cell()
        self.add_to(cell)
        return cell

    def add_to(self, cell: Cell) -> None:
        """Add this share, its version too, to a cell that sums up shares."""
        if self._listed is None:
            self._cell.version = self.version
            cell.merge(self._cell)
            return
        cell.apply_all(self._listed)
        cell.version += self.version

    def pack(self) -> bytes:
        """The stored form, without the time that the script puts before it."""
        listed = self._listed
        if listed is not None and len(listed) > LISTED_AT_MOST:
            self._cell, self._listed, listed = self.totals(), None, None
        if listed is None:
            self._cell.version = self.version
            return self._cell.pack()
        return _HEAD.pack(_LISTED, self.version) + little_endian(listed)


def unpack_share(packed: bytes) -> Share:
    """The inverse of ``Share.pack``.

    Raises:
        InvalidInput: the bytes are not a share of a known format; a rebuild is due after a change of format.
    """
    share = Share()
    if packed and packed[0] in FORMATS:
        cell = unpack_cell(packed)
        share._listed, share._cell, share.version = None, cell, cell.version
        return share
    try:
        layout, share.version = _HEAD.unpack_from(packed)
        if layout != _LISTED:
            raise ValueError(layout)
        listed: array[int] = array("I")
        listed.frombytes(packed[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are not a share of a cell; rebuild the tables"
        ) from error
    share._listed = native(listed)
    return share


def stored_share(value: bytes) -> tuple[int, Share]:
    """A share as it stands in Redis: when it last changed (milliseconds since 1970, Redis time), and itself."""
    return int(_CHANGED.unpack_from(value)[0]), unpack_share(value[_CHANGED.size :])


def add_stored(cell: Cell, value: bytes) -> int:
    """Add a stored share to a cell that sums up shares; returns when it last changed."""
    changed_ms, share = stored_share(value)
    share.add_to(cell)
    return changed_ms


def stored_cell(value: bytes) -> tuple[int, Cell]:
    """A stored share as totals of its own, and when it last changed."""
    cell = Cell()
    return add_stored(cell, value), cell
