"""What a receiver keeps of one request."""

from __future__ import annotations

from typing import NamedTuple


class ToldCell(NamedTuple):
    """One cell of a message; ``results`` where the payload is full."""

    cell: str
    version: int
    results: int | None


class Receipt(NamedTuple):
    """One attempt of one message, as it came in."""

    at: float  # seconds since 1970
    endpoint: str
    message: str  # its id
    digest: bytes  # of the body
    accepted: bool  # whether it is answered with 2xx
    type: str
    organization: str = ""
    cells: tuple[ToldCell, ...] = ()
    fault: str = ""  # what was wrong with it
