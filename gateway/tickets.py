"""One-use tickets: how a page of another origin opens a stream with EventSource, which can send neither header nor cookie.

A ticket is 256 random bits; Redis keeps its hash and what it opens. Its life:

1. *Issued* to whoever has a token, for one subscription; good for ``FRESH_SECONDS``.
2. *Redeemed* by the first connection that brings it, and by no other: it is read and deleted in one step.
3. From then on it serves only the reconnects of that stream, which EventSource makes with the address of before: they
   bring a Last-Event-ID, come from the address that redeemed it, and are within the longest time that a stream lives,
   counted from the redemption. Afterwards the page asks for a new ticket.

Whoever finds a ticket in a log finds a spent one, of use at the same network address and for minutes only. A ticket never
outlives its token, and is revoked with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from gateway.holders import Holder
from gateway.redis_connection import REDIS_AWAY, RedisClient
from gateway.subscriptions import SubscriptionRequest
from gateway.tokens import Principal, TokenRefused
from schemas.errors import DependencyUnavailable
from schemas.keys import TicketKeys

FRESH_SECONDS: Final = 30
LONGEST_TICKET: Final = 64  # characters; ours have 43
_TICKET_BYTES: Final = 32
_SPREAD: Final = 1.2  # streams live up to a fifth longer than their age says


class TicketsAway(DependencyUnavailable):
    """Tickets can be neither issued nor redeemed just now."""


class Opened(NamedTuple):
    """What a redeemed ticket opens, and for whom."""

    principal: Principal
    request: SubscriptionRequest


class _Ticket(Struct, frozen=True, array_like=True):
    holder: Holder
    request: SubscriptionRequest


class _Redeemed(Struct, frozen=True, array_like=True):
    ticket: _Ticket
    address: str


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Ticket).decode
_decode_redeemed: Final = msgspec.msgpack.Decoder(_Redeemed).decode


class Tickets:
    """Issues tickets and redeems them; any node redeems what any other issued."""

    def __init__(
        self,
        redis: RedisClient,
        admitted: Callable[[Holder], Principal],
        *,
        max_age_seconds: float,
    ) -> None:
        """``admitted`` gives a holder's principal of the moment, or refuses it.

        Streams live ``max_age_seconds``: for so long a redeemed ticket serves reconnects.
        """
        self._redis = redis
        self._admitted = admitted
        self._reconnect_seconds = int(max_age_seconds * _SPREAD) + 1

    async def issue(self, holder: Holder, request: SubscriptionRequest) -> tuple[str, datetime]:
        """A new ticket, and until when it must be redeemed. The subscription is permitted; nothing is checked.

        Raises:
            TicketsAway: Redis is not there.
        """
        ticket = secrets.token_urlsafe(_TICKET_BYTES)
        packed = _encode(_Ticket(holder, request))
        expires = datetime.now(UTC) + timedelta(seconds=FRESH_SECONDS)
        try:
            await self._redis.set(_keys(ticket).fresh, packed, ex=FRESH_SECONDS)
        except REDIS_AWAY as error:
            raise TicketsAway("the ticket could not be stored") from error
        return ticket, expires

    async def redeem(self, ticket: str, *, address: str, reconnecting: bool) -> Opened:
        """What a ticket opens, for whoever brings it from ``address``; ``reconnecting`` with a Last-Event-ID.

        Raises:
            TokenRefused: it is unknown, spent or too old, which of these is not told; or its token is no longer good.
            DependencyUnavailable: Redis is not there, or what has been revoked is not known.
        """
        if not ticket or len(ticket) > LONGEST_TICKET:
            raise _refused()
        try:
            found = await self._found(_keys(ticket), address, reconnecting=reconnecting)
        except REDIS_AWAY as error:
            raise TicketsAway("the ticket could not be redeemed") from error
        if found.holder.expires <= datetime.now(UTC):
            raise TokenRefused("expired", "The ticket's token has expired; get a new one.")
        return Opened(self._admitted(found.holder), found.request)

    async def _found(self, keys: TicketKeys, address: str, *, reconnecting: bool) -> _Ticket:
        fresh = await self._redis.execute_command("GETDEL", keys.fresh)
        if fresh is not None:
            ticket = _decode(fresh)
            redeemed = _encode(_Redeemed(ticket, address))
            await self._redis.set(keys.redeemed, redeemed, ex=self._reconnect_seconds)
            return ticket
        spent: Any = await self._redis.get(keys.redeemed) if reconnecting else None
        known = None if spent is None else _decode_redeemed(spent)
        if known is None or known.address != address:
            raise _refused()
        return known.ticket


def _refused() -> TokenRefused:
    return TokenRefused(
        "ticket", "The ticket opens nothing: it is spent, too old or none; ask for a new one."
    )


def _keys(ticket: str) -> TicketKeys:
    return TicketKeys(sha256(ticket.encode()).hexdigest())
