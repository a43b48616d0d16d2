"""The HTTP side: one stream at a time, and the posts that change or renew it. Which answers mean stop, and which later."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent

from consumers.live.errors import FrameUnreadable, NotNow, StreamRefused
from consumers.live.retrying import retry_after_seconds
from schemas.errors import InvalidInput

Token = str | Callable[[], str | Awaitable[str]]

# A put is cut at 64 KiB between organizations, and one of them has a few hundred cells of 2 kB at most. Whatever sends
# more without an end is no gateway, and must not fill the memory.
MOST_FRAME_BYTES: Final = 16 * 1024 * 1024
# Something comes every 2 s, and a comment after 15 s at the latest; a connection without is dead, and TCP may never say so.
_SILENCE_SECONDS: Final = 40.0
TIMEOUT: Final = httpx.Timeout(10.0, read=_SILENCE_SECONDS)
_POST_TIMEOUT: Final = httpx.Timeout(10.0)
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class Connection:
    """One gateway, one source of tokens."""

    def __init__(self, url: str, token: Token, http: httpx.AsyncClient) -> None:
        """Nothing is sent yet.

        Raises:
            InvalidInput: the address is not one of HTTP.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InvalidInput(f"'{url[:200]}' is not an address: {error}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
            raise InvalidInput(
                f"'{url[:200]}' is not a gateway's address; expected one such as http://127.0.0.1:8080"
            )
        self._url = url.rstrip("/")
        self._token = token
        self._http = http

    @property
    def renews(self) -> bool:
        """Whether there can be another token."""
        return not isinstance(self._token, str)

    @asynccontextmanager
    async def stream(
        self, query: tuple[tuple[str, str], ...], last_id: str | None
    ) -> AsyncIterator[AsyncGenerator[ServerSentEvent]]:
        """The events of a stream, until it ends.

        Raises:
            StreamRefused: the gateway says no.
            NotNow: it does not answer, or says later; also when the stream breaks off.
            FrameUnreadable: a frame grew beyond all bounds.
        """
        headers = await self._headers()
        # Identity: what a proxy compresses it holds back.
        headers |= {"Accept": "text/event-stream", "Cache-Control": "no-store", "Accept-Encoding": "identity"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        try:
            async with self._http.stream(
                "GET", f"{self._url}/v1/stream", params=query, headers=headers, timeout=TIMEOUT
            ) as response:
                await _check(response, HTTPStatus.OK)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise NotNow("something else than a gateway answered, perhaps a proxy")
                async with aclosing(_events(response)) as events:
                    yield events
        except httpx.RequestError as error:
            raise NotNow(f"no stream from {self._url}: {type(error).__name__}") from error

    async def post(self, path: str, body: dict[str, Any] | None = None) -> None:
        """A command for an open stream; returns when the gateway has accepted it.

        Raises:
            StreamRefused: the gateway says no; with status 404 the stream is not there any more.
            NotNow: it does not answer, or says later.
        """
        if not path.startswith("/"):  # else it would name another host, and get the token
            raise FrameUnreadable(f"'{path[:80]}' is not a path of the gateway")
        headers = await self._headers()
        try:
            async with self._http.stream(
                "POST", self._url + path, json=body, headers=headers, timeout=_POST_TIMEOUT
            ) as response:
                await _check(response, HTTPStatus.ACCEPTED)
        except httpx.RequestError as error:
            raise NotNow(f"no answer from {self._url}: {type(error).__name__}") from error

    async def _headers(self) -> dict[str, str]:
        if isinstance(self._token, str):
            token = self._token
        else:
            try:
                given = self._token()
                token = await given if inspect.isawaitable(given) else given
            except (httpx.RequestError, OSError) as error:
                raise NotNow(f"no token: {type(error).__name__}") from error
        token = token.strip()
        if not token.isascii() or not token.isprintable() or not token:
            raise InvalidInput("the token is empty or has characters that no header takes; expected a JWT")
        return {"Authorization": f"Bearer {token}"}


async def _events(response: httpx.Response) -> AsyncGenerator[ServerSentEvent]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    bounded = response.stream = _Bounded(response.stream)
    async with aclosing(EventSource(response).aiter_sse()) as events:
        async for event in events:
            bounded.read = 0
            yield event


class _Bounded(httpx.AsyncByteStream):
    """A body of which no single frame may be endless."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self.read = 0  # bytes since the last frame

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self.read += len(chunk)
            if self.read > MOST_FRAME_BYTES:
                raise FrameUnreadable(f"a frame has more than {MOST_FRAME_BYTES} bytes and no end")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _check(response: httpx.Response, wanted: HTTPStatus) -> None:
    """Whether the answer is the wanted one; 5xx and "too many" mean later, all else means no."""
    status = response.status_code
    if status == wanted:
        return
    if status >= 500 or status in _LATER:
        after = retry_after_seconds(response.headers.get("retry-after"), datetime.now(UTC))
        raise NotNow(f"the gateway answered {status}", after)
    raise StreamRefused(status, await _detail(response))


class _Problem(msgspec.Struct):
    detail: str


async def _detail(response: httpx.Response) -> str:
    """What the answer says of itself: at most so much that an error page cannot fill the memory."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > 65_536:
            break
    try:
        return msgspec.json.decode(bytes(body), type=_Problem).detail
    except msgspec.DecodeError:
        return response.headers.get("location", "") or "no reason given; is it the address of a gateway?"
