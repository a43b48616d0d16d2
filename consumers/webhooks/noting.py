"""Notes for many attempts at once: while one lot is being written, the next one gathers.

Every lot wakes the thread that writes, and that thread and the event loop are in each other's way. So a busy worker writes
some two hundred lots a second rather than some thousand entries, and an idle one writes at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from schemas.audit import AuditEvent
from schemas.process.audit.auditor import Auditor, AuditUnavailable

# Between two lots. An attempt waits for two, which is nothing beside what it takes to reach a receiver; with none, a busy
# worker spends a tenth of its time on waking threads.
_GATHERING_SECONDS: Final = 0.005


class Noting:
    """Takes entries; one event loop calls."""

    def __init__(self, audit: Auditor) -> None:
        self._audit = audit
        self._events: list[AuditEvent] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Refuse what would be refused after it was noted.

        Raises:
            AuditUnavailable: nothing can be written just now.
        """
        if self._audit.failing:
            # Not noted either: waiting messages come back each second, and would fill what is held for better times.
            raise AuditUnavailable("the audit cannot be written; see SCORES_AUDIT_DIR")

    def note(self, event: AuditEvent) -> None:
        """Note it with the next lot, and do not wait; never raises."""
        self._events.append(event)
        self._go()

    async def written(self, event: AuditEvent) -> None:
        """Note it, and return when it outlives this process.

        Raises:
            AuditUnavailable: it could not be written in time. It is noted all the same.
        """
        waiting = asyncio.get_running_loop().create_future()
        self._events.append(event)
        self._waiting.append(waiting)
        self._go()
        await waiting

    def hand_over(self) -> None:
        """Give the audit what still gathers, when no more comes; those who wait for it have gone."""
        events, self._events = self._events, []
        for event in events:
            self._audit.note(event)

    def _go(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="noting deliveries")

    async def _write(self) -> None:
        try:
            while self._events:
                self.hand_over()
                waiting, self._waiting = self._waiting, []
                trouble: AuditUnavailable | None = None
                try:
                    await self._audit.written()
                except AuditUnavailable as error:
                    trouble = error
                for one in waiting:
                    if one.done():  # gave up
                        continue
                    if trouble is None:
                        one.set_result(None)
                    else:
                        one.set_exception(trouble)
                await asyncio.sleep(_GATHERING_SECONDS)
        finally:
            self._writing = None
