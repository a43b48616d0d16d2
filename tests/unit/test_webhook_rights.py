"""Who may have a webhook endpoint follow what, and who looks after others'; what a revocation does while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.revocations import Revocation, RevocationKind, RevocationList
from gateway.tokens import Principal
from gateway.webhooks.answers import escaped
from gateway.webhooks.permitted import PersonsNotSeen, check_follows, events_for, may_manage, may_see
from gateway.webhooks.revoked import RevokedEndpoints
from gateway.webhooks.store import Known, WebhooksAway
from schemas.access.permissions import Forbidden, Grant, Rights
from schemas.access.roles import BUILT_IN_ROLES, MASKED_READER_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId
from schemas.organization_list import OrganizationList
from schemas.process.audit.auditor import NoAudit
from schemas.webhooks.endpoints import SUBSCRIBABLE, Endpoint, EventType, Followed
from schemas.webhooks.messages import Order

COUNTY = OrganizationId("19000000000000")
DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
OTHER_DISTRICT = OrganizationId("19990020000000")
KNOWN = OrganizationList(
    [
        OrganizationEntry(cds=COUNTY, name="Alder County", kind="county"),
        OrganizationEntry(cds=DISTRICT, name="Birch Valley Unified", kind="district"),
        OrganizationEntry(cds=SCHOOL, name="Cedar Elementary", kind="school"),
        OrganizationEntry(cds=OTHER_DISTRICT, name="Elm Union", kind="district"),
    ],
    1,
)
COORDINATOR = "LEA CAASPP Coordinator"
AGGREGATES = (EventType.AGGREGATE_UPDATED,)


def rights(*held: tuple[str, OrganizationId]) -> Rights:
    return BUILT_IN_ROLES.rights([Grant(role, organization) for role, organization in held])


@pytest.mark.parametrize(
    ("held", "followed", "allowed"),
    [
        pytest.param(READER_ROLE, DISTRICT, True, id="the district itself"),
        pytest.param(READER_ROLE, SCHOOL, True, id="its school"),
        pytest.param(MASKED_READER_ROLE, SCHOOL, True, id="masked figures are figures"),
        pytest.param(READER_ROLE, COUNTY, False, id="the county above"),
        pytest.param(READER_ROLE, STATE, False, id="the state"),
        pytest.param(READER_ROLE, OTHER_DISTRICT, False, id="another district"),
        pytest.param(RELEASE_ROLE, DISTRICT, False, id="who releases results sees none"),
        pytest.param("PII_GROUP", DISTRICT, False, id="groups are not all students"),
        pytest.param("no such role", DISTRICT, False, id="a role that nobody defined"),
    ],
)
def test_endpoint_follows_what_its_owner_sees(held: str, followed: OrganizationId, allowed: bool) -> None:
    owner = rights((held, DISTRICT))
    if allowed:
        check_follows(owner, [Followed(followed)], AGGREGATES, KNOWN)
        return
    with pytest.raises(Forbidden):
        check_follows(owner, [Followed(SCHOOL), Followed(followed)], AGGREGATES, KNOWN)


@pytest.mark.parametrize("event", [EventType.RESULT_RESCORED, EventType.RESULT_INVALIDATED])
def test_single_results_are_told_to_those_only_who_see_single_results(event: EventType) -> None:
    masked = rights((MASKED_READER_ROLE, DISTRICT), (READER_ROLE, SCHOOL))
    check_follows(masked, [Followed(SCHOOL)], (event,), KNOWN)
    with pytest.raises(PersonsNotSeen, match="INDIVIDUAL_PII_READ"):
        check_follows(masked, [Followed(SCHOOL), Followed(DISTRICT)], (event,), KNOWN)
    assert events_for(masked, [Followed(SCHOOL)]) == SUBSCRIBABLE
    assert event not in events_for(masked, [Followed(DISTRICT)])


@pytest.mark.parametrize(
    ("held", "followed", "allowed"),
    [
        pytest.param([(COORDINATOR, DISTRICT)], [SCHOOL], True, id="the district's coordinator, of a school"),
        pytest.param([(COORDINATOR, DISTRICT)], [DISTRICT, SCHOOL], True, id="of the district and a school"),
        pytest.param([(COORDINATOR, DISTRICT)], [SCHOOL, OTHER_DISTRICT], False, id="of two districts"),
        pytest.param([(COORDINATOR, DISTRICT)], [COUNTY], False, id="of the county"),
        pytest.param([(READER_ROLE, DISTRICT)], [SCHOOL], False, id="who only reads"),
        pytest.param([(RELEASE_ROLE, STATE)], [SCHOOL], False, id="operations, who see no results"),
        pytest.param([(RELEASE_ROLE, STATE), (READER_ROLE, DISTRICT)], [SCHOOL], True, id="both together"),
        pytest.param([("SandboxDistrictAdmin", SCHOOL)], [SCHOOL], False, id="held at the school only"),
        pytest.param([("SandboxSchoolAdmin", DISTRICT)], [SCHOOL], False, id="a school's administrator"),
    ],
)
def test_others_endpoints_are_looked_after_for_a_whole_district(
    held: list[tuple[str, OrganizationId]], followed: list[OrganizationId], allowed: bool
) -> None:
    assert may_manage(rights(*held), followed) is allowed


def endpoint(subject: str = "it@example.test", **more: Any) -> Endpoint:
    given: dict[str, Any] = {
        "id": f"ep_{subject[:2]}",
        "url": "https://hooks.example.test/",
        "subject": subject,
        "grants": (Grant(READER_ROLE, SCHOOL),),
        "follows": (Followed(SCHOOL),),
        "issuer": "https://issuer.example.test/",
        "token_id": "t-1",
        "issued_ms": 1_000_000,
    }
    return Endpoint(**{**given, **more})


def test_owner_without_rights_still_sees_what_is_theirs() -> None:
    """To delete it, and to see that nothing is delivered any more."""
    owner = Principal(
        "it@example.test", (), datetime(2030, 1, 1, tzinfo=UTC), "t-2", issuer="https://issuer.example.test/"
    )
    assert may_see(owner, endpoint())
    assert not may_see(owner, endpoint(issuer="https://other.example.test/"))


class ScriptedStore:
    """Endpoints in memory; away as often as it is told."""

    def __init__(self, *endpoints: Endpoint, away: int = 0) -> None:
        self.endpoints = {one.id: one for one in endpoints}
        self.orders: list[Order] = []
        self.looks = 0
        self.changed = asyncio.Event()
        self._away = away

    async def all(self) -> Known:
        self.looks += 1
        if self.looks <= self._away:
            raise WebhooksAway("Redis does not answer")
        return Known(b"1", dict(self.endpoints))

    async def change(self, name: str, made: Callable[[Endpoint], tuple[Endpoint, Order]]) -> Endpoint | None:
        if name not in self.endpoints:
            return None
        self.endpoints[name], order = made(self.endpoints[name])
        self.orders.append(order)
        self.changed.set()
        return self.endpoints[name]


def revoking(store: ScriptedStore, *revocations: Revocation, again_seconds: float = 0.0) -> RevokedEndpoints:
    known = RevocationList()
    for one in revocations:
        known.add(one)
    return RevokedEndpoints(
        store,  # type: ignore[arg-type]  # what it asks of a store
        known,
        lambda: BUILT_IN_ROLES,
        NoAudit(),
        clock_ms=lambda: 7_000_000,
        again_seconds=again_seconds,
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "value", "at_ms", "reached"),
    [
        pytest.param(RevocationKind.SUBJECT, "it@example.test", 2_000_000, True, id="the owner"),
        pytest.param(
            RevocationKind.SUBJECT, "it@example.test", 500_000, False, id="the owner, before that token"
        ),
        pytest.param(RevocationKind.SUBJECT, "it", 2_000_000, False, id="somebody else"),
        pytest.param(RevocationKind.TOKEN, "t-1", 2_000_000, True, id="the token that made it"),
        pytest.param(RevocationKind.TOKEN, "t-2", 2_000_000, False, id="another token"),
        pytest.param(RevocationKind.DISTRICT, DISTRICT, 2_000_000, True, id="the school's district"),
        pytest.param(RevocationKind.DISTRICT, OTHER_DISTRICT, 2_000_000, False, id="another district"),
    ],
)
async def test_revocation_reaches_the_endpoints_of_what_it_names(
    kind: RevocationKind, value: str, at_ms: int, reached: bool
) -> None:
    store = ScriptedStore(endpoint())
    done = await revoking(store, Revocation(kind, value, at_ms)).revoke()
    [after] = store.endpoints.values()
    assert (done, after.revoked_ms) == ((1, 7_000_000) if reached else (0, None))
    assert [one.kind for one in store.orders] == ["changed"] * reached


@pytest.mark.anyio
async def test_revocation_is_carried_out_when_redis_is_back() -> None:
    store = ScriptedStore(endpoint(), endpoint("ab@example.test"), away=3)
    revoked = revoking(store, Revocation(RevocationKind.SUBJECT, "it@example.test", 2_000_000))
    running = asyncio.create_task(revoked.run())
    revoked.look()
    async with asyncio.timeout(60):
        await store.changed.wait()
    running.cancel()
    assert [one.revoked_ms for one in store.endpoints.values()] == [7_000_000, None]
    assert store.looks == 4


@pytest.mark.anyio
async def test_endpoint_that_was_enabled_meanwhile_stays_enabled() -> None:
    """Its owner came back with a fresh token between the look and the change."""
    store = ScriptedStore(endpoint())
    revoked = revoking(store, Revocation(RevocationKind.SUBJECT, "it@example.test", 2_000_000))
    seen = await store.all()
    store.endpoints["ep_it"] = endpoint(issued_ms=3_000_000)

    async def before() -> Known:
        return seen

    store.all = before  # type: ignore[method-assign]  # what was read before the change
    assert await revoked.revoke() == 0
    assert (store.endpoints["ep_it"].revoked_ms, store.orders) == (None, [])


@pytest.mark.parametrize(
    ("answered", "shown"),
    [
        ("plain, with ümlauts", "plain, with ümlauts"),
        ("<script>&", r"\u{3c}script\u{3e}\u{26}"),
        ("\x1b]0;title\x07", r"\u{1b}]0;title\u{7}"),
        ("a\r\nb\x00", r"a\u{d}\u{a}b\u{0}"),
        ("\u202eevil\u200b", r"\u{202e}evil\u{200b}"),
    ],
)
def test_what_a_receiver_says_moves_no_cursor_and_begins_no_element(answered: str, shown: str) -> None:
    assert escaped(answered) == shown
