"""What becomes of open streams when tokens are revoked, or roles come to mean something else."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from gateway import sse
from gateway.connections import Connections
from gateway.revocations import RevocationList
from schemas.access.roles import Roles

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 200  # farewells before others get a turn; a few milliseconds


async def close_revoked(connections: Connections, revocations: RevocationList) -> None:
    """End the streams whose tokens have been revoked. New ones are refused already, so none slips in meanwhile."""
    revoked = [stream for stream in connections.streams() if revocations.refuses(stream.principal)]
    for number, stream in enumerate(revoked, 1):
        stream.close(sse.CloseReason.REVOKED)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    if revoked:
        logger.info("streams closed, their tokens were revoked streams=%d", len(revoked))


def reassess(connections: Connections, roles: Roles) -> None:
    """Let every stream show what these roles give its subject: no more from now on, and no less.

    In one go, so that nothing is sent in between by the roles of before.
    """
    for stream in connections.streams():
        before = stream.principal
        rights = roles.rights(before.grants)
        if rights == before.rights:
            continue
        try:
            stream.reassess(replace(before, rights=rights))
        except Exception:
            # Whatever it is, it must neither leave this stream as it was nor keep the others from being looked at.
            logger.exception("a stream could not be reassessed")
            stream.close(sse.CloseReason.FAULT)
