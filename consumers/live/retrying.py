"""When to come back: as long as the gateway says, longer each time that nothing comes of it, and never at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

SHORTEST_SECONDS: Final = 0.5  # whatever is answered: two connections a second are no attack
LONGEST_SECONDS: Final = 30.0  # of our own; a gateway that is back is found within this
LONGEST_ASKED_SECONDS: Final = 300.0  # a slip in a header must not silence a reader for a day


@dataclass(slots=True)
class Backoff:
    """The pause before the next attempt.

    ``retry_seconds`` is the last ``retry`` field, which a stream gives each of its readers: every pause is as long.
    """

    retry_seconds: float = 0.0
    _failures: int = 0

    def succeeded(self) -> None:
        """Figures came: what failed before does not count any more."""
        self._failures = 0

    def asked(self, retry_ms: int) -> None:
        """The stream's ``retry`` field."""
        self.retry_seconds = _bounded(retry_ms / 1000)

    def pause(self, jitter: float, asked_seconds: float | None = None) -> float:
        """How many seconds to wait now, for ``jitter`` in [0, 1).

        ``asked_seconds``, of a ``bye`` or Retry-After, goes before the ``retry`` field. Without figures in between the
        pause doubles, from about a second to half a minute.
        """
        ceiling = min(LONGEST_SECONDS, 2 * SHORTEST_SECONDS * (1 << min(self._failures, 10)))
        self._failures += 1
        asked = self.retry_seconds if asked_seconds is None else _bounded(asked_seconds)
        return max(asked, ceiling * (0.5 + jitter / 2))


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """A Retry-After header, of either form; None when there is none that can be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return _bounded(float(text[:6]))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # the form allows "-0000", which is UTC that says nothing of the place
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_ASKED_SECONDS)
