"""One published cell, as the publisher stores it and gateways read it."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from schemas.aggregates import Cell, unpack_cell
from schemas.errors import InvalidInput

FORMAT: Final = 1
_STAMP: Final = Struct(">dI")  # a double holds milliseconds exactly, and is what a script can pack
STAMP_BYTES: Final = _STAMP.size
_FORMAT: Final = bytes([FORMAT])
_CELL_AT: Final = STAMP_BYTES + len(_FORMAT)


class PublishedCell(NamedTuple):
    """What viewers without individual access see of one organization's cell; None is shown as ``suppressed``.

    A cell that is shown has ``results`` equal to ``with_scores``, no appeals and no histogram; its ``score_sum`` is for the
    rounded mean and never leaves the process.
    """

    version: int  # how often this cell was published, from 1; stands still while it is suppressed
    changed_ms: int  # when it was published last, Redis time
    cell: Cell | None


def pack_published(published: PublishedCell) -> bytes:
    """The stored form, big-endian: when it was published (f64), version (u32), format (u8), then the packed cell, if any.

    The first two stand in front so that the script that writes them can put them there: it alone knows both.
    """
    cell = published.cell
    stamp = _STAMP.pack(published.changed_ms, published.version)
    return stamp + _FORMAT + (b"" if cell is None else cell.pack())


def unpack_published(packed: bytes) -> PublishedCell:
    """The published cell of a stored form.

    Raises:
        InvalidInput: the bytes are no published cell of this format; let the publisher write its tables anew.
    """
    if packed[STAMP_BYTES:_CELL_AT] != _FORMAT:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are no published cell of format {FORMAT}; "
            "publish the tables anew"
        )
    changed_ms, version = _STAMP.unpack_from(packed)
    cell = unpack_cell(packed[_CELL_AT:]) if len(packed) > _CELL_AT else None
    return PublishedCell(version, int(changed_ms), cell)
