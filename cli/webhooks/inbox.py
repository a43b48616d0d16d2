"""What a receiver of webhooks makes of a delivery: verified or not, new or not, the answer to the confirmation. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

from schemas.errors import InvalidInput
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.payload_types import AggregateUpdated, ChangedCell, EndpointPing, Payload, read_payload
from schemas.webhooks.secrets import VerifyingKey
from schemas.webhooks.signing import NotVerified, verify

_IDS_KEPT: Final = 100_000  # some 15 MB; a receiver that matters keeps them in its database

_CellKey = tuple[str, int, str, str]  # organization, school year, test, grade

Keys = Callable[[], Sequence[VerifyingKey]]


class Outcome(StrEnum):
    """What became of a delivery."""

    TAKEN = "taken"
    CONFIRMED = "confirmed"  # the address wants webhooks
    AGAIN = "again"  # the same message was taken before
    OLDER = "older"  # all of its figures are older than what is known
    UNKNOWN = "unknown"  # signed, and of a kind that this version cannot read
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery and its answer.

    Attributes:
        newer: of an ``aggregate.updated``, the cells that are later than what was known.
        reason: why it was refused; for people at this terminal, never for the sender.
    """

    outcome: Outcome
    status: int
    received: float  # seconds since 1970
    message: str = ""
    payload: Payload | None = None
    newer: tuple[ChangedCell, ...] = ()
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # of the answer


def refused(reason: str, status: HTTPStatus, *, now: float) -> Delivery:
    """A delivery that is not believed."""
    return Delivery(Outcome.REFUSED, status, now, reason=reason)


class Inbox:
    """Remembers what came, in memory: each message counts once, and older figures never replace later ones."""

    def __init__(self, keys: Keys) -> None:
        """``keys`` is asked at each delivery: there may be another one by then. It raises InvalidInput when one is none."""
        self._keys = keys
        self._seen: dict[str, None] = {}
        self._latest: dict[_CellKey, tuple[int, str]] = {}

    def take(self, headers: Mapping[str, str], body: bytes, *, now: float) -> Delivery:
        """Judge one delivery. Never raises for what was sent."""
        try:
            keys = self._keys()
        except InvalidInput as error:
            return refused(str(error), HTTPStatus.SERVICE_UNAVAILABLE, now=now)
        if not keys:
            return refused("there is no secret yet", HTTPStatus.SERVICE_UNAVAILABLE, now=now)
        try:
            message = verify(keys, headers, body, now=now)
        except NotVerified as error:
            return refused(str(error), HTTPStatus.UNAUTHORIZED, now=now)
        try:
            payload = read_payload(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # Signed, so it is no attack; a type that comes with a later version is no reason to have it sent for days.
            return Delivery(Outcome.UNKNOWN, HTTPStatus.NO_CONTENT, now, message)
        if isinstance(payload, EndpointPing) and payload.data.confirmation:
            answer = {CONFIRMATION_HEADER: payload.data.confirmation}
            return Delivery(Outcome.CONFIRMED, HTTPStatus.NO_CONTENT, now, message, payload, headers=answer)
        if message in self._seen:
            return Delivery(Outcome.AGAIN, HTTPStatus.NO_CONTENT, now, message, payload)
        self._remember(message)
        newer = self._newer(payload) if isinstance(payload, AggregateUpdated) else ()
        late = isinstance(payload, AggregateUpdated) and not newer
        return Delivery(
            Outcome.OLDER if late else Outcome.TAKEN, HTTPStatus.NO_CONTENT, now, message, payload, newer
        )

    def _remember(self, message: str) -> None:
        self._seen[message] = None
        if len(self._seen) > _IDS_KEPT:
            del self._seen[next(iter(self._seen))]

    def _newer(self, payload: AggregateUpdated) -> tuple[ChangedCell, ...]:
        newer = []
        for cell in payload.data.cells:
            name = payload.data.organization.id, cell.school_year, cell.test, cell.grade
            known = self._latest.get(name)
            # Versions may begin anew with tables that are built anew; then the time is later.
            if known is None or cell.version > known[0] or cell.changed > known[1]:
                self._latest[name] = cell.version, cell.changed
                newer.append(cell)
        return tuple(newer)
