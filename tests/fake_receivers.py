"""Receivers of webhooks that are a function: each answers as a test tells it, and remembers what came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from consumers.webhooks.endpoint_messages import token_of
from consumers.webhooks.sending import Answer
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.messages import Message


class Arrival(NamedTuple):
    """One attempt, as its receiver saw it."""

    at_ms: int
    message: str
    body: bytes
    accepted: bool


@dataclass
class Receiver:
    """One address. Takes everything at once, unless a test wants something else."""

    status: int | None = 200
    seconds: float = 0.01
    retry_after_s: float | None = None
    confirms: bool = True
    refused_address: bool = False
    arrivals: list[Arrival] = field(default_factory=list)
    failures_ms: list[int] = field(default_factory=list)  # when it refused, since it took something last
    under_way: int = 0
    most_under_way: int = 0

    def news(self) -> list[Arrival]:
        """What came of schools."""
        return [one for one in self.arrivals if not one.body.startswith(b"{")]

    def accepted(self) -> list[tuple[str, int]]:
        """Schools and versions that it took, in their order."""
        taken = [one.body.decode().split(" ") for one in self.news() if one.accepted]
        return [(school, int(version)) for school, version in taken]


class Receivers:
    """All of them, by URL; a ``Sends`` for the worker."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self.of: dict[str, Receiver] = {}
        self.most_under_way = 0
        self._under_way = 0
        self.watch: Callable[[str, str, bytes], None] = lambda url, message, body: None

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        private: bool,
        want_header: str | None = None,
    ) -> Answer:
        receiver = self.of[url]
        self.watch(url, headers["webhook-id"], body)
        began_ms = self._clock_ms()
        # It answers as it was minded when it was asked, however long that takes.
        status, seconds, retry_after_s = receiver.status, receiver.seconds, receiver.retry_after_s
        receiver.under_way += 1
        receiver.most_under_way = max(receiver.most_under_way, receiver.under_way)
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        accepted = status is not None and 200 <= status < 300
        receiver.arrivals.append(Arrival(began_ms, headers["webhook-id"], body, accepted))
        try:
            await asyncio.sleep(min(seconds, 15.0))
        finally:
            receiver.under_way -= 1
            self._under_way -= 1
        if accepted:
            receiver.failures_ms = []
        elif (
            not body.startswith(b"{") or _asked(body) is not None
        ):  # a test message's failure counts for nothing
            receiver.failures_ms = [*receiver.failures_ms, self._clock_ms()]
        confirmation = _asked(body) if want_header is not None and receiver.confirms else None
        return Answer(
            status=status,
            error="" if status is not None else "no answer in time",
            latency_ms=self._clock_ms() - began_ms,
            retry_after_s=retry_after_s,
            confirmation=confirmation,
            refused_address=receiver.refused_address,
        )


class Unsigned:
    """A ``Signs`` that leaves the signature out."""

    def headers(self, endpoint: Endpoint, message: Message, now_ms: int) -> Mapping[str, str]:
        return {"webhook-id": message.id}

    def forget(self, endpoint: str) -> None:
        """Nothing is kept."""


def _asked(body: bytes) -> str | None:
    return token_of(Message(id="", endpoint="", type=EventType.ENDPOINT_PING, created_ms=0, body=body))
