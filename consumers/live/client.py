"""``LiveResults``: one stream after another, so that its reader sees one without end."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent

from consumers.live.changes import Change, Mailbox
from consumers.live.connection import Connection, Token
from consumers.live.errors import FrameUnreadable, LiveResultsError, NotNow, StreamEnded, StreamRefused
from consumers.live.frames import Bye, Challenge, Patch, Put, decode
from consumers.live.retrying import Backoff
from consumers.live.state import LiveState, Organization
from consumers.live.subscription import Subscription
from schemas.figures import Figures
from schemas.identifiers import OrganizationId

# What the wire allows; anything else would be a header of its own making.
_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")

logger = logging.getLogger(__name__)

# Progress comes every 2 s; after so long without any frame the figures stand still.
_SILENCE_SECONDS: Final = 20.0
_CONFIRMED_SECONDS: Final = 20.0  # a change that the stream has not confirmed by then is asked for anew
_RENEWALS: Final = 6  # attempts; with the pauses between them they fill the minute that a challenge leaves


class LiveResults:
    """The preliminary results of some organizations, kept current in the background until it is left.

    Reading them (``cell``, ``organization``) never waits. Iterating gives the changes, at least the latest of each cell
    however slow the reader is; iterate in one place only. It ends when the stream is refused or ended for good, with
    that error, and else never. Memory is bounded by what is subscribed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        topics: Sequence[str],
        tests: Sequence[str] = (),
        grades: Sequence[str] = (),
        years: Sequence[int] = (),
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent before it is entered.

        ``url`` is the gateway's, such as ``https://scores.example``. ``token`` is asked before every connection and when
        the gateway challenges, so it should give one that is still good for a while. ``http`` stays the caller's.

        Raises:
            InvalidInput: the address is none, or there is no topic.
        """
        self._subscription = Subscription.of(topics, tests, grades, years)
        self._own_http = http is None
        self._http = http or httpx.AsyncClient()
        self._connection = Connection(url, token, self._http)
        self._sleep, self._jitter, self._monotonic = sleep, jitter, monotonic
        self._state = LiveState()
        self._mailbox = Mailbox()
        self._backoff = Backoff()
        self._last_id: str | None = None
        self._last_frame: float | None = None  # on this connection
        self._changing = asyncio.Lock()
        self._pulse = asyncio.Event()  # replaced at every frame
        self._task: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        self._task.add_done_callback(self._followed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._renewal, self._task):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._own_http:
            await self._http.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while True:
            change = self._mailbox.take()
            if change is not None:
                return change
            if self._task is not None and self._task.cancelled():
                raise StopAsyncIteration
            await self._next_pulse()

    def organization(self, cds: str) -> Organization | None:
        """One organization and its cells as they are now; None while it is not here."""
        return self._state.organization(cds)

    def cell(self, cds: str, year: int, test: str, grade: str) -> Figures | None:
        """One cell, such as ``("19990010000101", 2026, "ELA-SUM", "03")``; None when it has no results.

        One that is ``suppressed`` has results, and not a single figure.
        """
        return self._state.cell(cds, year, test, grade)

    @property
    def organizations(self) -> tuple[OrganizationId, ...]:
        """The organizations that are here."""
        return self._state.ids()

    @property
    def complete(self) -> datetime | None:
        """Every record stored before this time is in; None when that is not known."""
        return self._state.complete

    @property
    def as_of(self) -> datetime | None:
        """Every change up to this time is in."""
        return self._state.as_of

    @property
    def stale(self) -> bool:
        """Whether older results are still missing, because tables are being filled again."""
        return self._state.stale

    @property
    def live(self) -> bool:
        """Whether the figures move: connected, everything here, the tables there, and a frame in the last 20 seconds."""
        if self._last_frame is None or not self._state.whole:
            return False
        return self._state.moving and self._monotonic() - self._last_frame < _SILENCE_SECONDS

    @property
    def failure(self) -> BaseException | None:
        """Why nothing more will come: what iterating raises; None while it is followed. For those who only read figures."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def whole(self) -> None:
        """Wait until every organization subscribed to is here.

        Raises:
            LiveResultsError: the stream was refused or ended for good.
        """
        while not self._state.whole:
            await self._next_pulse()

    async def change(
        self,
        topics: Sequence[str],
        *,
        tests: Sequence[str] = (),
        grades: Sequence[str] = (),
        years: Sequence[int] = (),
    ) -> None:
        """Subscribe to these instead, without a gap in what stays; ``whole`` then waits for what is new.

        Returns when the stream has confirmed it, or when a new connection has taken its place.

        Raises:
            InvalidInput: there is no topic.
            StreamRefused: the gateway says no; the subscription is as it was.
        """
        wanted = Subscription.of(topics, tests, grades, years)
        async with self._changing:
            before = self._subscription
            if wanted == before:
                return
            stream = self._state.stream
            if stream is None:  # between two connections, or before the first has said its name
                self._subscription = wanted
                self._start_anew()
                return
            self._state.change_asked(other_filters=not wanted.same_filters(before))
            try:
                await self._connection.post(
                    f"/v1/streams/{quote(stream, safe='')}/subscription", wanted.body()
                )
                accepted = True
            except StreamRefused as refused:
                if refused.status != 404:
                    self._state.change_refused()
                    raise
                accepted = False  # the stream is gone
            except NotNow:
                accepted = False  # or it was, and the answer got lost
            self._subscription = wanted
            if accepted and self._state.stream == stream:
                await self._confirmed()
            else:
                self._start_anew()

    async def _follow(self) -> None:
        while True:
            asked_seconds = None
            try:
                asked_seconds = await self._one_connection()
            except NotNow as later:
                logger.info("no stream: %s", later)
                asked_seconds = later.after_seconds
            except FrameUnreadable as unreadable:
                logger.warning("stream given up, everything is asked for anew: %s", unreadable)
                self._start_anew()
            finally:
                self._state.stream = self._last_frame = None
            await self._sleep(self._backoff.pause(self._jitter(), asked_seconds))

    async def _one_connection(self) -> float | None:
        """One stream to its end; returns for how many seconds it wants its reader to stay away, if it said."""
        subscription = self._subscription
        resume_from = self._last_id if self._state.whole else None
        async with self._connection.stream(subscription.query(), resume_from) as events:
            self._state.opened(resumed=resume_from is not None)
            async for event in events:
                if subscription != self._subscription and self._state.stream is None:
                    self._start_anew()  # changed while this stream was being asked for
                pause = self._take(event)
                self._notify()
                if pause is not None or self._state.must_start_anew:
                    return pause
        return None

    def _take(self, event: ServerSentEvent) -> float | None:
        """Apply one event; what a ``bye`` asks for, in seconds."""
        if event.retry is not None:
            self._backoff.asked(event.retry)
        frame = decode(event.event, event.data) if event.data else None
        match frame:
            case None:
                return None
            case Bye():
                # Another token is to be had where tokens come from, and then the gateway's no is a "later".
                if frame.reconnect or (frame.reason == "token_expired" and self._connection.renews):
                    return frame.retry_ms / 1000
                raise StreamEnded(frame.reason)
            case Challenge():
                self._renew(frame.renew)
            case Put() | Patch():
                self._mailbox.add(self._state.apply(frame))
                self._backoff.succeeded()
                if _ID.fullmatch(event.id):
                    self._last_id = event.id
            case _:
                self._mailbox.add(self._state.apply(frame))
        self._last_frame = self._monotonic()
        return None

    def _start_anew(self) -> None:
        """End this connection at its next frame, at most 2 seconds away, and ask for everything on the next."""
        self._state.must_start_anew = True

    async def _confirmed(self) -> None:
        try:
            async with asyncio.timeout(_CONFIRMED_SECONDS):
                while self._state.unconfirmed:
                    await self._next_pulse()
        except TimeoutError:
            self._start_anew()

    def _renew(self, path: str) -> None:
        if self._connection.renews and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renewed(path))

    async def _renewed(self, path: str) -> None:
        """Send a fresh token in the stream's place. When that fails the stream ends, and the next one says why."""
        backoff = Backoff()
        for _ in range(_RENEWALS):
            try:
                await self._connection.post(path)
                return
            except NotNow as later:
                await self._sleep(backoff.pause(self._jitter(), later.after_seconds))
            except Exception as error:  # noqa: BLE001 (whatever the reader's own source of tokens raises)
                logger.warning("token not renewed: %s", error)
                return

    def _notify(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()

    async def _next_pulse(self) -> None:
        """Wait for the next frame; raises what the background task ended with."""
        if self._task is None or self._task.cancelled():
            raise LiveResultsError("these results are not being followed; use them inside `async with`")
        if self._task.done():
            self._task.result()
        await self._pulse.wait()

    def _followed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("stream ended for good: %s", error)
        self._notify()
