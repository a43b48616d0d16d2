"""What a client saw: an event, or the begin or end of a stream; and how to read events off curl's output."""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN: Final = "open"
END: Final = "end"
GAVE_UP: Final = "gave up"  # it was refused, and an EventSource would not come back

# What docs/wire-format.md names. An EventSource hands over only what is listened for.
EVENTS: Final = ("subscribed", "put", "patch", "progress", "challenge", "bye")


class Seen(NamedTuple):
    """One thing that a client saw."""

    at: float  # seconds since 1970
    what: str  # an event's name, or one of the above
    data: str = ""
    id: str = ""  # of the last event that had one


class Blocks:
    """Puts events together from the lines of one stream, as the HTML standard says; curl leaves that to its user."""

    def __init__(self) -> None:
        self.id = ""
        self._event = ""
        self._data: list[str] = []

    def line(self, line: str, now: float) -> Seen | None:
        """Take a line without its end; an event when this line was its last."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id":
                self.id = value
            case "" if not line:
                seen = Seen(now, self._event or "message", "\n".join(self._data), self.id)
                dispatched = bool(self._data)
                self._event, self._data = "", []
                return seen if dispatched else None
        return None
