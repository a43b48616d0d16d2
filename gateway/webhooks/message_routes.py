"""``/v1/webhooks/endpoints/{id}/...``: what was sent to an endpoint and what became of it, and sending it again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.private_answers import private_json
from gateway.webhooks.answers import (
    AcceptedOrder,
    MessageWithAttempts,
    ShownMessage,
    ShownMessages,
    shown_attempts,
    shown_message,
)
from gateway.webhooks.asking import (
    answering,
    asked_limit,
    asked_since,
    changing,
    named_endpoint,
    optional_order,
    reading,
)
from gateway.webhooks.endpoint_routes import ENDPOINTS_PATH
from gateway.webhooks.finding import EndpointFinder
from gateway.webhooks.keeping import EndpointKeeper, OrderKind
from gateway.webhooks.wanted import SinceOrder
from schemas.errors import InvalidInput
from schemas.webhooks.messages import MessageState

_SINCE: Final = msgspec.json.Decoder(SinceOrder)
_SINCE_EXAMPLE: Final = '{"since": "2026-05-04T12:00:00Z"}'


def message_routes(finder: EndpointFinder, keeper: EndpointKeeper) -> list[Route]:
    """The routes, for the application to mount."""
    routes = _Routes(finder, keeper)
    one = ENDPOINTS_PATH + "/{endpoint}"
    return [
        Route(one + "/ping", answering(routes.ping), methods=["POST"]),
        Route(one + "/recover", answering(routes.recover), methods=["POST"]),
        Route(one + "/messages", answering(routes.listed), methods=["GET"]),
        Route(one + "/messages/{message}", answering(routes.show), methods=["GET"]),
        Route(one + "/messages/{message}/replay", answering(routes.replay), methods=["POST"]),
        Route(one + "/dead", answering(routes.dead), methods=["GET"]),
        Route(one + "/dead/retry", answering(routes.retry), methods=["POST"]),
    ]


class _Routes:
    def __init__(self, finder: EndpointFinder, keeper: EndpointKeeper) -> None:
        self._finder = finder
        self._keeper = keeper

    async def listed(self, request: Request) -> Response:
        return await self._listed(request, _states(request), dead=False)

    async def dead(self, request: Request) -> Response:
        return await self._listed(request, frozenset(), dead=True)

    async def show(self, request: Request) -> Response:
        asking = reading(request)
        endpoint = await named_endpoint(asking, self._finder)
        message = await self._finder.message(endpoint, request.path_params["message"])
        return private_json(MessageWithAttempts(shown_message(message), shown_attempts(message.attempts)))

    async def ping(self, request: Request) -> Response:
        return await self._order(request, "ping")

    async def recover(self, request: Request) -> Response:
        return await self._order(request, "recover")

    async def retry(self, request: Request) -> Response:
        return await self._order(request, "retry_dead")

    async def replay(self, request: Request) -> Response:
        return await self._order(request, "replay")

    async def _order(self, request: Request, kind: OrderKind) -> Response:
        asking = changing(request)
        endpoint = await named_endpoint(asking, self._finder)
        more: dict[str, Any] = {}
        if kind == "replay":
            message = await self._finder.message(endpoint, request.path_params["message"])
            more["message"] = message.id
        elif kind != "ping":
            order = await optional_order(request, _SINCE, _SINCE_EXAMPLE)
            if order.since is None and kind == "recover":
                raise InvalidInput(f"recover since when? Send {_SINCE_EXAMPLE}")
            more["since_ms"] = asked_since(order.since, self._keeper.clock_ms())
        given = await self._keeper.order(asking.principal, endpoint, asking.note, kind, **more)
        return private_json(AcceptedOrder(given.id, given.delivering), HTTPStatus.ACCEPTED)

    async def _listed(self, request: Request, states: frozenset[MessageState], *, dead: bool) -> Response:
        asking = reading(request)
        endpoint = await named_endpoint(asking, self._finder)
        query = request.query_params
        since_ms = asked_since(query.get("since"), self._keeper.clock_ms())
        limit, store = asked_limit(request), self._keeper.store
        ids = await store.message_ids(endpoint.id, dead=dead, since_ms=since_ms)
        after = query.get("after")
        if after is not None:
            if after not in ids:
                raise InvalidInput("after names a message that is not listed, or not any more; begin anew")
            ids = ids[ids.index(after) + 1 :]
        shown: list[ShownMessage] = []
        async for message in store.messages(ids):
            if states and message.state not in states:
                continue
            if len(shown) == limit:
                return private_json(ShownMessages(tuple(shown), shown[-1].id))
            shown.append(shown_message(message))
        return private_json(ShownMessages(tuple(shown), None))


def _states(request: Request) -> frozenset[MessageState]:
    asked = request.query_params.getlist("state")
    try:
        return frozenset(MessageState(one) for one in asked)
    except ValueError:
        raise InvalidInput(
            f"state is not one; expected some of {', '.join(MessageState)}, repeated for several"
        ) from None
