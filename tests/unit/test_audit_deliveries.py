"""Deliveries in the record of disclosures, and in searches."""

from __future__ import annotations

import pytest

from cli.audit.exporting import Disclosure, disclosures
from cli.audit.selection import Matcher, Selection
from schemas.audit import NO_HASH, AuditEntry, AuditEvent, AuditKind, Head
from schemas.identifiers import OrganizationId

SCHOOL = OrganizationId("19990010000101")
DISTRICT = OrganizationId("19990010000000")
OTHER_DISTRICT = OrganizationId("19990020000000")
CHAIN = "20260504T120000Z-webhooks-one"


def entries(*events: AuditEvent, chain: str = CHAIN) -> list[AuditEntry]:
    return [
        AuditEntry(chain=chain, number=number, at_ms=number * 1_000, event=event, hash=NO_HASH)
        for number, event in enumerate(events, 1)
    ]


def sent(stream: str, topic: str = f"school/{SCHOOL}", **more: str) -> AuditEvent:
    told = {"report": "aggregate", "detail": "ep_one, aggregate.updated, without figures", **more}
    return AuditEvent(
        kind=AuditKind.WEBHOOK_SENT,
        subject="clerk@district.test",
        stream=stream,
        organizations=(topic,),
        **told,  # type: ignore[arg-type]  # texts, all of them
    )


def answered(stream: str, outcome: str) -> AuditEvent:
    return AuditEvent(
        kind=AuditKind.WEBHOOK_ANSWERED, subject="clerk@district.test", stream=stream, outcome=outcome
    )


def record(kept: list[AuditEntry], district: OrganizationId = DISTRICT) -> list[Disclosure]:
    return [row for _, row in disclosures(kept, district)]


def test_each_attempt_is_a_disclosure_with_the_status_it_ended_with() -> None:
    kept = entries(
        sent("msg_one.1"), answered("msg_one.1", "500"), sent("msg_one.2"), answered("msg_one.2", "204")
    )
    rows = record(kept)
    assert [(row.way, row.how_it_ended, row.said) for row in rows] == [
        ("webhook", "500", "ep_one, aggregate.updated, without figures"),
        ("webhook", "204", "ep_one, aggregate.updated, without figures"),
    ]
    assert record(kept, OTHER_DISTRICT) == []


def test_an_attempt_of_a_worker_that_was_killed_says_so() -> None:
    taken_over = AuditEvent(kind=AuditKind.CHAIN_STARTED, heads=(Head(CHAIN, 1, NO_HASH),))
    [open_yet] = record(entries(sent("msg_one.1")))
    assert (open_yet.ended, open_yet.how_it_ended) == ("", "")
    [row] = record([*entries(sent("msg_one.1")), *entries(taken_over, chain="later")])
    assert row.how_it_ended == "the worker ended"


def test_a_message_about_a_release_state_is_no_disclosure_of_results() -> None:
    assert (
        record(entries(sent("msg_one.1", f"district/{DISTRICT}", report=""), answered("msg_one.1", "204")))
        == []
    )


@pytest.mark.parametrize(
    ("district", "found"), [(DISTRICT, 2), (OTHER_DISTRICT, 0)], ids=["its own", "another"]
)
def test_a_search_by_district_finds_the_delivery_and_its_answer(district: OrganizationId, found: int) -> None:
    kept = entries(sent("msg_one.1"), answered("msg_one.1", "204"), answered("msg_two.1", "204"))
    matcher = Matcher(Selection(organization=district))
    assert sum(matcher.matches(entry) for entry in kept) == found
