"""What operators ask: is it alive, may it get work, what has it counted."""

from __future__ import annotations

from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.openapi import document
from gateway.service import gateway_of

_FRESH: Final = {"Cache-Control": "no-store"}


def health_routes() -> list[Route]:
    """The routes of this module; none needs a token, none names a school."""
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]


async def healthz(request: Request) -> Response:
    """200 while the process can do its work; anything else asks the supervisor for a restart."""
    alive = gateway_of(request).alive()
    return _json({"status": "ok" if alive else "the hub has stopped"}, 200 if alive else 503)


async def readyz(request: Request) -> Response:
    """200 when new work may be sent here, else 503 and why not."""
    reasons = await gateway_of(request).unready()
    return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def metrics(request: Request) -> Response:
    """Prometheus text."""
    content = generate_latest(gateway_of(request).metrics.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST, headers=_FRESH)


async def openapi(request: Request) -> Response:
    """The description of this API."""
    return Response(msgspec.json.encode(document()), media_type="application/json")


def _json(body: dict[str, object], status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json", headers=_FRESH)
