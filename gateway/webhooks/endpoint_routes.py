"""``/v1/webhooks/endpoints``: which there are, and making, changing, pausing and deleting them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.private_answers import PRIVATE, private_json
from gateway.request_bodies import read_order
from gateway.webhooks.answers import (
    AcceptedOrder,
    IssuedEndpoint,
    ShownEndpoint,
    ShownEndpoints,
    Viewed,
    shown_endpoint,
)
from gateway.webhooks.asking import (
    LARGEST_ORDER,
    Asking,
    answering,
    asked_limit,
    changing,
    named_endpoint,
    optional_order,
    reading,
)
from gateway.webhooks.finding import EndpointFinder
from gateway.webhooks.keeping import EndpointKeeper
from gateway.webhooks.permitted import is_owner
from gateway.webhooks.wanted import EndpointChange, NewEndpoint, Rotation
from schemas.webhooks.endpoints import Endpoint

ENDPOINTS_PATH: Final = "/v1/webhooks/endpoints"

_NEW: Final = msgspec.json.Decoder(NewEndpoint)
_CHANGE: Final = msgspec.json.Decoder(EndpointChange)
_ROTATION: Final = msgspec.json.Decoder(Rotation)

_NEW_EXAMPLE: Final = '{"url": "https://...", "follows": [{"organization": "19990010000000"}]}'


def endpoint_routes(finder: EndpointFinder, keeper: EndpointKeeper, made: Callable[[], None]) -> list[Route]:
    """The routes, for the application to mount; ``made`` is told when an endpoint has got rights."""
    routes = _Routes(finder, keeper, made)
    one = ENDPOINTS_PATH + "/{endpoint}"
    return [
        Route(ENDPOINTS_PATH, answering(routes.listed), methods=["GET"]),
        Route(ENDPOINTS_PATH, answering(routes.create), methods=["POST"]),
        Route(one, answering(routes.show), methods=["GET"]),
        Route(one, answering(routes.change), methods=["PATCH"]),
        Route(one, answering(routes.delete), methods=["DELETE"]),
        Route(one + "/pause", answering(routes.pause), methods=["POST"]),
        Route(one + "/resume", answering(routes.resume), methods=["POST"]),
        Route(one + "/rotate-secret", answering(routes.rotate), methods=["POST"]),
        Route(one + "/enable", answering(routes.enable), methods=["POST"]),
    ]


class _Routes:
    def __init__(self, finder: EndpointFinder, keeper: EndpointKeeper, made: Callable[[], None]) -> None:
        self._finder = finder
        self._keeper = keeper
        self._made = made

    async def listed(self, request: Request) -> Response:
        asking = reading(request)
        limit, after = asked_limit(request), request.query_params.get("after", "")
        found = [one for one in await self._finder.listed(asking.principal) if one.id > after]
        page = found[:limit]
        following = page[-1].id if len(found) > len(page) else None
        return private_json(ShownEndpoints(tuple(await self._shown(asking, page)), following))

    async def create(self, request: Request) -> Response:
        asking = changing(request)
        order = await read_order(request, _NEW, most_bytes=LARGEST_ORDER, example=_NEW_EXAMPLE)
        endpoint, issued = await self._keeper.create(
            asking.principal, order, asking.gateway.hub.directory, asking.note
        )
        self._made()
        [shown] = await self._shown(asking, [endpoint])
        answer = private_json(IssuedEndpoint(shown, issued), HTTPStatus.CREATED)
        answer.headers["Location"] = f"{ENDPOINTS_PATH}/{endpoint.id}"
        return answer

    async def show(self, request: Request) -> Response:
        asking = reading(request)
        return await self._answer(asking, await named_endpoint(asking, self._finder))

    async def change(self, request: Request) -> Response:
        asking = changing(request)
        found = await named_endpoint(asking, self._finder)
        order = await read_order(
            request, _CHANGE, most_bytes=LARGEST_ORDER, example='{"interval_seconds": 300}'
        )
        known = asking.gateway.hub.directory
        after = await self._keeper.change(asking.principal, found, order, known, asking.note)
        self._made()
        return await self._answer(asking, after)

    async def delete(self, request: Request) -> Response:
        asking = changing(request)
        await self._keeper.delete(asking.principal, await named_endpoint(asking, self._finder), asking.note)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=PRIVATE)

    async def pause(self, request: Request) -> Response:
        return await self._paused(request, paused=True)

    async def resume(self, request: Request) -> Response:
        return await self._paused(request, paused=False)

    async def rotate(self, request: Request) -> Response:
        asking = changing(request)
        found = await named_endpoint(asking, self._finder)
        order = await optional_order(request, _ROTATION, '{"signing": ["v1"]}')
        after, issued = await self._keeper.rotate(asking.principal, found, order, asking.note)
        [shown] = await self._shown(asking, [after])
        return private_json(IssuedEndpoint(shown, issued))

    async def enable(self, request: Request) -> Response:
        asking = changing(request)
        found = await named_endpoint(asking, self._finder)
        known = asking.gateway.hub.directory
        given = await self._keeper.enable(asking.principal, found, known, asking.note)
        self._made()
        return private_json(AcceptedOrder(given.id, given.delivering), HTTPStatus.ACCEPTED)

    async def _paused(self, request: Request, *, paused: bool) -> Response:
        asking = changing(request)
        found = await named_endpoint(asking, self._finder)
        after = await self._keeper.pause(asking.principal, found, asking.note, paused=paused)
        return await self._answer(asking, after)

    async def _answer(self, asking: Asking, endpoint: Endpoint) -> Response:
        [shown] = await self._shown(asking, [endpoint])
        return private_json(shown)

    async def _shown(self, asking: Asking, endpoints: Sequence[Endpoint]) -> list[ShownEndpoint]:
        states = await self._keeper.store.states([one.id for one in endpoints])
        known, now_ms = asking.gateway.hub.directory, self._keeper.clock_ms()
        return [
            shown_endpoint(one, state, known, Viewed(is_owner(asking.principal, one), now_ms))
            for one, state in zip(endpoints, states, strict=True)
        ]
