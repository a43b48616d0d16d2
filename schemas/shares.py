"""A partition's share of a cell: as the worker keeps it, and as it stands in Redis.

A share has two parts, which add up. *Recent* results are a list of contributions, four bytes each; when there are many they
are *settled*: added to a ``Cell`` of totals, and the list begins anew. Most shares are a handful of students, a school's grade spread
over the partitions, and never have totals. A change writes the recent part, which is short, and the totals only when they
changed too: so a result costs as much in a cell of ten thousand students as in one of ten.

Each part is a field of its own in the organization's hash, the recent one under the cell's name, the settled one under
``settled_field``. A stored part is when the share last changed (8 bytes, Redis time), then a packed cell of totals (format 1 or 3,
see ``schemas.aggregates``; its version is 0) for the settled part, and for the recent one, little-endian::

    u8 format (2) | u32 version | contributions, in no order, u32 each
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from schemas.aggregates import FORMATS, Cell, CellField, Contribution, unpack_cell
from schemas.byte_order import little_endian, native
from schemas.errors import AggregateUnderflow, InvalidInput

# More would make every change longer, fewer would settle more often; a cell of a school's grade should not need totals at all.
RECENT_AT_MOST: Final = 48

_SETTLED: Final = ":settled"
_RECENT: Final = 2
_HEAD: Final = struct.Struct("<BI")
_CHANGED: Final = struct.Struct(">d")  # a double holds milliseconds exactly, and is what the script can pack


class Share:
    """One partition's part of one cell; ``apply`` and ``retract`` undo each other exactly.

    ``version`` is how often the share changed. ``recent`` is what was added since it was last settled: appending to it adds a result.
    ``name`` is for the one who changes it: which cell it belongs to.
    """

    __slots__ = ("_settled", "_stored", "name", "recent", "version")

    def __init__(self) -> None:
        self.name: Any = None
        self.version = 0
        self.recent: array[int] = array("I")
        self._settled: Cell | None = None
        self._stored = True  # what is settled stands in Redis as it is here

    def __repr__(self) -> str:
        return f"Share(recent={len(self.recent)}, settled={self._settled}, version={self.version})"

    def apply(self, part: Contribution) -> None:
        """Add one result."""
        self.recent.append(part)

    def retract(self, part: Contribution) -> None:
        """Remove one result that was applied before.

        Raises:
            AggregateUnderflow: no such result is in the share.
        """
        self._settle_many()  # which would be long to search
        try:
            self.recent.remove(part)
        except ValueError:
            if self._settled is None:
                raise AggregateUnderflow(
                    "no such result is left to retract; rebuild from the topic"
                ) from None
            self._settled.retract(part)
            self._stored = False

    def totals(self) -> Cell:
        """The share as a cell of its own."""
        cell = Cell()
        self.add_to(cell)
        return cell

    def add_to(self, cell: Cell) -> None:
        """Add this share, its version too, to a cell that sums up shares."""
        if self._settled is not None:
            cell.merge(self._settled)
        cell.apply_all(self.recent)
        cell.version += self.version

    def pack(self, *, whole: bool = False) -> tuple[bytes, bytes | None]:
        """The stored forms of the recent and the settled part, without the time that the script puts before them.

        The settled one is None when there is none, or when it is what was packed or read last, unless the ``whole`` is asked for.
        """
        self._settle_many()
        recent = _HEAD.pack(_RECENT, self.version) + little_endian(self.recent)
        if self._settled is None or (self._stored and not whole):
            return recent, None
        self._stored = True
        return recent, self._settled.pack()

    def _settle_many(self) -> None:
        if len(self.recent) <= RECENT_AT_MOST:
            return
        if self._settled is None:
            self._settled = Cell()
        self._settled.apply_all(self.recent)
        self.recent = array("I")
        self._stored = False


def unpack_share(recent: bytes, settled: bytes | None = None) -> Share:
    """The inverse of ``Share.pack``.

    Raises:
        InvalidInput: the bytes are not the parts of a share of a known format; a rebuild is due after a change of format.
    """
    share = Share()
    share.version, share.recent = _unpack_recent(recent)
    if settled is not None:
        share._settled = unpack_cell(settled)
    return share


def stored_share(recent: bytes, settled: bytes | None) -> Share:
    """A share as its parts stand in Redis."""
    return unpack_share(recent[_CHANGED.size :], None if settled is None else settled[_CHANGED.size :])


@lru_cache(maxsize=16_384)  # of every year, test and grade that occurs
def settled_field(field: CellField) -> str:
    """Where the settled part of a share stands; the recent one stands under the cell's name."""
    return field + _SETTLED


def stored_fields(fields: Sequence[CellField]) -> list[str]:
    """Where the parts of some shares stand: first all recent ones, then the settled ones in the same order."""
    return [*fields, *map(settled_field, fields)]


def cell_of_part(stored_field: bytes) -> CellField:
    """Which cell a stored part belongs to."""
    return CellField(stored_field.decode().removesuffix(_SETTLED))


def changed_ms_of(value: bytes) -> int:
    """When the share of a stored part changed, the part with it: milliseconds since 1970, Redis time."""
    changed: float = _CHANGED.unpack_from(value)[0]
    return int(changed)


def add_stored(cell: Cell, value: bytes) -> int:
    """Add a stored part, whichever, to a cell that sums up shares; returns when it last changed.

    Raises:
        InvalidInput: the bytes are not a part of a share of a known format.
    """
    packed = value[_CHANGED.size :]
    if packed and packed[0] in FORMATS:
        cell.merge(unpack_cell(packed))
    else:
        version, recent = _unpack_recent(packed)
        cell.apply_all(recent)
        cell.version += version
    return changed_ms_of(value)


def stored_cell(*values: bytes | None) -> tuple[int, Cell]:
    """The sum of some stored parts, those that are there, and when the latest of them changed."""
    cell = Cell()
    return max((add_stored(cell, value) for value in values if value is not None), default=0), cell


def _unpack_recent(packed: bytes) -> tuple[int, array[int]]:
    try:
        layout, version = _HEAD.unpack_from(packed)
        if layout != _RECENT:
            raise ValueError(layout)
        recent: array[int] = array("I")
        recent.frombytes(packed[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are not a share of a cell; rebuild the tables"
        ) from error
    return version, native(recent)
