"""A gateway without sockets for tests of its client: each stream says what the test tells it to, when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec

from schemas.figures import ClaimFigures, Figures, LevelFigure, rfc3339

NOON = 1_777_896_000_000  # 2026-05-04T12:00:00Z
SCHOOL = "19990010000101"
SECOND_SCHOOL = "19990010000102"
DISTRICT = "19990010000000"

OPENING = b": ok\nretry: 4187\n\n"


def cell(
    version: int = 1, results: int = 3, *, changed_ms: int = NOON, test: str = "ELA-SUM", grade: str = "03"
) -> Figures:
    """A cell; its mean tells its version."""
    return Figures(
        test=test,
        test_name=f"Test {test}",
        subject="ELA",
        school_year=2026,
        grade=grade,
        results=results,
        with_scores=results,
        under_appeal=0,
        mean=2400 + version if results else None,
        standard_error=None,
        first_quartile=None,
        median=2400.5 if results else None,
        third_quartile=None,
        levels=[LevelFigure(1, "Standard Not Met", results, 100.0 if results else None)],
        claims=[ClaimFigures("SOCK_R", "Reading", [])],
        version=version,
        changed=rfc3339(changed_ms),
    )


def frame(event: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """One frame as the gateway sends it."""
    first = f"id: {event_id}\n" if event_id else ""
    return f"{first}event: {event}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def put(organizations: dict[str, list[Figures]], event_id: str | None = "g1.1000", **more: Any) -> bytes:
    """A put of these organizations."""
    named = [
        {"id": code, "name": f"School {code[-3:]}", "level": "school", "cells": cells}
        for code, cells in organizations.items()
    ]
    body = {"preliminary": True, "generation": "g1", "as_of": rfc3339(NOON), "organizations": named, **more}
    return frame("put", body, event_id)


def patch(organizations: dict[str, list[Figures]], event_id: str | None = "g1.2000", **more: Any) -> bytes:
    """A patch of these cells."""
    named = [{"id": code, "cells": cells} for code, cells in organizations.items()]
    return frame(
        "patch", {"preliminary": True, "as_of": rfc3339(NOON), "organizations": named, **more}, event_id
    )


def progress(complete_ms: int | None = NOON, *, live: bool = True, **more: Any) -> bytes:
    """A progress."""
    complete = None if complete_ms is None else rfc3339(complete_ms)
    return frame("progress", {"complete": complete, "as_of": rfc3339(NOON), "live": live, **more})


def subscribed(organizations: int, *topics: str, stream: str = "n1.first", **more: Any) -> bytes:
    """What a stream says of itself."""
    asked = topics or (f"school/{SCHOOL}",)
    body = {
        "stream": stream,
        "topics": asked,
        "organizations": organizations,
        "expires": rfc3339(NOON),
        **more,
    }
    return frame("subscribed", body)


def challenge(stream: str = "n1.first") -> bytes:
    """The token is about to expire."""
    return frame("challenge", {"expires": rfc3339(NOON), "renew": f"/v1/streams/{stream}/renew"})


def bye(reason: str = "max_age", *, reconnect: bool = True, retry_ms: int = 5120) -> bytes:
    """The last frame."""
    said = frame("bye", {"reason": reason, "reconnect": reconnect, "retry_ms": retry_ms})
    return said[:-1] + f"retry: {retry_ms}\n\n".encode()


class OpenStream(httpx.AsyncByteStream):
    """One stream, as the gateway has it."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.closed = False
        self._said: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    @property
    def last_event_id(self) -> str | None:
        value: str | None = self.request.headers.get("last-event-id")
        return value

    @property
    def token(self) -> str:
        return str(self.request.headers["authorization"]).removeprefix("Bearer ")

    def send(self, *pieces: bytes) -> None:
        """Bytes, in as many pieces as these."""
        for piece in pieces:
            self._said.put_nowait(piece)

    def end(self) -> None:
        """The answer is over, as a proxy that restarts ends it."""
        self._said.put_nowait(None)

    def break_off(self) -> None:
        """The connection is reset."""
        self._said.put_nowait(httpx.ReadError("connection reset"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._said.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


class ScriptedGateway(httpx.AsyncBaseTransport):
    """Answers GET with a stream that the test holds, unless ``answers`` has something else, and POST with 202."""

    def __init__(self) -> None:
        self.answers: deque[httpx.Response | Exception] = deque()
        self.post_answers: deque[httpx.Response | Exception] = deque()
        self.asked: list[httpx.Request] = []
        self.posted: list[httpx.Request] = []
        self.naps: list[float] = []
        self.most_naps = 1_000  # after so many the client sleeps for ever
        self._opened: asyncio.Queue[OpenStream] = asyncio.Queue()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.method == "POST":
            self.posted.append(request)
            return self._next(self.post_answers) or httpx.Response(202, json={"stream": "n1.first"})
        self.asked.append(request)
        other = self._next(self.answers)
        if other is not None:
            return other
        stream = OpenStream(request)
        self._opened.put_nowait(stream)
        return httpx.Response(
            200, headers={"content-type": "text/event-stream; charset=utf-8"}, stream=stream
        )

    async def stream(self) -> OpenStream:
        """The next stream that the client opens."""
        async with asyncio.timeout(60):
            return await self._opened.get()

    async def nap(self, seconds: float) -> None:
        """Instead of sleeping."""
        self.naps.append(seconds)
        if len(self.naps) >= self.most_naps:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def bodies(self) -> list[Any]:
        """What was posted, None where there was no body."""
        return [json.loads(request.content) if request.content else None for request in self.posted]

    def _next(self, answers: deque[httpx.Response | Exception]) -> httpx.Response | None:
        if not answers:
            return None
        answer = answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def until(condition: Callable[[], object]) -> None:
    """Let the other tasks run until it is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (any condition; nothing tells when it comes about)
            await asyncio.sleep(0)
