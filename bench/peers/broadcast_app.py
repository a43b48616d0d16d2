"""One topic, as one builds it with Starlette: a queue for each subscriber, and ``POST /publish`` puts an event into all.

Three ways (BENCH_WAY) to send it:

* ``dicts``: sse-starlette's ``EventSourceResponse`` with a dict an event, as in its README;
* ``bytes``: the same with the frame encoded once for all;
* ``plain``: Starlette's ``StreamingResponse`` with the frame encoded once for all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_WAY = os.environ.get("BENCH_WAY", "dicts")
_queues: set[asyncio.Queue[Any]] = set()


async def publish(request: Request) -> Response:
    """Hand the body to every subscriber."""
    data = await request.body()
    if _WAY == "dicts":
        item: Any = {"event": "patch", "data": data.decode()}
    else:
        item = b"event: patch\ndata: " + data + b"\n\n"
    for queue in _queues:
        queue.put_nowait(item)
    return Response(status_code=204)


async def subscribe(request: Request) -> Response:
    """A stream."""
    if _WAY == "plain":
        return StreamingResponse(_events(), media_type="text/event-stream")
    return EventSourceResponse(_events())


async def _events() -> AsyncIterator[Any]:  # of what each of the two responses takes
    queue: asyncio.Queue[Any] = asyncio.Queue()
    _queues.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        _queues.discard(queue)


def main() -> None:
    """Serve on BENCH_PORT."""
    app = Starlette(
        routes=[Route("/publish", publish, methods=["POST"]), Route("/events", subscribe, methods=["GET"])]
    )
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
