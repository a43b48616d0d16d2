"""What is noted of streams and refusals, and what never is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import Request

from gateway import sse
from gateway.audit.notes import Notes
from gateway.cell_filter import CellFilter
from gateway.commands import Command, Outcome, Result
from gateway.holders import holder_of
from gateway.request_scope import PRINCIPAL
from gateway.subscriptions import Subscription, SubscriptionRequest
from gateway.tokens import Principal
from gateway.topics import Topic
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, MASKED_READER_ROLE, READER_ROLE
from schemas.audit import AuditKind
from schemas.identifiers import OrganizationId, OrganizationLevel
from schemas.process.audit.auditor import NoAudit

pytestmark = pytest.mark.anyio

DISTRICT = OrganizationId("19990010000000")
COUNTY = OrganizationId("19000000000000")
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJtLmFsdmFyZXoifQ.c2lnbmF0dXJl"


def principal(role: str = READER_ROLE) -> Principal:
    grants = (Grant(role, DISTRICT),)
    expires = datetime(2026, 5, 4, tzinfo=UTC)
    rights = BUILT_IN_ROLES.rights(grants)
    return Principal("m.alvarez@district.test", grants, expires, "t-1", rights, "https://issuer.test/")


@dataclass
class OpenStream:
    """What is noted of a stream."""

    id: str
    principal: Principal
    subscription: Subscription
    reason: sse.CloseReason = sse.CloseReason.MAX_AGE


def request(path: str, query: str = "", **scope: Any) -> Request:
    given = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    return Request({**given, "client": ("192.0.2.7", 1), "server": ("gateway.test", 80), **scope})


def watched(stream: OpenStream) -> Any:
    return stream


@pytest.fixture
def audit() -> NoAudit:
    return NoAudit()


@pytest.fixture
def notes(audit: NoAudit) -> Notes:
    return Notes(audit)


@pytest.fixture
async def stream(notes: Notes) -> OpenStream:
    topics = (Topic(DISTRICT), Topic(DISTRICT, OrganizationLevel.SCHOOL), Topic(COUNTY))
    opened = OpenStream("n.1", principal(), Subscription(topics, CellFilter(tests=frozenset({"ELA-SUM"}))))
    await notes.opened(watched(opened), request("/v1/stream"), sse.parse_cursor("g1.1777896000000"), None)
    return opened


async def test_an_opening_says_what_is_watched_in_which_class_and_from_when_on(
    audit: NoAudit, stream: OpenStream
) -> None:
    [event] = audit.noted
    assert event.kind is AuditKind.STREAM_OPENED
    assert event.organizations == (f"district/{DISTRICT}", f"district/{DISTRICT}/schools", f"county/{COUNTY}")
    assert event.classes == ("exact-released", "exact-released", "")  # a district's grant opens no county
    assert (event.tests, event.grades, event.resumed) == (("ELA-SUM",), (), "2026-05-04T12:00:00.000Z")


async def test_a_stream_is_closed_once_and_says_why(notes: Notes, audit: NoAudit, stream: OpenStream) -> None:
    notes.closed(watched(stream))
    notes.closed(watched(stream))
    assert [(event.kind, event.outcome) for event in audit.noted[1:]] == [
        (AuditKind.STREAM_CLOSED, "max_age")
    ]


async def test_other_roles_are_noted_with_the_class_that_is_shown_from_then_on(
    notes: Notes, audit: NoAudit, stream: OpenStream
) -> None:
    def reassess(_: Any) -> None:
        stream.principal = replace(stream.principal, rights=principal(MASKED_READER_ROLE).rights)

    notes.reassessing(reassess)(BUILT_IN_ROLES)
    notes.reassessing(lambda _: None)(BUILT_IN_ROLES)
    [event] = audit.noted[1:]
    assert (event.kind, event.rule) == (AuditKind.STREAM_CHANGED, "roles")
    assert event.classes == ("masked", "masked", "")


async def test_while_nothing_can_be_written_no_stream_is_shown_anything_else(
    notes: Notes, audit: NoAudit, stream: OpenStream
) -> None:
    carried: list[Command] = []

    def carry_out(command: Command) -> Result:
        carried.append(command)
        return Result(Outcome.DONE)

    command = Command(
        1, "n", stream.id, holder_of(stream.principal), SubscriptionRequest((f"county/{COUNTY}",))
    )
    audit.failing = True
    assert notes.carrying_out(carry_out)(command).outcome is Outcome.NOT_NOW and not carried
    audit.failing = False
    assert notes.carrying_out(carry_out)(command).outcome is Outcome.DONE and carried == [command]


async def test_a_command_to_somebody_elses_stream_is_noted(
    notes: Notes, audit: NoAudit, stream: OpenStream
) -> None:
    other = replace(principal(), subject="r.okafor@elsewhere.test")
    command = Command(1, "n", stream.id, holder_of(other))
    notes.carrying_out(lambda _: Result(Outcome.FOREIGN))(command)
    [event] = audit.noted[1:]
    assert (event.kind, event.subject, event.stream) == (AuditKind.REFUSED, other.subject, stream.id)


async def test_a_refusal_keeps_topics_and_no_token_wherever_it_was_put(notes: Notes, audit: NoAudit) -> None:
    misplaced = request(
        f"/v1/aggregates/{TOKEN}",
        f"topic={TOKEN}&topic=school/19990010000101&access_token={TOKEN}",
        path_params={"organization": TOKEN},
    )
    notes.refused(misplaced, HTTPStatus.UNAUTHORIZED, "missing")
    [event] = audit.noted
    assert event.organizations == ("school/19990010000101",) and event.detail == "GET /v1/aggregates/*"
    assert not any(part in repr(event) for part in TOKEN.split("."))


async def test_a_refusal_names_whose_token_it_was_once_that_is_verified(notes: Notes, audit: NoAudit) -> None:
    known = request("/v1/streams/n.1/renew", **{PRINCIPAL: principal()})
    notes.refused(known, HTTPStatus.FORBIDDEN, "forbidden")
    [event] = audit.noted
    assert (event.subject, event.token_id, event.outcome) == ("m.alvarez@district.test", "t-1", "403")
    assert event.detail == "GET /v1/streams/*/renew"
