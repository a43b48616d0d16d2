"""Whether a request's Accept header leaves room for a stream; pure.

``EventSource`` asks for ``text/event-stream`` and curl for anything. Only a header that excludes it is told so: who wants
JSON would otherwise wait for the end of an answer that has none.
"""

from __future__ import annotations

from typing import Final

NOT_ACCEPTABLE: Final = (
    "this address sends text/event-stream, which the Accept header excludes; send Accept: text/event-stream, or none. "
    "For the figures as JSON or CSV ask GET /v1/aggregates/{CDS code}"
)

# Which of several ranges decides: the one that says most (RFC 9110, section 12.5.1).
_RANGES: Final = {"text/event-stream": 2, "text/*": 1, "*/*": 0}


def accepts_event_stream(accept: str) -> bool:
    """Whether ``text/event-stream`` will do; several Accept headers are one, joined by commas.

    No header, or one without any media range, accepts everything. A weight that is no number counts as 1.
    """
    told = False
    decided = -1
    accepted = False
    for entry in accept.split(","):
        media_range, _, parameters = entry.partition(";")
        media_range = media_range.strip().lower()
        if not media_range:
            continue
        told = True
        says = _RANGES.get(media_range, -1)
        if says >= decided and says >= 0:
            # The same range twice: what accepts it wins.
            accepted = _weight(parameters) > 0 or (says == decided and accepted)
            decided = says
    return accepted or not told


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0
