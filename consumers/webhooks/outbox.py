"""What delivering needs of the store: which messages are due, and what became of an attempt.

Everything that is awaited here is in Redis when it returns (many writers share one script call, so a delivery costs no
round trip of its own). A store lives for one reign: when this worker is no longer the one that delivers, or Redis lost
the end of what was written, its methods raise ``ReignEnded``, everything that was built on it is thrown away, and a new
reign begins with what Redis has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from schemas.errors import ScoreStreamError
from schemas.webhooks.endpoints import Endpoint, EndpointState
from schemas.webhooks.messages import Attempt, Message, MessageState


class ReignEnded(ScoreStreamError):
    """This worker delivers no longer, or what it remembers is not what Redis has. Begin anew with what Redis has."""

    retriable = True


class Outbox(Protocol):
    """Messages of all endpoints, and how the endpoints fare.

    A message that ``due`` handed out is *taken*: ``due`` does not hand it out again before ``retry`` or ``put_back``.
    ``finish`` is its end (until ``retry`` of a dead one makes it wait anew).
    """

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """All endpoints, as their owners want them now."""

    def state(self, endpoint: str) -> EndpointState:
        """How an endpoint fares; that of a new one, when nothing is known of it."""

    async def set_state(self, endpoint: str, state: EndpointState) -> None:
        """Keep how it fares. With ``not_before_ms``, ``due`` hands out nothing of it before then; disabled: nothing at all."""

    async def due(self, now_ms: int, limit: int, room: Callable[[str], int]) -> Sequence[Message]:
        """Take up to ``limit`` messages whose time has come, each endpoint's in the order of their times.

        Left out without cost: endpoints that are paused, disabled, or told to wait by ``not_before_ms``; and, as long as
        an endpoint is not confirmed, all of its messages but pings. ``room`` says how many more of an endpoint may be
        taken; one without room is set aside until ``ready`` is called for it.
        """

    def ready(self, endpoint: str, at_ms: int = 0) -> None:
        """An endpoint that had no room has some again, at that time (0: now)."""

    def next_due_ms(self) -> int | None:
        """When ``due`` may have something next; None: not before something changes."""

    async def wait_due(self, seconds: float) -> None:
        """Return when something may have come due that was not before (added, resumed, ready), at the latest after that time."""

    async def rendered_again(self, message: Message, now_ms: int) -> Message | None:
        """Ask right before every attempt: what is to be sent instead of a taken message, judged by the permissions of now.

        The same message, when nothing of its organization changed since it was made; else its successor (taken, with the
        attempts' count of the one that it supersedes, which is finished as superseded); or None, when its endpoint's owner
        may not see any more what it says (finished as withheld).
        """

    async def retry(
        self, message: Message, attempt: Attempt | None, next_ms: int, *, state: EndpointState | None = None
    ) -> None:
        """Let a message wait for its next attempt (a dead one, too: it waits anew); with it, its endpoint's state."""

    async def finish(
        self,
        message: Message,
        attempt: Attempt | None,
        outcome: MessageState,
        detail: str = "",
        *,
        now_ms: int,
        state: EndpointState | None = None,
    ) -> None:
        """The end of a message. What it told is remembered when it was delivered; a dead one is listed among the dead."""

    async def put_back(self, message: Message, next_ms: int) -> None:
        """Give back a taken message that was not attempted; nothing of it is counted."""

    async def add(self, message: Message) -> bool:
        """A new message that waits, due at its ``next_ms`` (None: at once); False: one with this id is there already."""

    async def read(self, message: str) -> Message | None:
        """One message."""

    async def waiting(self, endpoint: str) -> Sequence[Message]:
        """An endpoint's messages that wait (taken ones, too)."""

    async def kept(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """An endpoint's messages made since then, oldest first, whatever became of them."""

    async def dead(self, endpoint: str, since_ms: int, *, limit: int = 1_000) -> Sequence[Message]:
        """An endpoint's messages that were given up, made since then, oldest first."""

    async def tell_all(self, endpoint: str, since_ms: int = 0) -> None:
        """Make everything that changed since then pending for an endpoint, even what it was told (recover)."""
