"""Noting what the audit must know, as those see it who have something to note."""

from __future__ import annotations

from typing import Protocol

from schemas.audit import AuditEvent
from schemas.errors import DependencyUnavailable


class AuditUnavailable(DependencyUnavailable):
    """The audit cannot be written just now, so nothing new may be disclosed; what is being shown goes on."""


class Auditor(Protocol):
    """Takes note of what happens."""

    def note(self, event: AuditEvent) -> None:
        """Note it. Returns at once and never raises: what is noted is written a moment later."""

    @property
    def failing(self) -> bool:
        """Whether nothing can be written just now; for those who cannot wait for ``written``."""

    async def written(self) -> None:
        """Return when all that was noted so far is written, and outlives this process.

        For whatever discloses something new: note it, await this, then show it.

        Raises:
            AuditUnavailable: it could not be written in time.
        """


class NoAudit:
    """Takes note of nothing; for tests of other things, which may look at ``noted``."""

    failing = False

    def __init__(self) -> None:
        self.noted: list[AuditEvent] = []

    def note(self, event: AuditEvent) -> None:
        self.noted.append(event)

    async def written(self) -> None:
        return None
