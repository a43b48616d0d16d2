"""The frames of a stream that say where it stands; their bodies with figures are made in ``images``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from gateway import sse
from gateway.images import patch_data, put_data
from schemas.figures import rfc3339
from schemas.identifiers import OrganizationId

# What names several organizations whole is cut here, so that no connection needs more than this, and one
# organization, at once.
WHOLE_BYTES: Final = 65_536

_encode: Final = msgspec.json.Encoder().encode


def put_frame(fragments: Sequence[bytes], cursor: sse.Cursor, *, stale: bool, last: bool = True) -> bytes:
    """Everything of some views.

    Only the last of several frames carries an id: a connection that breaks between two has not got everything up to it.
    """
    data = put_data(fragments, cursor, stale=stale)
    return sse.frame("put", data, event_id=str(cursor) if last else None)


def patch_frame(fragments: Sequence[bytes], cursor: sse.Cursor, *, stale: bool, last: bool = True) -> bytes:
    """Changed cells of some views; the id as for a put."""
    data = patch_data(fragments, cursor, stale=stale)
    return sse.frame("patch", data, event_id=str(cursor) if last else None)


def progress_frame(
    complete_ms: int | None, as_of_ms: int | None, *, live: bool, stale: bool = False
) -> bytes:
    """How far the data are complete and how far they were read.

    ``live`` is false while the tables are away; ``stale`` is there, and true, while older results are missing from them.
    """
    data = {
        "complete": None if complete_ms is None else rfc3339(complete_ms),
        "as_of": None if as_of_ms is None else rfc3339(as_of_ms),
        "live": live,
    }
    if stale:
        data["stale"] = True
    return sse.frame("progress", _encode(data))


def subscribed_frame(
    stream_id: str,
    described: Mapping[str, object],
    *,
    organizations: int,
    expires_ms: int,
    dropped: Collection[OrganizationId] = (),
) -> bytes:
    """What the stream is about from here on; ``dropped`` is no longer part of it."""
    data = {
        "stream": stream_id,
        **described,
        "organizations": organizations,
        "expires": rfc3339(expires_ms),
    }
    if dropped:
        data["dropped"] = sorted(dropped)
    return sse.frame("subscribed", _encode(data))


def challenge_frame(stream_id: str, *, expires_ms: int) -> bytes:
    """The token ends then, and the stream with it, unless it is renewed."""
    data = {"expires": rfc3339(expires_ms), "renew": f"/v1/streams/{stream_id}/renew"}
    return sse.frame("challenge", _encode(data))
