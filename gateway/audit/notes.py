"""What is noted of streams, requests and refusals: who, through which token, about what; never a figure, never a token."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple

from starlette.requests import HTTPConnection

from gateway import sse
from gateway.audit.refusals import Refusals
from gateway.cell_filter import CellFilter
from gateway.commands import Command, Outcome, Result
from gateway.holders import Holder
from gateway.request_scope import PRINCIPAL
from gateway.stream import Stream
from gateway.tokens import Principal
from schemas.access.roles import Roles
from schemas.audit import AuditEvent, AuditKind, shortened
from schemas.errors import InvalidIdentifier
from schemas.figures import rfc3339
from schemas.identifiers import organization_id
from schemas.process.audit.auditor import Auditor

# What a refused request asked for is kept where it has the form of a topic or a code, and nothing else of it: whatever
# stands there instead may be a token in the wrong place.
_ASKED: Final = re.compile(r"(?:(?:school|district|county|state)/)?[0-9-]{14,20}(?:/[a-z]{1,10})?")
_MOST_ASKED: Final = 50
_PATH_WORD: Final = re.compile(r"[a-z]{1,20}|v1")


class _Open(NamedTuple):
    stream: Stream
    since_monotonic: float


class Notes:
    """Notes what this gateway shows, to whom, and what it refuses; one event loop calls."""

    def __init__(self, audit: Auditor) -> None:
        self.audit = audit
        self.refusals = Refusals(audit)
        self._open: dict[str, _Open] = {}

    # Streams.

    async def opened(
        self, stream: Stream, request: HTTPConnection, cursor: sse.Cursor | None, since_ms: int | None
    ) -> None:
        """A stream is about to begin; returns when that is written.

        Raises:
            AuditUnavailable: it cannot be, so the stream must not begin.
        """
        self._open[stream.id] = _Open(stream, time.monotonic())
        resumed = since_ms if cursor is None else cursor.milliseconds
        self.audit.note(
            _event(
                AuditKind.STREAM_OPENED,
                stream.principal,
                address=address_of(request),
                stream=stream.id,
                report="aggregate",
                resumed="" if resumed is None else _moment(resumed),
                **_watched(stream),
            )
        )
        await self.audit.written()

    def changed(self, stream: Stream, rule: str = "") -> None:
        """An open stream watches something else from now on, or is shown it differently; ``rule`` says by what."""
        self.audit.note(
            _event(
                AuditKind.STREAM_CHANGED,
                stream.principal,
                stream=stream.id,
                report="aggregate",
                rule=rule,
                **_watched(stream),
            )
        )

    def closed(self, stream: Stream) -> None:
        """A stream's connection is over."""
        known = self._open.pop(stream.id, None)
        if known is not None:
            seconds = round(time.monotonic() - known.since_monotonic, 3)
            self.audit.note(
                _event(
                    AuditKind.STREAM_CLOSED,
                    stream.principal,
                    stream=stream.id,
                    outcome=stream.reason.text,
                    seconds=seconds,
                )
            )

    def carrying_out(self, carry_out: Callable[[Command], Result]) -> Callable[[Command], Result]:
        """``carry_out``, with what came of each command noted; nothing new is shown while that cannot be written."""

        def carried_out(command: Command) -> Result:
            if command.request is not None and self.audit.failing:
                return Result(Outcome.NOT_NOW)
            known = self._open.get(command.stream)
            shown = None if known is None else _watched(known.stream)
            result = carry_out(command)
            if result.outcome is Outcome.FOREIGN:
                refused = _event(
                    AuditKind.REFUSED, command.holder, stream=command.stream, rule="foreign_stream"
                )
                self.audit.note(refused)
            elif result.outcome is Outcome.DONE and known is not None:
                if command.request is None:
                    self.audit.note(_event(AuditKind.STREAM_RENEWED, command.holder, stream=command.stream))
                if shown != _watched(known.stream):
                    self.changed(known.stream, "renewed" if command.request is None else "asked")
            return result

        return carried_out

    def reassessing(self, reassess: Callable[[Roles], None]) -> Callable[[Roles], None]:
        """``reassess``, with every open stream noted that goes on with other rights."""

        def reassessed(roles: Roles) -> None:
            before = [(known.stream, known.stream.principal) for known in self._open.values()]
            reassess(roles)
            for stream, principal in before:
                if stream.principal is not principal and stream.id in self._open:
                    self.changed(stream, "roles")

        return reassessed

    # Plain requests.

    def read(
        self,
        request: HTTPConnection,
        principal: Principal,
        kind: AuditKind = AuditKind.RESULTS_READ,
        **more: Any,  # fields of AuditEvent
    ) -> None:
        """Somebody is about to be answered; whoever shows results of persons awaits ``audit.written`` then."""
        self.audit.note(_event(kind, principal, address=address_of(request), **more))

    def refused(self, request: HTTPConnection, status: HTTPStatus, rule: str) -> None:
        """Somebody was told no."""
        principal: Principal | None = request.scope.get(PRINCIPAL)
        asked = [*request.query_params.getlist("topic"), *request.path_params.values()]
        kept = [text for text in asked[:_MOST_ASKED] if _ASKED.fullmatch(str(text))]
        said: dict[str, Any] = {
            "address": address_of(request),
            "organizations": tuple(kept),
            "outcome": str(int(status)),
            "rule": rule,
            "detail": f"{request.scope.get('method', '')[:10]} {_plain_path(request.url.path)}",
        }
        if principal is None:
            self.refusals.note(AuditEvent(kind=AuditKind.REFUSED, **said))
        else:
            self.refusals.note(_event(AuditKind.REFUSED, principal, **said))


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from, as the server or a trusted proxy says."""
    return request.client.host[:64] if request.client else ""


def watched_organizations(principal: Principal, topics: Iterable[str]) -> dict[str, Any]:
    """Topics, and the class in which somebody is shown each, as fields of an event."""
    written = tuple(topics)
    return {"organizations": written, "classes": tuple(_class_of(principal, topic) for topic in written)}


def narrowed_by(cells: CellFilter) -> dict[str, Any]:
    """What a request is narrowed to, as fields of an event."""
    given = {"tests": cells.tests, "grades": cells.grades, "years": cells.years}
    return {kind: tuple(sorted(values)) for kind, values in given.items() if values is not None}


def _class_of(principal: Principal, topic: str) -> str:
    try:
        shown = principal.rights.visibility(organization_id(topic.split("/")[1]))
    except (IndexError, InvalidIdentifier):
        return ""
    return "" if shown is None else shown.value


def _watched(stream: Stream) -> dict[str, Any]:
    described: dict[str, Any] = stream.subscription.described()
    narrowed = {kind: tuple(described.get(kind, ())) for kind in ("tests", "grades", "years")}
    return {**watched_organizations(stream.principal, described["topics"]), **narrowed}


def _event(
    kind: AuditKind,
    asker: Principal | Holder,
    *,
    report: Literal["", "aggregate", "individual"] = "",
    **more: Any,  # further fields of AuditEvent
) -> AuditEvent:
    return AuditEvent(
        kind=kind,
        subject=shortened(asker.subject),
        token_id=shortened(asker.token_id),
        issuer=shortened(asker.issuer),
        report=report,
        **more,
    )


def _moment(milliseconds: int) -> str:
    """A time that a client named, which may be one that no calendar has."""
    try:
        return rfc3339(milliseconds)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _plain_path(path: str) -> str:
    """A path without what a request put into it: ``/v1/streams/*/renew``."""
    return "/".join(word if not word or _PATH_WORD.fullmatch(word) else "*" for word in path.split("/")[:6])
