"""What changed and was not told yet: by endpoint, organization and event type; pure.

Only names are kept (``consumers.webhooks.pending_names``), not figures: what is told is read when it is told. So a hundred
changes of a cell are one entry, and nothing that was withdrawn meanwhile is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Message

# Their messages are about organizations, one at a time each; the others stand for themselves.
_OF_ORGANIZATIONS: Final = (
    EventType.AGGREGATE_UPDATED,
    EventType.RESULT_RESCORED,
    EventType.RESULT_INVALIDATED,
    EventType.RELEASE_CHANGED,
)


class PendingKey(NamedTuple):
    """Of which organization something is pending, and what kind of event will tell it."""

    organization: OrganizationId
    type: EventType

    @property
    def field(self) -> str:
        """The field of the stored hash."""
        return f"{self.organization}/{self.type}"


class _Stored(Struct, array_like=True):
    since_ms: int
    names: list[str]


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Stored).decode


def key_from(field: str) -> PendingKey:
    """The key of a stored field.

    Raises:
        ValueError: it is none.
    """
    organization, _, type_ = field.partition("/")
    return PendingKey(OrganizationId(organization), EventType(type_))


def undelivered_key(message: Message) -> PendingKey | None:
    """Of what there is to be no second undelivered message while this one waits."""
    if message.organization is None or message.type not in _OF_ORGANIZATIONS:
        return None
    return PendingKey(message.organization, message.type)


class _Entry:
    __slots__ = ("names", "since_ms", "taken")

    def __init__(self, since_ms: int, names: set[str]) -> None:
        self.since_ms = since_ms
        self.names = names
        self.taken: frozenset[str] = frozenset()  # being told, and not yet known to be in a message


class PendingBook:
    """Everything that is pending, and when it ripens."""

    def __init__(self, interval_ms: Callable[[str], int]) -> None:
        """``interval_ms``: how long changes of an organization are collected for an endpoint."""
        self._interval_ms = interval_ms
        self._entries: dict[str, dict[PendingKey, _Entry]] = {}
        self._ripening: list[tuple[int, str, PendingKey]] = []

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def restore(self, endpoint: str, field: str, stored: bytes) -> None:
        """Take up what Redis has.

        Raises:
            ValueError: it is no entry.
        """
        key, entry = key_from(field), _decode(stored)
        self._entries.setdefault(endpoint, {})[key] = _Entry(entry.since_ms, set(entry.names))
        self._push(endpoint, key)

    def has(self, endpoint: str, key: PendingKey, name: str) -> bool:
        """Whether a name waits already."""
        entry = self._entries.get(endpoint, {}).get(key)
        return entry is not None and name in entry.names

    def any(self, endpoint: str, key: PendingKey) -> bool:
        """Whether anything of an organization waits."""
        return key in self._entries.get(endpoint, ())

    def add(self, endpoint: str, key: PendingKey, names: Iterable[str], now_ms: int) -> bool:
        """Note names; whether any was not there already."""
        entries = self._entries.setdefault(endpoint, {})
        entry = entries.get(key)
        if entry is None:
            entries[key] = _Entry(now_ms, set(names))
            self._push(endpoint, key)
            return True
        before = len(entry.names)
        if not before:
            entry.since_ms = now_ms
        entry.names.update(names)
        if not before:
            self._push(endpoint, key)
        return len(entry.names) > before

    def stored(self, endpoint: str, key: PendingKey) -> bytes | None:
        """What Redis is to have; None: nothing."""
        entry = self._entries.get(endpoint, {}).get(key)
        if entry is None:
            return None
        return _encode(_Stored(entry.since_ms, sorted(entry.names | entry.taken)))

    def ripe(self, now_ms: int, limit: int) -> list[tuple[str, PendingKey]]:
        """Up to so many whose time has come; each is handed out once, until ``wake`` or the next change after ``settle``."""
        found: dict[tuple[str, PendingKey], None] = {}  # one may stand in the heap twice
        while self._ripening and self._ripening[0][0] <= now_ms and len(found) < limit:
            _, endpoint, key = heappop(self._ripening)
            entry = self._entries.get(endpoint, {}).get(key)
            if entry is None or not entry.names or entry.taken:
                continue
            if self._ripe_ms(endpoint, entry) > now_ms:
                self._push(endpoint, key)  # its interval is another one now
            else:
                found[endpoint, key] = None
        return list(found)

    def next_ripe_ms(self) -> int | None:
        """When something ripens next."""
        return self._ripening[0][0] if self._ripening else None

    def take(self, endpoint: str, key: PendingKey) -> frozenset[str]:
        """Its names, to be told now; what is noted from here on waits for the next time."""
        entry = self._entries.get(endpoint, {}).get(key)
        if entry is None:
            return frozenset()
        entry.taken |= frozenset(entry.names)
        entry.names = set()
        return entry.taken

    def settle(self, endpoint: str, key: PendingKey, names: AbstractSet[str]) -> None:
        """These, of those that were taken, are in a message, or are not to be told."""
        entry = self._entries.get(endpoint, {}).get(key)
        if entry is None:
            return
        entry.taken -= names
        if entry.taken:
            return
        if entry.names:
            self._push(endpoint, key)
        else:
            self._drop(endpoint, key)

    def give_back(self, endpoint: str, key: PendingKey, names: AbstractSet[str]) -> None:
        """These, of those that were taken, could not be told now; they are pending as before."""
        entry = self._entries.get(endpoint, {}).get(key)
        if entry is not None:
            entry.names |= names & entry.taken
            entry.taken -= names
            if entry.names and not entry.taken:
                self._push(endpoint, key)

    def wake(self, endpoint: str, keys: Collection[PendingKey] | None = None) -> None:
        """Whatever kept an endpoint's entries from being told may be over."""
        entries = self._entries.get(endpoint, {})
        for key in entries if keys is None else keys:
            if key in entries:
                self._push(endpoint, key)

    def forget(self, endpoint: str) -> None:
        """There is no such endpoint any more."""
        self._entries.pop(endpoint, None)

    def endpoints(self) -> Iterator[str]:
        """Those of which anything is pending."""
        return iter(self._entries)

    def keys(self, endpoint: str) -> list[PendingKey]:
        """What is pending for an endpoint."""
        return list(self._entries.get(endpoint, ()))

    def _drop(self, endpoint: str, key: PendingKey) -> None:
        entries = self._entries[endpoint]
        del entries[key]
        if not entries:
            del self._entries[endpoint]

    def _ripe_ms(self, endpoint: str, entry: _Entry) -> int:
        return entry.since_ms + self._interval_ms(endpoint)

    def _push(self, endpoint: str, key: PendingKey) -> None:
        # Every push leaves one entry, and those of what is not pending any more are passed over; should they ever be most
        # of the heap, it is made anew.
        heappush(self._ripening, (self._ripe_ms(endpoint, self._entries[endpoint][key]), endpoint, key))
        if len(self._ripening) > 10_000 and len(self._ripening) > 4 * len(self):
            self._ripening = [
                (self._ripe_ms(one, entry), one, its)
                for one, entries in self._entries.items()
                for its, entry in entries.items()
                if entry.names and not entry.taken
            ]
            heapify(self._ripening)
