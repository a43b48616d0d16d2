"""The open streams of this node: how many there may be, who has them, and which one a command means."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol

from gateway import sse
from gateway.subscriptions import Subscription
from gateway.tokens import Principal

# A person who clicks from school to school stays below this; a loop gets a change a second.
_CHANGES_AT_ONCE: Final = 20
_CHANGES_PER_SECOND: Final = 1.0
_NETWORK_BITS: Final = 64  # of an IPv6 address: one household or machine has all the rest to itself


class OpenStream(Protocol):
    """What is known of a stream, and can be asked of it, from outside."""

    @property
    def id(self) -> str:
        """Its name, which names its node too."""

    @property
    def principal(self) -> Principal:
        """In whose name it is open."""

    @property
    def subject(self) -> str:
        """Whose it is."""

    def close(self, reason: sse.CloseReason) -> None:
        """End it; one that has not begun yet says so as soon as it does."""

    def reassess(self, principal: Principal) -> None:
        """Show what the same holder may see by other rights; what it may not see any more goes at once."""

    def change(self, subscription: Subscription) -> None:
        """Watch this from now on.

        Raises:
            Forbidden: the stream's token does not open it. Nothing is changed.
            InvalidInput: it is too much for one stream.
            DependencyUnavailable: which organizations there are is not known.
        """

    def renew(self, principal: Principal) -> None:
        """Go on with this token, which is the same subject's.

        Raises:
            Forbidden: it does not open all that is watched. Nothing is changed.
            DependencyUnavailable: which organizations there are is not known.
        """


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many streams may be open at once."""

    per_subject: int = 50
    per_address: int = 2_000
    per_node: int = 20_000


@dataclass(slots=True)
class _Entry:
    stream: OpenStream
    address: str
    changes_left: float
    counted_monotonic: float


class Connections:
    """Counts and finds the open streams; all calls come from one event loop."""

    def __init__(self, limits: ConnectionLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._by_subject: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def admit(self, subject: str, address: str) -> sse.CloseReason | None:
        """Why one more stream cannot be opened now; None when it can. An empty address is not counted."""
        if self._by_subject[subject] >= self._limits.per_subject:
            return sse.CloseReason.TOO_MANY_STREAMS
        if len(self._entries) >= self._limits.per_node:
            return sse.CloseReason.OVERLOADED
        if address and self._by_address[address] >= self._limits.per_address:
            return sse.CloseReason.OVERLOADED
        return None

    def entered(self, stream: OpenStream, address: str) -> None:
        """Count a stream, and let it be found, until it has ``left``."""
        self._entries[stream.id] = _Entry(stream, address, _CHANGES_AT_ONCE, self._clock())
        self._by_subject[stream.subject] += 1
        self._by_address[address] += 1

    def left(self, stream: OpenStream) -> None:
        """Forget a stream; one that is not known is forgotten already."""
        entry = self._entries.pop(stream.id, None)
        if entry is not None:
            _take_one(self._by_subject, stream.subject)
            _take_one(self._by_address, entry.address)

    def streams(self) -> list[OpenStream]:
        """All open streams of the moment."""
        return [entry.stream for entry in self._entries.values()]

    def get(self, stream_id: str) -> OpenStream | None:
        """The open stream of that id."""
        entry = self._entries.get(stream_id)
        return entry.stream if entry else None

    def take_change(self, stream_id: str) -> bool:
        """Whether this stream may be changed once more now; then that is counted.

        A change costs a new picture of what is added, so nobody may ask for it in a loop.
        """
        entry = self._entries[stream_id]
        now = self._clock()
        earned = (now - entry.counted_monotonic) * _CHANGES_PER_SECOND
        entry.changes_left = min(_CHANGES_AT_ONCE, entry.changes_left + earned)
        entry.counted_monotonic = now
        if entry.changes_left < 1:
            return False
        entry.changes_left -= 1
        return True


def counted_address(host: str | None) -> str:
    """What an address limit counts: an IPv4 address, or the /64 network of an IPv6 address; empty for a local socket."""
    if not host:
        return ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]  # whatever a trusted proxy named
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS)}/{_NETWORK_BITS}"
    return str(address)


def _take_one(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # so that memory follows the audience
