"""From what somebody wants to what stands in Kafka: judged, noted in the audit, produced, and waited for.

Guarantee: *all or nothing is asked of Kafka, and nothing that is not in the audit.* An order of which one line is refused
changes nothing. The entry is on disk before the first record is produced. When Kafka's acknowledgement does not come, some
records may have arrived all the same; giving the order again is harmless.

An order is judged by the tables. Two gateways that change one district's state in the same moment, or a second order while no
worker applies the first, go by the state before, and the later record wins. Within one gateway each order waits for the one
before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

from gateway.release_rules import Verdict, may_change, may_know
from gateway.releases.wanted import Fault, Wanted
from gateway.tokens import Principal
from schemas.access.permissions import Forbidden
from schemas.audit import AuditEvent, AuditKind
from schemas.errors import DependencyUnavailable, ScoreStreamError
from schemas.events import RELEASE_TYPE, cloud_event_headers, encode_event
from schemas.organization_list import OrganizationList
from schemas.process.audit.auditor import Auditor
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.releases import ReleaseKey, Releases, ReleaseState, release_entry
from schemas.topics import RELEASES

RELEASES_PATH: Final = "/v1/releases"
_LOOK_SECONDS: Final = 0.05
# A worker applies within some 10 ms of the acknowledgement; so long, it restarts or a rebalance is under way.
_APPLIED_SECONDS: Final = 4.0


class Refused(ScoreStreamError):
    """The caller may not make this change; says which permission is missing."""


class RefusedLines(ScoreStreamError):
    """The caller may not make all changes of a file; none was made.

    Attributes:
        faults: one for each line that is refused.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            f"{len(faults)} {'line is' if len(faults) == 1 else 'lines are'} not yours to change, the first is line "
            f"{faults[0].line}: {faults[0].error} Nothing was changed."
        )
        self.faults = faults


class ReadsReleases(Protocol):
    """What is asked of ``gateway.tables.Tables``."""

    async def releases(self, known: Releases | None) -> Releases | None: ...


