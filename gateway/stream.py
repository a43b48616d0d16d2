"""One stream from its first byte to its ``bye``: what it is about, and when it ends.

It has no task, timer or generator of its own. The hub calls it when something is new, its line when the client takes bytes
again, the wheel when a time has come. In between it is a few references.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway import sse
from gateway.following import TablesState
from gateway.hub import Hub
from gateway.images import View
from gateway.lines import Chunk, Line
from gateway.mailbox import Mailbox
from gateway.metrics import Metrics
from gateway.telling import Telling
from gateway.tokens import Principal
from gateway.watched import Watched, mark_of
from gateway.wheel import NEVER, turns
from schemas.access.permissions import Forbidden, VisibilityClass

_HEARTBEAT: Final = Chunk(sse.HEARTBEAT)
_SHUT_OUT: Final = (sse.CloseReason.REVOKED, sse.CloseReason.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long streams live and how often they give a sign."""

    max_age_seconds: float = 600.0
    heartbeat_seconds: float = 15.0
    send_timeout_seconds: float = 10.0
    challenge_seconds: float = 60.0  # before the token expires


def _nobody(_: Stream) -> None:
    pass


class Stream(Telling):
    """One subscriber's stream. All calls come from the event loop and return at once."""

    __slots__ = ("_age_ends", "_closing", "_expires", "_left", "_limits", "due", "reason", "slot")

    def __init__(
        self,
        *,
        hub: Hub,
        subscription: Watched,
        principal: Principal,
        limits: StreamLimits,
        metrics: Metrics,
        stream_id: str,
        cursor: sse.Cursor | None = None,
        since_ms: int | None = None,
        left: Callable[[Stream], None] = _nobody,
    ) -> None:
        """``left`` is called once, when the connection is over, whether or not the stream was started.

        Raises:
            Forbidden: the subscription is not open to the principal.
            InvalidInput: it is too much.
            TablesAway: which organizations there are is not known yet.
        """
        subscription.views(principal, hub.directory)
        super().__init__(hub, subscription, principal, metrics, stream_id, cursor, since_ms)
        self.reason = sse.CloseReason.CLIENT_GONE
        self.due = NEVER
        self.slot = 0
        self._limits = limits
        self._left = left
        self._closing: sse.CloseReason | None = None  # it was told to end before it began
        self._age_ends = self._expires = self._challenge_at = NEVER  # turns

    @property
    def subject(self) -> str:
        """Whose stream it is."""
        return self.principal.subject

    @property
    def follows_directory(self) -> bool:
        """Whether what it watches depends on the directory."""
        return self.subscription.follows_directory

    # From its start to its end.

    def start(self, line: Line) -> None:
        """Begin to send; the head of the answer has been sent."""
        if self._closing is not None:
            self._start_and_close(line, self._closing)
            return
        hub, wheel = self._hub, self._hub.wheel
        self.line = line
        self._metrics.connections.inc()
        # Everybody's own age, or a deployment's herd would come back together for ever.
        self._age_ends = wheel.after(self._limits.max_age_seconds * random.uniform(0.8, 1.2))
        self._expires = self._expiry()
        self._challenge_at = self._expires - turns(self._limits.challenge_seconds)
        views = self.subscription.views_now(self.principal, hub.directory)
        self._outlets = hub.enter(self, views)
        self._mark = self._mark_for(views)
        box = self._box = Mailbox()
        box.subscribed = True
        box.add_whole(self._outlets)
        box.progress = not self._outlets
        self._challenge_if_due(box)
        if hub.state is not TablesState.LIVE:
            box.comment = sse.WARMING if hub.state is TablesState.WARMING else sse.AWAY
        self._write(Chunk(sse.opening(sse.retry_milliseconds(random.random())) + self._announcements(box)))
        self.pump()
        wheel.schedule(self, self._next_look())

    def _start_and_close(self, line: Line, reason: sse.CloseReason) -> None:
        self.line = line
        self._metrics.connections.inc()
        self._write(Chunk(sse.opening(sse.retry_milliseconds(random.random()))))
        self.close(reason)

    def close(self, reason: sse.CloseReason) -> None:
        """End with a ``bye``; what waits is not sent, the client's last id knows of it."""
        line = self.line
        if line is None or self._ended:
            self._closing = reason
            return
        if reason in _SHUT_OUT and line.unsent():
            self._drop(reason)  # what waits may not be seen any more; the next connect is told why
            return
        self._end(reason)
        self._metrics.frames.count("bye")
        line.write(Chunk(sse.bye(reason, sse.retry_milliseconds(random.random()))))
        line.end()
        # The last bytes get the time that any bytes get; then the connection goes, and they with it.
        self._hub.wheel.schedule(self, self._hub.wheel.after(self._limits.send_timeout_seconds))

    def drop(self) -> None:
        """End the stream without a ``bye``, and without what is still to be sent."""
        self._drop(sse.CloseReason.SLOW_READER)

    def fail(self) -> None:
        """End the stream: there is a fault in serving it."""
        self._drop(sse.CloseReason.FAULT)

    def gone(self) -> None:
        """The connection is over, or was never there."""
        self._hub.wheel.forget(self)
        if self.line is not None:
            self._end(sse.CloseReason.CLIENT_GONE)
            self.line = None
            self._metrics.connections.dec()
        left, self._left = self._left, _nobody
        left(self)

    def paused(self) -> None:
        """The client does not take what it was sent."""
        if self._blocked_since == NEVER:
            self._blocked_since = self._hub.wheel.now
            if self.due != NEVER:
                self._hub.wheel.schedule(self, self._next_look())

    def resumed(self) -> None:
        """It has taken it."""
        if not self._ended:
            self._blocked_since = NEVER
            self.pump()

    def look(self, now: int) -> int | None:
        """Do what is due by a turn of the wheel."""
        if self.line is None:
            return None
        if self._ended:
            self.line.reset()
            return None
        blocked = self._blocked_since != NEVER
        if blocked and now >= self._blocked_since + turns(self._limits.send_timeout_seconds):
            self._drop(sse.CloseReason.SLOW_READER)
            return None
        if now >= min(self._expires, self._age_ends):
            expired = now >= self._expires
            self.close(sse.CloseReason.TOKEN_EXPIRED if expired else sse.CloseReason.MAX_AGE)
            return self.due
        if now >= self._challenge_at:
            self._challenge_if_due(self._mailbox())
            self.pump()
        if not blocked and now >= self._spoke + turns(self._limits.heartbeat_seconds):
            self._metrics.frames.count("heartbeat")
            self._write(_HEARTBEAT)
        return self._next_look()

    def _end(self, reason: sse.CloseReason) -> None:
        if not self._ended:
            self._ended = True
            self.reason = reason
            self._metrics.closes.labels(reason.text).inc()
            self._hub.leave(self, self._outlets)
            self._outlets, self._box, self._blocked_since = (), None, self._hub.wheel.now

    def _drop(self, reason: sse.CloseReason) -> None:
        if self.line is not None and not self._ended:
            self._end(reason)
            # Not politely: what is buffered will never be read, and a close would wait for it.
            self.line.reset()

    # What it is about.

    def change(self, subscription: Watched) -> None:
        """Watch this from now on; the client is told, and sent what is new.

        Raises:
            Forbidden: it is not open to the stream's principal; nothing changes.
            InvalidInput: it is too much; nothing changes.
            TablesAway: which organizations there are is not known.
        """
        if self.line is None or self._ended:
            return
        views = subscription.views(self.principal, self._hub.directory)
        self.subscription = subscription
        self._metrics.subscription_changes.inc()
        self._watch(views, mark_of(views))

    def renew(self, principal: Principal) -> None:
        """Go on with a fresh token; the client is told until when.

        Raises:
            Forbidden: it does not open all that is watched; nothing changes.
        """
        if self.line is None or self._ended:
            return
        if not self.subscription.open_to(principal):
            raise Forbidden
        self.principal = principal
        now, self._expires = self._hub.wheel.now, self._expiry()
        # Tokens that never live as long as that are challenged at half of it, or renewing would become a loop.
        early = turns(self._limits.challenge_seconds)
        self._challenge_at = self._expires - min(early, (self._expires - now) // 2)
        self._metrics.renewals.inc()
        views = self.subscription.views_now(principal, self._hub.directory)
        self._watch(views, self._mark_for(views))
        if not self._ended:
            self._hub.wheel.schedule(self, self._next_look())

    def reassess(self, principal: Principal) -> None:
        """Go on with other rights of the same holder: what they do not open goes at once, what they open comes."""
        self.principal = principal
        views = self.subscription.views_now(principal, self._hub.directory)
        if not views and (self._outlets or self.line is None):
            self.close(sse.CloseReason.FORBIDDEN)
        elif self.line is None or self._ended:
            return  # it begins with what may be seen then
        elif (before := tuple(outlet.view for outlet in self._outlets)) != views:
            if set(before).difference(views):
                self.withdraw()
            if not self._ended:
                self._watch(views, self._mark_for(views))

    def follow_directory(self) -> None:
        """Watch what the directory makes of the subscription now."""
        if self.line is None or self._ended:
            return
        views = self.subscription.views_now(self.principal, self._hub.directory)
        if views != tuple(outlet.view for outlet in self._outlets):
            self._watch(views, self._mark_for(views))

    def _watch(self, views: Sequence[View], mark: str) -> None:
        before = dict.fromkeys(self._outlets)
        self._outlets = self._hub.exchange(self, self._outlets, views)
        self._mark = mark
        now = set(self._outlets)
        box = self._mailbox()
        box.drop(outlet for outlet in before if outlet not in now)
        box.add_whole(outlet for outlet in self._outlets if outlet not in before)
        box.dropped |= {outlet.feed.organization for outlet in before}
        box.dropped -= {outlet.feed.organization for outlet in now}
        box.subscribed = True
        self.pump()

    def _mark_for(self, views: Sequence[View]) -> str:
        """What ids have to say beside a time: nothing while it is what the address says, to whom it is said most often."""
        plain = all(view.visibility is VisibilityClass.EXACT_RELEASED for view in views)
        return "" if plain and not self._mark and not self.follows_directory else mark_of(views)

    # Times.

    def _expiry(self) -> int:
        return self._hub.wheel.after((self.principal.expires - datetime.now(UTC)).total_seconds())

    def _challenge_if_due(self, box: Mailbox) -> None:
        if self._hub.wheel.now >= self._challenge_at:
            box.challenge = True
            self._challenge_at = self._expires  # then it is too late

    def _next_look(self) -> int:
        ends = min(self._expires, self._age_ends, self._challenge_at)
        if self._blocked_since != NEVER:
            return min(ends, self._blocked_since + turns(self._limits.send_timeout_seconds))
        return min(ends, self._spoke + turns(self._limits.heartbeat_seconds))


def farewell(reason: sse.CloseReason) -> bytes:
    """A whole stream that only says: not now. A status other than 200 would end a browser's EventSource for good."""
    retry = sse.retry_milliseconds(random.random(), low=15_000, high=30_000)
    return sse.opening(retry) + sse.bye(reason, retry)
