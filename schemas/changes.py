"""The change notice of one applied batch: which cells changed, by organization.

It names cells and carries no values: whoever is told reads the cells, which are absolute and versioned, and so gets the
newest value however many notices there were. Carrying values would write every cell twice and keep old ones in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

CHANGES_FIELD: Final = b"cells"  # the stream entry's one field

# Notices older than a thousand writes help nobody: a reader that far behind reads the cells anew. A replay's notices are
# long, and only so many bytes of them are worth keeping.
_KEPT_AT_MOST: Final = 1_000
_KEPT_BYTES: Final = 2_000_000
_KEPT_AT_LEAST: Final = 20

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, list[str]])


def encode_changes(cells: Mapping[str, Sequence[str]]) -> bytes:
    """Cell fields by CDS code, packed."""
    return _encoder.encode(cells)


def decode_changes(packed: bytes) -> dict[str, list[str]]:
    """The inverse of ``encode_changes``."""
    return _decoder.decode(packed)


def notices_kept(size: int) -> int:
    """How many notices a stream keeps to which one of ``size`` bytes is added."""
    return max(_KEPT_AT_LEAST, min(_KEPT_AT_MOST, _KEPT_BYTES // max(1, size)))
