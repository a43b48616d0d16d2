"""What one applied batch tells: the change notice, which names the cells that changed, and the notes on results.

The notice names cells and carries no values: whoever is told reads the cells, which are absolute and versioned, and so gets
the newest value however many notices there were. Carrying values would write every cell twice and keep old ones in memory.

Notes are of exams that were rescored or count no more, for the relay alone, which removes what Kafka has. They name the exam
and the school: no score, and nothing of the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.identifiers import OrganizationId

CHANGES_FIELD: Final = b"cells"  # the stream entry's one field
RESULTS_FIELD: Final = b"results"  # of an entry with notes, beside the time of the batch:
CHANGED_FIELD: Final = b"changed_ms"

# Rescores of a season; were no relay to take them for so long, the oldest would go rather than the tables' memory.
RESULT_ENTRIES_KEPT: Final = 100_000

# Notices older than a thousand writes help nobody: a reader that far behind reads the cells anew. A replay's notices are
# long, and only so many bytes of them are worth keeping.
_KEPT_AT_MOST: Final = 1_000
_KEPT_BYTES: Final = 2_000_000
KEPT_AT_LEAST: Final = 20

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, list[str]])


class ResultNote(Struct, frozen=True, array_like=True):
    """One exam whose counted result is another now, or counts no more."""

    offset: int  # of the event
    kind: Literal["rescored", "invalidated"]
    school: OrganizationId  # where it counts, or did
    assessment_id: str
    opportunity_id: str
    school_year: int
    status_date: str


_decode_notes: Final = msgspec.msgpack.Decoder(list[ResultNote]).decode


def encode_changes(cells: Mapping[str, Sequence[str]]) -> bytes:
    """Cell fields by CDS code, packed."""
    return _encoder.encode(cells)


def decode_changes(packed: bytes) -> dict[str, list[str]]:
    """The inverse of ``encode_changes``."""
    return _decoder.decode(packed)


def encode_notes(notes: Sequence[ResultNote]) -> bytes:
    """The notes of one batch, packed."""
    return _encoder.encode(notes)


def decode_notes(packed: bytes) -> list[ResultNote]:
    """The inverse of ``encode_notes``."""
    return _decode_notes(packed)


def notices_kept(size: int) -> int:
    """How many notices a stream keeps to which one of ``size`` bytes is added."""
    return max(KEPT_AT_LEAST, min(_KEPT_AT_MOST, _KEPT_BYTES // max(1, size)))
