"""What all clients have in common: which streams they follow, and where what they see goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlencode

import msgspec

from schemas.identifiers import OrganizationId
from tests.watching.belief import Belief, Shared
from tests.watching.seen import Seen


@dataclass(frozen=True, slots=True)
class Watch:
    """One stream to follow."""

    name: str
    topics: Sequence[str]
    organizations: Collection[OrganizationId]  # that these topics stand for

    def url(self, gateway: str) -> str:
        """Its address at a gateway."""
        return f"{gateway}/v1/stream?{urlencode([('topic', topic) for topic in self.topics])}"


class Followed:
    """One stream of one client: everything it sees is written down, line by line, and believed."""

    def __init__(self, client: str, watch: Watch, shared: Shared, folder: Path) -> None:
        self.watch = watch
        self.belief = Belief(f"{client}, {watch.name}", watch.organizations, shared)
        self.log = folder / f"{client} {watch.name}.jsonl".replace(" ", "-")
        self._file = self.log.open("wb")
        self._encoder = msgspec.json.Encoder()

    def take(self, seen: Seen) -> None:
        """Note what the client saw; always from the same thread."""
        self._file.write(self._encoder.encode(seen._asdict()) + b"\n")
        self.belief.take(seen)

    def close(self) -> None:
        """Nothing comes any more."""
        self._file.close()


class Client(Protocol):
    """Follows its streams inside ``with``, from a thread of its own."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


# How a client is made: the gateway's address, a token, and the streams to follow.
ClientFactory = Callable[[str, str, Sequence[Followed]], Client]
