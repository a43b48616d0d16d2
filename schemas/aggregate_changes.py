"""What the relay publishes to Kafka: cells and results that changed, for webhooks, warehouses, and whoever else wants them.

Three topics, keyed so that a partition has one organization's changes in their order:

    aggregate-changes.v1   <cds>/<cell>  every cell as it is now, exact: for readers inside the deployment only
    published-changes.v1   <cds>/<cell>  every published cell as it is now, after disclosure control
    result-changes.v1      <cds>         exams that were rescored, or count no more; identifiers only

The first two are compacted: whoever reads them from the beginning has every cell. Values are absolute and versioned, so a
repeated record changes nothing, and whoever is behind needs only the last one.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.aggregates import CellField
from schemas.figures import Figures
from schemas.identifiers import OrganizationId

CELL_CHANGE_TYPE: Final = "scores.aggregate-change.v1"
PUBLISHED_CHANGE_TYPE: Final = "scores.published-change.v1"
RESULT_CHANGE_TYPE: Final = "scores.result-change.v1"


class CellChange(Struct, frozen=True, kw_only=True):
    """One cell as it is now; ``figures`` is null when it has no results any more, or is published no more."""

    organization: OrganizationId
    cell: CellField
    generation: Annotated[
        str,
        Meta(
            description="of the tables; versions of different ones do not compare. Empty for published cells"
        ),
    ]
    version: int
    changed_ms: Annotated[int, Meta(description="when it changed, by the clock of the tables")]
    figures: Figures | None
    preliminary: bool = True


class ResultChange(Struct, frozen=True, kw_only=True):
    """One exam whose counted result is another now. Identifiers only: no score, and nothing of the student."""

    id: Annotated[
        str, Meta(description="<partition>-<offset> of the event in exam-results.v1: repeats have the same")
    ]
    kind: Literal["rescored", "invalidated"]
    organization: Annotated[
        OrganizationId, Meta(description="rescored: the school where it counts; invalidated: where it did")
    ]
    assessment_id: str
    opportunity_id: str
    school_year: int
    status_date: str
    changed_ms: int
    preliminary: bool = True


_decode_cell = msgspec.json.Decoder(CellChange).decode
_decode_result = msgspec.json.Decoder(ResultChange).decode
_encode = msgspec.json.Encoder().encode


def encode_change(change: CellChange | ResultChange) -> bytes:
    """A record's value."""
    return _encode(change)


def decode_cell_change(value: bytes) -> CellChange:
    """The value of a record of ``aggregate-changes.v1`` or ``published-changes.v1``.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_cell(value)


def decode_result_change(value: bytes) -> ResultChange:
    """The value of a record of ``result-changes.v1``.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_result(value)
