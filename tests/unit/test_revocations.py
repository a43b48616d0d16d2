"""Which tokens a revocation stops: those of before, of the subject, of the id or of the district that it names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.revocations import Revocation, RevocationKind, RevocationList
from gateway.tokens import CLOCK_LEEWAY_SECONDS, Principal
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, Group, Roles
from schemas.identifiers import OrganizationId

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
COUNTY, DISTRICT, SCHOOL, OTHER_DISTRICT, OTHER_SCHOOL, STATE = map(
    OrganizationId,
    ("19" + "0" * 12, "19990010000000", "19990010000101", "19990020000000", "19990020000201", "0" * 14),
)
ISSUER = "https://login.example.test/"


def holder(
    *organizations: OrganizationId,
    subject: str = "ana",
    token: str = "t1",
    issuer: str = ISSUER,
    issued: datetime | None = AT - timedelta(minutes=5),
    role: str = READER_ROLE,
) -> Principal:
    grants = tuple(Grant(role, organization) for organization in organizations or (SCHOOL,))
    later = AT + timedelta(hours=1)
    return Principal(subject, grants, later, token, BUILT_IN_ROLES.rights(grants), issuer, issued)


def revoked(kind: RevocationKind, value: str, issuer: str = "") -> RevocationList:
    made = RevocationList()
    made.add(Revocation(kind, value, AT_MS, issuer))
    return made


def test_a_revoked_token_opens_nothing_and_the_next_one_does() -> None:
    known = revoked(RevocationKind.TOKEN, "t1")
    assert known.refuses(holder(token="t1"))
    assert not known.refuses(holder(token="t2"))


def test_all_tokens_of_a_subject_stop_but_those_issued_later() -> None:
    known = revoked(RevocationKind.SUBJECT, "ana")
    assert known.refuses(holder(token="t1")) and known.refuses(holder(token="t2"))
    assert not known.refuses(holder(subject="ben"))
    later = AT + timedelta(seconds=CLOCK_LEEWAY_SECONDS + 1)
    assert not known.refuses(holder(issued=later))


def test_an_issuers_clock_that_is_ahead_saves_no_token() -> None:
    known = revoked(RevocationKind.SUBJECT, "ana")
    assert known.refuses(holder(issued=AT + timedelta(seconds=CLOCK_LEEWAY_SECONDS)))


def test_a_token_of_no_known_age_is_taken_for_an_old_one() -> None:
    assert revoked(RevocationKind.SUBJECT, "ana").refuses(holder(issued=None))


def test_a_namesake_at_another_issuer_keeps_their_tokens() -> None:
    known = revoked(RevocationKind.SUBJECT, "ana", ISSUER)
    assert known.refuses(holder())
    assert not known.refuses(holder(issuer="https://elsewhere.example.test/"))


@pytest.mark.parametrize(
    ("organizations", "stopped"),
    [
        ((DISTRICT,), True),
        ((SCHOOL,), True),
        ((OTHER_DISTRICT, SCHOOL), True),
        ((OTHER_DISTRICT,), False),
        ((COUNTY,), False),
        ((STATE,), False),
    ],
    ids=[
        "the district's",
        "its school's",
        "of two districts",
        "another district's",
        "the county's",
        "the state's",
    ],
)
def test_a_districts_revocation_stops_the_tokens_held_there(
    organizations: tuple[OrganizationId, ...], stopped: bool
) -> None:
    assert revoked(RevocationKind.DISTRICT, DISTRICT).refuses(holder(*organizations)) is stopped


def test_a_token_by_way_of_a_group_of_schools_is_held_at_its_schools() -> None:
    grants = (GroupGrant(READER_ROLE, "north"),)
    roles = Roles(groups={"north": Group(GroupKind.SCHOOLS, frozenset({SCHOOL, OTHER_SCHOOL}))})
    asking = Principal("ana", grants, AT + timedelta(hours=1), "t1", roles.rights(grants), ISSUER, AT)
    assert revoked(RevocationKind.DISTRICT, DISTRICT).refuses(asking)


def test_the_latest_of_two_revocations_counts_whatever_their_order() -> None:
    first = Revocation(RevocationKind.SUBJECT, "ana", AT_MS)
    second = Revocation(RevocationKind.SUBJECT, "ana", AT_MS + 600_000)
    between = holder(issued=AT + timedelta(minutes=5))
    for order in ((first, second), (second, first)):
        known = RevocationList()
        for one in order:
            assert known.add(one)
        assert known.refuses(between)
        assert not known.add(first)
        assert len(known) == 2


def test_revocations_are_forgotten_when_no_token_of_then_can_be_valid() -> None:
    known = revoked(RevocationKind.SUBJECT, "ana")
    known.forget(AT_MS)
    assert known.refuses(holder())
    known.forget(AT_MS + 1)
    assert not known.refuses(holder()) and not list(known)
