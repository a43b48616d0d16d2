"""The frames of a stream, typed. Fields and events that are not known here are passed over."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from consumers.live.errors import FrameUnreadable
from schemas.figures import Figures


class WholeOrganization(Struct, frozen=True):
    """All cells of one organization."""

    id: str
    name: str
    level: str
    cells: list[Figures]


class ChangedCells(Struct, frozen=True):
    """The changed cells of one organization, each whole."""

    id: str
    cells: list[Figures]


class Put(Struct, frozen=True):
    """Replaces everything of the organizations that it names."""

    generation: str
    as_of: datetime
    organizations: list[WholeOrganization]
    stale: bool = False


class Patch(Struct, frozen=True):
    """Cells that changed."""

    as_of: datetime
    organizations: list[ChangedCells]
    stale: bool = False


class Progress(Struct, frozen=True):
    """How far the data are complete (None: not known) and how far they were read; whether they move, and lack older results."""

    complete: datetime | None
    as_of: datetime | None
    live: bool
    stale: bool = False


class Subscribed(Struct, frozen=True, kw_only=True):
    """What the stream is about, as soon as it is open and after every change of that."""

    stream: str
    topics: list[str]
    organizations: int
    expires: datetime
    tests: list[str] | None = None
    grades: list[str] | None = None
    years: list[int] | None = None
    dropped: list[str] = []

    def subject(self) -> tuple[object, ...]:
        """Topics and filters; two frames with the same are about the same."""
        return self.topics, self.tests, self.grades, self.years


class Challenge(Struct, frozen=True):
    """The token is about to expire; a fresh one sent to ``renew`` keeps the stream open."""

    expires: datetime
    renew: str


class Bye(Struct, frozen=True):
    """The last frame."""

    reason: str
    reconnect: bool
    retry_ms: int


Frame = Put | Patch | Progress | Subscribed | Challenge | Bye

_DECODERS: Final[dict[str, msgspec.json.Decoder[Frame]]] = {
    event: msgspec.json.Decoder(kind)
    for event, kind in {
        "put": Put,
        "patch": Patch,
        "progress": Progress,
        "subscribed": Subscribed,
        "challenge": Challenge,
        "bye": Bye,
    }.items()
}


def decode(event: str, data: str) -> Frame | None:
    """The frame of one event; None for an event that is not known here.

    Raises:
        FrameUnreadable: the data are not what this event carries.
    """
    decoder = _DECODERS.get(event)
    if decoder is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise FrameUnreadable(f"a frame '{event}' cannot be read: {error}") from error
