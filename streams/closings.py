"""What a worker knows of closings, and the parking of results that were taken down while their test was closed.

Whether a result is parked must not depend on when this worker heard of the closing. It decides a batch only when it knows
every change that could matter to it, by an argument that needs no clock of ours:

- Some result of time t was fetched, and then the closings topic was read to its end. A change that is not in it came after t,
  as the brokers' clocks have it (``TOLERANCE_MS`` more or less), so it takes effect ``LEAD_MS`` after that at the earliest.
- So everything taken down up to about t + ``LEAD_MS`` can be decided. A batch that goes beyond waits until the topic has been
  read once more. In a running worker that is rare, for it reads each second what there is.

A worker that cannot read the topic waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from schemas.closings import LEAD_MS, TOLERANCE_MS, Change, Closings, closed_detail, fold
from schemas.rejections import Reason
from streams.reading import Incoming, Rejection

logger = logging.getLogger(__name__)

# All records of the closings topic that were not returned before, up to where it ended when this was called, or later.
ReadChanges = Callable[[], Awaitable[Sequence[Change]]]

# Twice: once for the broker that stamped the change, and once because records stand in the log in the order of their offsets,
# not of their times, so that some of a batch may be later than its last.
_DECIDABLE_MS: Final = LEAD_MS - 2 * TOLERANCE_MS
_LONG_AGO: Final = -(2**63)


class KnownClosings:
    """All closings that this process knows; shared by its partitions."""

    def __init__(self, read: ReadChanges) -> None:
        self.now = Closings()
        self._read = read
        self._reading = asyncio.Lock()
        self._seen_ms = _LONG_AGO  # the latest record that was fetched
        self._fetched_ms = _LONG_AGO  # the latest one that was fetched before the topic was last read

    async def up_to(self, record_ms: int) -> Closings:
        """What decides a batch that has been fetched; waits for the topic when it may have something to say.

        Args:
            record_ms: of the batch's last record.
        """
        self._seen_ms = max(self._seen_ms, record_ms)
        if record_ms >= self._fetched_ms + _DECIDABLE_MS:
            async with self._reading:
                # Several partitions may have waited for the one that read.
                if record_ms >= self._fetched_ms + _DECIDABLE_MS:
                    await self._read_on()
        return self.now

    async def look(self) -> None:
        """Take over what is new, so that no batch has to wait for it."""
        async with self._reading:
            await self._read_on()

    async def _read_on(self) -> None:
        fetched_ms = self._seen_ms  # before the topic is asked, or a change could slip in between
        changes = await self._read()
        if changes:
            self.now = fold(changes, self.now)
            for change in changes:
                logger.info(
                    "test %s test=%s effective_ms=%d",
                    change.entry.change,
                    change.about,
                    change.effective_ms,
                )
        self._fetched_ms = fetched_ms


def park_closed(incoming: list[Incoming], closings: Closings) -> tuple[list[Incoming], list[Rejection]]:
    """Those whose test was open at their record's time, and the others as rejections."""
    fields = closings.fields
    if not any(event.fields[0] in fields for event in incoming):  # last year's stay closed for good
        return incoming, []
    taken: list[Incoming] = []
    parked: list[Rejection] = []
    for event in incoming:
        field = event.fields[0]
        since_ms = closings.closed_since(field, event.record.timestamp)
        if since_ms is None:
            taken.append(event)
        else:
            parked.append(Rejection(event.record, Reason.CLOSED, closed_detail(field, since_ms)))
    return taken, parked


def never_closed() -> KnownClosings:
    """For a worker without a closings topic: one that is measured or tested by itself."""

    async def nothing() -> Sequence[Change]:
        return ()

    return KnownClosings(nothing)
