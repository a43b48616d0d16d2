"""The fleet's judge itself: it notices what an endpoint must never see, and what it lacks in the end."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest

from schemas.identifiers import STATE, OrganizationId, district_of
from schemas.webhooks.endpoints import EventType, Followed
from schemas.webhooks.messages import Message, MessageState
from schemas.webhooks.secrets import new_secret
from tests.webhook_fleet.conduct import Conduct, mixture
from tests.webhook_fleet.faults import Kind, planned
from tests.webhook_fleet.fleet import Member
from tests.webhook_fleet.judge import Judge
from tests.webhook_fleet.made import Made
from tests.webhook_fleet.receipts import Receipt, ToldCell

SCHOOL = OrganizationId("61700016000001")
OTHER_DISTRICT = OrganizationId("61700020000000")
CELL = "2026:ELA-SUM:03"
ENDPOINT = "ep_fennel"


def member(*, follows: OrganizationId = SCHOOL, below: bool = True, **more: Any) -> Member:
    return Member(
        id=ENDPOINT,
        conduct=more.pop("conduct", Conduct.LIVE),
        secret=new_secret("v1", bytes(32)),
        follows=(Followed(follows, below),),
        interval_seconds=1,
        full=more.pop("full", False),
        **more,
    )


def judge(versions: int, one: Member | None = None) -> Judge:
    """Of one endpoint, and a school's cell that has so many versions, made a second apart from the 100th on."""
    made = Made()
    for number in range(versions):
        made.add(SCHOOL, CELL, 100.0 + number)
    return Judge([one or member()], made)


def receipt(version: int, *, message: str = "", accepted: bool = True, **more: Any) -> Receipt:
    return Receipt(
        at=more.pop("at", 103.0),
        endpoint=ENDPOINT,
        message=message or f"msg_{version}",
        digest=more.pop("digest", b"the body of version %d" % version),
        accepted=accepted,
        type="aggregate.updated",
        organization=SCHOOL,
        cells=(ToldCell(CELL, version, more.pop("results", None)),),
        **more,
    )


def test_an_endpoint_that_was_told_the_latest_version_lacks_nothing() -> None:
    found = judge(3)
    assert [(one.has, one.due) for one in found.lacking(dead=())] == [(0, 3)]
    found.take(receipt(2))
    assert [(one.has, one.due) for one in found.lacking(dead=())] == [(2, 3)]
    found.take(receipt(3))
    assert not found.lacking(dead=()) and not found.wrong


def test_what_a_receiver_refused_it_does_not_have() -> None:
    found = judge(1)
    found.take(receipt(1, accepted=False))
    assert len(found.lacking(dead=())) == 1
    assert not found.lacking(dead=[ENDPOINT])


def test_a_message_that_comes_again_is_counted_and_nothing_else() -> None:
    found = judge(1)
    found.take(receipt(1))
    found.take(receipt(1))
    assert not found.wrong
    assert found.counts["delivered again, with the same id and bytes"] == 1


def test_one_id_with_two_bodies_is_noticed() -> None:
    found = judge(1)
    found.take(receipt(1, accepted=False))
    found.take(receipt(1, digest=b"another"))
    assert "the same id with other bytes" in found.wrong[0]


def test_one_body_with_two_ids_is_noticed() -> None:
    found = judge(1)
    found.take(receipt(1))
    found.take(receipt(1, message="msg_other"))
    assert "the same bytes with another id" in found.wrong[0]


def test_a_version_that_goes_back_is_noticed_unless_redis_had_just_lost_its_tail() -> None:
    found = judge(3)
    found.take(receipt(3))
    found.disturbed.append(110.0)
    found.take(receipt(2, at=111.0))
    assert not found.wrong
    found.take(receipt(1, at=150.0))
    assert "went back from version 3 to 1" in found.wrong[0]


@pytest.mark.parametrize(
    ("one", "sent", "what"),
    [
        (member(follows=OTHER_DISTRICT), receipt(1), "does not follow"),
        (member(follows=district_of(SCHOOL), below=False), receipt(1), "does not follow"),
        (member(tests=("MATH-SUM",)), receipt(1), "does not follow"),
        (member(), receipt(9), "of which there are 2"),
        (member(), receipt(1, fault="not verified"), "not verified"),
        (member(), receipt(1, results=1), "a full payload"),
        (member(full=True), receipt(1), "a full payload"),
        (member(full=True), receipt(2, results=1), "1 results in version 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_that_should_not_have_come_like_that_is_noticed(
    one: Member, sent: Receipt, what: str
) -> None:
    found = judge(2, one)
    found.take(sent)
    assert what in found.wrong[0]


def test_lateness_is_what_a_change_waited_beyond_the_endpoints_interval() -> None:
    found = judge(3)
    found.take(receipt(2, at=101.5))  # the first was made at 100, and the interval is a second
    found.take(receipt(3, at=105.0))  # the third at 102
    assert [late.seconds for late in found.lateness] == [0.5, 2.0]


def test_what_is_said_to_be_delivered_and_never_came_is_noticed() -> None:
    found = judge(1)
    found.take(receipt(1, message="msg_came"))
    kept = [
        Message(
            id=name,
            endpoint=ENDPOINT,
            type=EventType.AGGREGATE_UPDATED,
            created_ms=0,
            body=b"",
            state=MessageState.DELIVERED,
        )
        for name in ("msg_came", "msg_lost")
    ]
    found.hold_against(kept)
    assert [line.partition(" ")[0] for line in found.wrong] == ["msg_lost"]


def test_who_follows_the_state_alone_does_not_want_its_schools() -> None:
    assert not member(follows=STATE, below=False).wants(SCHOOL, CELL)
    assert member(follows=STATE).wants(SCHOOL, CELL)


def test_of_a_thousand_endpoints_a_hundred_are_dead_fifty_slow_and_fifty_flapping() -> None:
    drawn = Counter(mixture(1_000, Random(3)))
    assert sum(drawn[one] for one in Conduct if one.dead) == 100
    assert (drawn[Conduct.SLOW], drawn[Conduct.FLAPPING], drawn[Conduct.LIVE]) == (50, 50, 800)


def test_every_kind_of_fault_comes_once_before_any_comes_again() -> None:
    assert {fault.kind for fault in islice(planned(5), len(Kind))} == set(Kind)
    assert list(islice(planned(5), 9)) == list(islice(planned(5), 9))
