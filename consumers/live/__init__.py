"""Live preliminary results for a Python program: the whole state, kept current over reconnections.

    async with LiveResults(url, token=fresh_token, topics=["district/19990010000000/schools"]) as results:
        await results.whole()
        print(results.cell("19990010000101", 2026, "ELA-SUM", "03"))
        async for change in results:
            print(change)

Only ``schemas``, httpx and msgspec are behind it. What it does is docs/wire-format.md, "What a client does".
"""

from consumers.live.changes import CellChanged, Change, OrganizationLeft
from consumers.live.client import LiveResults
from consumers.live.errors import LiveResultsError, StreamEnded, StreamRefused
from consumers.live.frames import Progress
from consumers.live.state import Organization

__all__ = [
    "CellChanged",
    "Change",
    "LiveResults",
    "LiveResultsError",
    "Organization",
    "OrganizationLeft",
    "Progress",
    "StreamEnded",
    "StreamRefused",
]