class Change(NamedTuple):
    """One state that changes."""

    key: ReleaseKey
    before: ReleaseState
    after: ReleaseState


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order.

    Attributes:
        changes: what changes; what had the wanted state already is not in it.
        applied: whether that is in the tables already; Kafka has it in any case.
    """

    changes: tuple[Change, ...]
    applied: bool


class ReleaseChanges:
    """Makes changes; one per gateway process."""

    def __init__(
        self,
        stored: ReadsReleases,
        publisher: EventPublisher,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        applied_seconds: float = _APPLIED_SECONDS,
    ) -> None:
        self._stored = stored
        self._publisher = publisher
        self._clock = clock
        self._applied_seconds = applied_seconds
        self._one_at_a_time = asyncio.Lock()

    async def states(self) -> Releases:
        """All release states as they are stored.

        Raises:
            DependencyUnavailable: no worker has read them from the log yet.
        """
        releases = await self._stored.releases(None)
        if releases is None:
            raise DependencyUnavailable("the release states have not been read from the log yet")
        return releases

    async def change(
        self,
        wanted: Sequence[Wanted],
        principal: Principal,
        known: OrganizationList,
        audit: Auditor,
        *,
        address: str = "",
    ) -> Outcome:
        """Bring about the wanted states.

        Raises:
            Forbidden: the district of a single change does not exist, or is none of the caller's.
            Refused: the caller may not make a single change.
            RefusedLines: lines of a file are one or the other.
            DependencyUnavailable: the audit or Kafka did not take it in time.
        """
        async with self._one_at_a_time:
            releases = await self.states()
            judged = [_judge(one, releases, principal, known) for one in wanted]
            _raise_refusals(wanted, judged)
            changes = tuple(
                change for change, _ in judged if change is not None and change.before is not change.after
            )
            if not changes:
                return Outcome((), applied=True)
            verdicts = {change: verdict for change, verdict in judged if change is not None}
            notes = _notes(changes, verdicts, principal, address)
            for note in notes:
                audit.note(note("changed"))
            await audit.written()
            try:
                await self._publisher.publish(self._records(changes))
            except DependencyUnavailable:
                for note in notes:
                    audit.note(note("not acknowledged"))
                raise
            return Outcome(changes, await self._applied(releases, changes))

    def _records(self, changes: Sequence[Change]) -> list[OutgoingRecord]:
        now, order = self._clock(), uuid4().hex
        return [
            OutgoingRecord(
                RELEASES,
                change.key.path.encode(),
                encode_event(release_entry(change.key, change.after)),
                tuple(cloud_event_headers(RELEASE_TYPE, f"{order}.{number}", RELEASES_PATH, now)),
            )
            for number, change in enumerate(changes, 1)
        ]

    async def _applied(self, before: Releases, changes: Sequence[Change]) -> bool:
        """Wait until the tables have it; False when they do not for long."""
        seen: Releases | None = before
        try:
            async with asyncio.timeout(self._applied_seconds):
                while seen is None or any(seen.state(*key) is not after for key, _, after in changes):
                    await asyncio.sleep(_LOOK_SECONDS)
                    seen = await self._stored.releases(seen)
        except TimeoutError:
            return False
        return True


def _judge(
    wanted: Wanted, releases: Releases, principal: Principal, known: OrganizationList
) -> tuple[Change | None, Verdict]:
    """The change, and what is said of it; no change where nothing may be said of the district at all."""
    before = releases.state(*wanted.key)
    district = wanted.key.district
    verdict = may_change(principal.rights, district, before, wanted.state)
    if not may_know(principal.rights, district) or district not in known:
        return None, verdict
    return Change(wanted.key, before, wanted.state), verdict


def _raise_refusals(wanted: Sequence[Wanted], judged: Sequence[tuple[Change | None, Verdict]]) -> None:
    if len(wanted) == 1 and wanted[0].line == 0:
        [(change, verdict)] = judged
        if change is None:
            raise Forbidden
        if not verdict.allowed:
            raise Refused(_why(change, verdict))
        return
    faults = [
        Fault(
            one.line,
            "district",
            one.key.district,
            str(Forbidden()) if change is None else _why(change, verdict),
        )
        for one, (change, verdict) in zip(wanted, judged, strict=True)
        if change is None or not verdict.allowed
    ]
    if faults:
        raise RefusedLines(faults)


def _why(change: Change, verdict: Verdict) -> str:
    step = f"from {change.before.word} to {change.after.word}"
    if verdict.missing:
        several = "permissions" if len(verdict.missing) > 1 else "permission"
        return f"To move {change.key.path} {step}, this token lacks the {several} {' and '.join(verdict.missing)}."
    return (
        f"This token may not move {change.key.path} {step}: whoever loads test data is not a district's reviewer, too. "
        "Somebody else has to take one of the two offices."
    )


def _notes(
    changes: Sequence[Change],
    verdicts: Mapping[Change, Verdict],
    principal: Principal,
    address: str,
) -> list[Callable[[str], AuditEvent]]:
    """An entry of the audit, once its outcome is known, for all districts whose results of one kind go one way."""
    together: dict[tuple[int, str, str, ReleaseState, ReleaseState], list[Change]] = {}
    for change in changes:
        year, _, subject, report = change.key
        together.setdefault((year, subject, report.value, change.before, change.after), []).append(change)

    def noting(alike: Sequence[Change]) -> Callable[[str], AuditEvent]:
        first = alike[0]
        return lambda outcome: AuditEvent(
            kind=AuditKind.RELEASE_CHANGED,
            subject=principal.subject,
            token_id=principal.token_id,
            issuer=principal.issuer,
            address=address,
            organizations=tuple(f"district/{change.key.district}" for change in alike),
            years=(first.key.school_year,),
            report=first.key.report.value,
            outcome=outcome,
            rule=" ".join(verdicts[first].needed),
            detail=f"{first.key.subject}: {first.before.word} to {first.after.word}",
        )

    return [noting(alike) for alike in together.values()]
