"""Server-sent events, as bytes: frames, ids and the texts that never change.

Field order and spacing are those of sse-starlette with ``\\n`` line ends (a test compares the bytes). What comes in is
trusted to be JSON; ids and event names are checked, because a line break in one would be a field of the sender's making.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from schemas.errors import InvalidInput
from schemas.keys import Generation

# Any other byte in Last-Event-ID, or more of them, turns a browser's reconnect into a CORS preflight.
_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_EVENT: Final = re.compile(r"[a-z][a-z_]{0,31}")
# Not str.splitlines(): it also splits on U+2028, which JSON may contain unescaped.
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_CURSOR: Final = re.compile(r"([A-Za-z0-9_~-]{1,64})\.([0-9]{1,15})(?:\.([0-9a-f]{10}))?")

HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform also keeps proxies from compressing, which would hold frames back.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class CloseReason(Enum):
    """Why a stream ended, from good to bad, and whether its client should come back."""

    CLIENT_GONE = ("client_gone", True)
    MAX_AGE = ("max_age", True)
    DRAINING = ("draining", True)
    TOKEN_EXPIRED = ("token_expired", False)
    REVOKED = ("revoked", False)
    FORBIDDEN = ("forbidden", False)  # what was watched may no longer be seen
    NOT_READY = ("not_ready", True)
    TOO_MANY_STREAMS = ("too_many_streams", True)
    OVERLOADED = ("overloaded", True)
    SLOW_READER = ("slow_reader", True)
    FAULT = ("fault", True)

    def __init__(self, text: str, reconnect: bool) -> None:
        self.text = text
        self.reconnect = reconnect


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a subscriber stands: all changes of this generation up to this Redis time have been sent to it.

    ``mark`` names what the stream was about, where its address does not tell; ten hexadecimal digits, or nothing.
    """

    generation: Generation
    milliseconds: int
    mark: str = ""

    def __str__(self) -> str:
        place = f"{self.generation}.{self.milliseconds}"
        return f"{place}.{self.mark}" if self.mark else place

    def marked(self, mark: str) -> Cursor:
        """The same place, of a stream with this mark."""
        return Cursor(self.generation, self.milliseconds, mark) if mark != self.mark else self


def parse_cursor(text: str | None) -> Cursor | None:
    """A cursor from a Last-Event-ID; None when it is absent or not one of ours, and then a ``put`` is due."""
    match = _CURSOR.fullmatch(text) if text else None
    return Cursor(Generation(match[1]), int(match[2]), match[3] or "") if match else None


def frame(event: str, data: bytes, *, event_id: str | None = None, retry_ms: int | None = None) -> bytes:
    """One event. ``data`` may have line ends of any kind; each line becomes a data field.

    Raises:
        InvalidInput: the id or the event name could not be sent as it is.
    """
    if not _EVENT.fullmatch(event):
        raise InvalidInput(f"'{event[:40]!r}' is no event name; expected small letters and underscores")
    lines = [f"event: {event}\n".encode()]
    if event_id is not None:
        lines.insert(0, id_line(event_id))
    if b"\n" in data or b"\r" in data:
        lines += [b"data: " + line + b"\n" for line in _LINE_END.split(data)]
    else:
        lines += (b"data: ", data, b"\n")
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms}\n".encode())
    lines.append(b"\n")
    return b"".join(lines)


def id_line(event_id: str) -> bytes:
    """The id field.

    Raises:
        InvalidInput: it has other characters than letters, digits and ``._~-``, or more than 128.
    """
    if not _ID.fullmatch(event_id):
        raise InvalidInput(f"{event_id[:40]!r} is no event id; expected 1 to 128 of A-Z a-z 0-9 . _ ~ -")
    return f"id: {event_id}\n".encode()


def opening(retry_ms: int) -> bytes:
    """What every stream begins with, at once: some servers and proxies hold the headers until the first byte."""
    return f": ok\nretry: {retry_ms}\n\n".encode()


def comment(text: str) -> bytes:
    """A comment; invisible to page scripts, it keeps proxies from closing an idle stream."""
    return b": " + b" ".join(_LINE_END.split(text.encode())) + b"\n\n"


def bye(reason: CloseReason, retry_ms: int) -> bytes:
    """The last frame of a stream. ``retry`` is set as well, so that a bare EventSource keeps the distance too."""
    reconnect = "true" if reason.reconnect else "false"
    data = f'{{"reason":"{reason.text}","reconnect":{reconnect},"retry_ms":{retry_ms}}}'
    return frame("bye", data.encode(), retry_ms=retry_ms)


HEARTBEAT: Final = comment("still here")
WARMING: Final = comment("the tables are being filled; the figures follow")
AWAY: Final = comment("the tables cannot be reached; the figures stand still and will catch up")


def retry_milliseconds(jitter: float, *, low: int = 2_000, high: int = 8_000) -> int:
    """A reconnection delay of one subscriber's own, for ``jitter`` in [0, 1): else all would come back at once."""
    return low + int((high - low) * jitter)
