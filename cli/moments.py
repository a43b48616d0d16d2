"""Moments as they are typed: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.errors import InvalidInput
from schemas.events import microseconds

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_ms(option: str, text: str, now: datetime) -> int:
    """Milliseconds since 1970 of ``2026-05-02T08:00Z``, ``2026-05-02`` (UTC) or ``12h`` ago.

    Raises:
        InvalidInput: the text means nothing; the message names the option.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    if ago is not None:
        moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise InvalidInput(
                f"{option} is '{text[:40]}'; expected a time such as 2026-05-02T08:00Z or 2026-05-02, or how long ago: "
                "30m, 12h, 7d"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    return microseconds(moment) // 1000
