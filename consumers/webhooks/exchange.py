"""One connection to a receiver, and one request and answer at a time on it."""

from __future__ import annotations

import asyncio
from typing import cast

from consumers.webhooks.answers import AnswerReader, Limits


class Exchange(asyncio.Protocol):
    """A connection: ``ask`` for as long as replies are ``reusable``, and ``abort`` then.

    Attributes:
        address: what it is connected to, judged before.
        open: nothing was heard of its end.
        opened, idle_since: on the loop's clock.
    """

    def __init__(self, limits: Limits, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self.open = False
        self.opened = self.idle_since = loop.time()
        self._limits = limits
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._answer: AnswerReader | None = None
        self._finished: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_body = False

    async def ask(self, request: bytes, deadline: float, wanted: bytes | None) -> AnswerReader:
        """Send a whole request and wait for its answer, at most until ``deadline`` on the loop's clock.

        ``wanted``: the lower-case name of a header to be kept.
        """
        self._answer = answer = AnswerReader(self._limits, wanted)
        if not self.open or self._transport is None:
            answer.end()
            return answer
        if self._loop.time() >= deadline:
            answer.untouched = False  # nobody is to try once more
            answer.give_up()
            return answer
        self._in_body = False
        self._finished = self._loop.create_future()
        self._timer = self._loop.call_at(deadline, self._out_of_time)
        try:
            self._transport.write(request)
            await self._finished
        finally:
            self._timer.cancel()
            self._finished = None
        # A receiver that answers before it has read everything would read the rest as its next request.
        if not self.open or self._transport.get_write_buffer_size():
            answer.reusable = False
        return answer

    def abort(self) -> None:
        """End it at once: a receiver that does not close its side costs nothing."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.finished:
            self.abort()  # nobody asked, or not any more: it could pass for the answer to the next request
            return
        answer.feed(data)
        if answer.finished:
            self._wake()
        elif answer.status is not None and not self._in_body and self._timer is not None:
            self._in_body = True
            self._timer.cancel()
            deadline = min(self._timer.when(), self._loop.time() + self._limits.body_seconds)
            self._timer = self._loop.call_at(deadline, self._out_of_time)

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()

    def _ended(self) -> None:
        self.open = False
        if self._answer is not None and not self._answer.finished:
            self._answer.end()
            self._wake()

    def _out_of_time(self) -> None:
        if self._answer is not None:
            self._answer.untouched = False  # it was asked, and may have taken the message
            self._answer.give_up()
            self._wake()

    def _wake(self) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)
