"""Finding endpoints and their messages for whoever may see them.

What somebody may not see, and what there is not, is refused alike: with one error of one text.
"""

from __future__ import annotations

from gateway.tokens import Principal
from gateway.webhooks.permitted import may_see
from gateway.webhooks.store import Change, EndpointStore
from schemas.errors import ScoreStreamError
from schemas.webhooks.endpoints import Endpoint
from schemas.webhooks.messages import Message, Order


class NoSuchEndpoint(ScoreStreamError):
    """There is none, or it is somebody else's: the answer is the same for both, to the byte."""

    def __init__(self) -> None:
        super().__init__("There is no such webhook endpoint or message, or this token does not open it.")


class EndpointFinder:
    """The endpoints of a deployment, as somebody sees them."""

    def __init__(self, store: EndpointStore) -> None:
        self._store = store

    async def find(self, principal: Principal, endpoint: str) -> Endpoint:
        """An endpoint that somebody may see.

        Raises:
            NoSuchEndpoint: there is none for them.
        """
        found = await self._store.find(endpoint)
        if found is None or not may_see(principal, found):
            raise NoSuchEndpoint
        return found

    async def listed(self, principal: Principal) -> list[Endpoint]:
        """All that somebody may see, by id."""
        known = await self._store.all()
        return [one for one in known.endpoints.values() if may_see(principal, one)]

    async def message(self, endpoint: Endpoint, message: str) -> Message:
        """One of an endpoint's messages.

        Raises:
            NoSuchEndpoint: it has none of this id.
        """
        found = await self._store.message(message)
        if found is None or found.endpoint != endpoint.id:
            raise NoSuchEndpoint
        return found


def if_still_seen(principal: Principal, made: Change) -> Change:
    """``made``, of an endpoint that somebody may see in the moment of the change, too.

    The change raises NoSuchEndpoint when they may not.
    """

    def checked(endpoint: Endpoint) -> tuple[Endpoint | None, Order]:
        if not may_see(principal, endpoint):
            raise NoSuchEndpoint
        return made(endpoint)

    return checked


def existing(endpoint: Endpoint | None) -> Endpoint:
    """What a change was stored of.

    Raises:
        NoSuchEndpoint: it has been deleted meanwhile.
    """
    if endpoint is None:
        raise NoSuchEndpoint
    return endpoint
