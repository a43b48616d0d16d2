"""What the audit has of deliveries: who was sent which organization's results, judged how, and how each attempt ended.

Guarantee: *nothing is sent that is not noted first.* An attempt begins when its entry outlives the process; how it ended is noted
as soon as it is known, and outlives the process some milliseconds later. After kill -9 an attempt may be in the audit twice,
because it is made again, or without its end, but none is missing. While the audit takes nothing, nothing is sent; messages wait.

An entry names the endpoint, its owner, the organization, the tests, and whether figures were in the message. There is no
place for a figure in it, nor for a signature or the path of an address, in which receivers have been known to keep secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from consumers.webhooks.noting import Noting
from consumers.webhooks.sending import Answer
from schemas.access.permissions import VisibilityClass
from schemas.aggregate_changes import decode_result_change
from schemas.aggregates import cell_name
from schemas.audit import AuditEvent, AuditKind, shortened
from schemas.identifiers import OrganizationId, level_of
from schemas.process.audit.auditor import Auditor
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.messages import Message

Judges = Callable[[Endpoint, OrganizationId], VisibilityClass | None]

NOT_SENT: Final = (
    "not sent"  # the audit could not be written, something had changed, or the worker was stopped before
)
NOT_KNOWN: Final = "not known"  # the worker was stopped before there was an answer; it is sent again

_REPORTS: Final[dict[EventType, Literal["aggregate", "individual"]]] = {
    EventType.AGGREGATE_UPDATED: "aggregate",
    EventType.RESULT_RESCORED: "individual",
    EventType.RESULT_INVALIDATED: "individual",
}
# Quotation marks inside of a text are escaped in JSON, so nothing else reads like this member's name.
_FIGURES: Final = b'"figures":'


class Disclosures:
    """Notes attempts.

    Args:
        judge: how an endpoint's owner may see an organization now; what is sent was rendered by the same rules.
    """

    def __init__(self, audit: Auditor, judge: Judges) -> None:
        self._noting = Noting(audit)
        self._judge = judge

    def of(self, endpoint: Endpoint, message: Message, at_ms: int) -> Disclosure:
        """One attempt, to be made inside of ``async with``."""
        organization = message.organization
        if organization is None:  # a question, or of an endpoint: nothing about results
            return Disclosure(self._noting, None, lambda: False)
        kind = self._judge(endpoint, organization)
        event = sent(endpoint, message, organization, kind, at_ms)
        return Disclosure(self._noting, event, lambda: self._judge(endpoint, organization) is not kind)

    def hand_over(self) -> None:
        """Leave nothing behind; after the last attempt."""
        self._noting.hand_over()


class Disclosure:
    """One attempt. Its beginning is on record when ``async with`` begins, and its end when that ends.

    Raises:
        AuditUnavailable: when it begins; then nothing may be sent.
    """

    __slots__ = ("_how", "_noting", "_seconds", "_sent", "outdated")

    def __init__(self, noting: Noting, event: AuditEvent | None, outdated: Callable[[], bool]) -> None:
        self.outdated = outdated  # whether its owner may see another thing by now than when that was noted
        self._noting = noting
        self._sent = event
        self._how = NOT_KNOWN
        self._seconds = 0.0

    def answered(self, answer: Answer) -> None:
        """What came of it."""
        self._how = shortened(answer.error) if answer.status is None else str(answer.status)
        self._seconds = answer.latency_ms / 1000

    def not_sent(self) -> None:
        """It was not made after all."""
        self._how = NOT_SENT

    async def __aenter__(self) -> Self:
        if self._sent is None:
            return self
        self._noting.check()
        try:
            await self._noting.written(self._sent)
        except BaseException:
            self._noting.note(ended(self._sent, NOT_SENT))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sent is not None:
            self._noting.note(ended(self._sent, self._how, self._seconds))


def sent(
    endpoint: Endpoint,
    message: Message,
    organization: OrganizationId,
    kind: VisibilityClass | None,
    at_ms: int,
) -> AuditEvent:
    """An attempt begins. Its name is the message's id, as the receiver has it, and the time: each attempt has one of its own."""
    report = _REPORTS.get(message.type)
    tests, grades, years = _about(message)
    parts = [endpoint.id, message.type.value]
    if report == "aggregate":
        parts.append("with figures" if _FIGURES in message.body else "without figures")
    return AuditEvent(
        kind=AuditKind.WEBHOOK_SENT,
        subject=endpoint.subject,
        token_id=endpoint.token_id,
        issuer=endpoint.issuer,
        address=_origin(endpoint.url),
        stream=f"{message.id}.{at_ms}",
        organizations=(f"{level_of(organization).value}/{organization}",),
        classes=() if report is None or kind is None else (kind.value,),
        tests=tests,
        grades=grades,
        years=years,
        report=report or "",
        detail=", ".join(parts),
    )


def ended(begun: AuditEvent, how: str, seconds: float = 0.0) -> AuditEvent:
    """The end of an attempt: the status that was answered, or why there was none."""
    return AuditEvent(
        kind=AuditKind.WEBHOOK_ANSWERED,
        subject=begun.subject,
        stream=begun.stream,
        outcome=how,
        seconds=seconds,
    )


def _about(message: Message) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Tests, grades and years that a message is about."""
    # What it tells is named <organization>/<cell>, <organization>/<result> or <organization>/<release state>.
    names = [field.partition("/")[2] for field in message.tells]
    if message.type is EventType.AGGREGATE_UPDATED:
        cells = [cell_name(name) for name in names]
        if len(cells) == 1:  # most, and this is done for each attempt
            [cell] = cells
            return (cell.test,), (cell.grade,), (cell.school_year,)
        return (
            tuple(sorted({cell.test for cell in cells})),
            tuple(sorted({cell.grade for cell in cells})),
            tuple(sorted({cell.school_year for cell in cells})),
        )
    if message.type is EventType.RELEASE_CHANGED:
        return (), (), tuple(sorted({int(name.partition("/")[0]) for name in names}))
    results = [decode_result_change(name.encode()) for name in names]
    return (
        tuple(sorted({result.assessment_id for result in results})),
        (),
        tuple(sorted({result.school_year for result in results})),
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
