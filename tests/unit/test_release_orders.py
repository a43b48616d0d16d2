"""Orders to change release states: files read with every fault named, judged whole, and in the audit before they go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from fake_imports import MemoryPublisher
from hypothesis import given
from hypothesis import strategies as st

from gateway.releases.changing import Outcome, Refused, RefusedLines, ReleaseChanges
from gateway.releases.wanted import FaultyFile, Wanted, district_code, read_csv, write_csv
from gateway.tokens import Principal
from schemas.access.permissions import Forbidden, Grant
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, RELEASE_ROLE
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.events import OrganizationEntry, decode_release
from schemas.identifiers import STATE, OrganizationId
from schemas.organization_list import OrganizationList
from schemas.process.audit.auditor import AuditUnavailable, NoAudit
from schemas.releases import (
    SUBJECTS,
    ReleaseKey,
    Releases,
    ReleaseState,
    Report,
    decode_release_entry,
    release_entry,
)

DISTRICT = OrganizationId("19990010000000")
OTHER_DISTRICT = OrganizationId("19990020000000")
UNKNOWN_DISTRICT = OrganizationId("19990990000000")
KNOWN = OrganizationList(
    [
        OrganizationEntry(cds=DISTRICT, name="=Birch Valley, Unified", kind="district"),
        OrganizationEntry(cds=OTHER_DISTRICT, name="Elm Union", kind="district"),
    ],
    1,
)
HEADER = b"school_year,district,subject,report,state\n"


def key(district: OrganizationId = DISTRICT, subject: str = "Math") -> ReleaseKey:
    return ReleaseKey(2026, district, subject, Report.AGGREGATE)


def holder(role: str = RELEASE_ROLE, organization: OrganizationId = STATE) -> Principal:
    grants = (Grant(role, organization),)
    return Principal(
        subject="officer@example.test",
        grants=grants,
        expires=datetime(2030, 1, 1, tzinfo=UTC),
        token_id="t-1",
        rights=BUILT_IN_ROLES.rights(grants),
        issuer="https://issuer.example.test/",
    )


class AppliedAtOnce:
    """The tables, as a worker that is always up to date would keep them."""

    def __init__(self, publisher: MemoryPublisher, *, works: bool = True) -> None:
        self._publisher = publisher
        self.works = works
        self.releases_before = Releases({}, version=1)

    async def releases(self, known: Releases | None) -> Releases | None:
        if not self.works:
            return self.releases_before
        states = dict(self.releases_before)
        states |= dict(decode_release_entry(record.value or b"") for record in self._publisher.records)
        return Releases(states, version=1 + len(self._publisher.records))


class Desk:
    """A gateway's part in changes, with Kafka and the audit in memory."""

    def __init__(self, *, works: bool = True) -> None:
        self.kafka = MemoryPublisher()
        self.audit = NoAudit()
        self.tables = AppliedAtOnce(self.kafka, works=works)
        self.changes = ReleaseChanges(self.tables, self.kafka, applied_seconds=0.2 if not works else 60.0)

    async def order(self, *wanted: Wanted, by: Principal | None = None) -> Outcome:
        return await self.changes.change(wanted, by or holder(), KNOWN, self.audit, address="192.0.2.1")


@pytest.mark.anyio
async def test_a_change_is_in_kafka_under_its_key_and_in_the_audit_with_from_and_to() -> None:
    desk = Desk()
    outcome = await desk.changes.change(
        [Wanted(key(), ReleaseState.RELEASED)], holder(), KNOWN, desk.audit, address="192.0.2.1"
    )
    assert outcome.applied
    assert [(one.before, one.after) for one in outcome.changes] == [
        (ReleaseState.LOADING, ReleaseState.RELEASED)
    ]
    [record] = desk.kafka.records
    assert (record.topic, record.key) == ("releases.v1", b"2026/19990010000000/Math/aggregate")
    assert decode_release(record.value or b"") == release_entry(key(), ReleaseState.RELEASED)
    assert ("ce_type", b"scores.release.v1") in record.headers
    [noted] = desk.audit.noted
    assert noted.kind == "release_changed"
    assert noted.subject == "officer@example.test"
    assert noted.token_id == "t-1"
    assert noted.organizations == ("district/19990010000000",)
    assert noted.detail == "Math: loading to released"
    assert noted.rule == "TEST_DATA_LOADING_WRITE TEST_DATA_REVIEWING_WRITE"
    assert noted.outcome == "changed"


@pytest.mark.anyio
async def test_what_changes_nothing_is_neither_in_kafka_nor_in_the_audit() -> None:
    desk = Desk()
    outcome = await desk.order(Wanted(key(), ReleaseState.LOADING), by=holder(READER_ROLE, DISTRICT))
    assert outcome.applied
    assert not outcome.changes
    assert not desk.kafka.records
    assert not desk.audit.noted


@pytest.mark.anyio
async def test_all_districts_of_one_order_that_go_one_way_are_one_audit_entry() -> None:
    desk = Desk()
    wanted = [Wanted(key(district), ReleaseState.REVIEWING, 2) for district in (DISTRICT, OTHER_DISTRICT)]
    await desk.order(*wanted, Wanted(key(subject="ELA"), ReleaseState.REVIEWING, 4))
    assert [(len(event.organizations), event.detail) for event in desk.audit.noted] == [
        (2, "Math: loading to reviewing"),
        (1, "ELA: loading to reviewing"),
    ]
    assert len(desk.kafka.records) == 3


@pytest.mark.anyio
async def test_a_district_that_is_not_there_and_one_of_somebody_elses_are_refused_alike() -> None:
    desk = Desk()
    said = set()
    for district, by in (
        (UNKNOWN_DISTRICT, holder()),
        (UNKNOWN_DISTRICT, holder("EMBARGO_ADMIN_RELEASED", DISTRICT)),
        (OTHER_DISTRICT, holder("EMBARGO_ADMIN_RELEASED", DISTRICT)),
    ):
        with pytest.raises(Forbidden) as refused:
            await desk.order(Wanted(key(district), ReleaseState.RELEASED), by=by)
        said.add(str(refused.value))
    assert len(said) == 1
    assert not desk.kafka.records


@pytest.mark.anyio
async def test_a_reviewer_is_told_that_loading_results_take_the_loaders_permission() -> None:
    desk = Desk()
    with pytest.raises(Refused, match=r"lacks the permission TEST_DATA_LOADING_WRITE\."):
        await desk.order(Wanted(key(), ReleaseState.RELEASED), by=holder("EMBARGO_ADMIN_RELEASED", DISTRICT))
    assert not desk.kafka.records


@pytest.mark.anyio
async def test_one_line_that_is_refused_keeps_the_whole_file_from_being_taken() -> None:
    desk = Desk()
    desk.tables.releases_before = Releases({key(): ReleaseState.REVIEWING}, version=1)
    wanted = [
        Wanted(key(), ReleaseState.RELEASED, 2),
        Wanted(key(subject="ELA"), ReleaseState.RELEASED, 3),
        Wanted(key(OTHER_DISTRICT), ReleaseState.RELEASED, 4),
    ]
    with pytest.raises(RefusedLines) as refused:
        await desk.order(*wanted, by=holder("EMBARGO_ADMIN_RELEASED", DISTRICT))
    assert [fault.line for fault in refused.value.faults] == [3, 4]
    assert not desk.kafka.records
    assert not desk.audit.noted


@pytest.mark.anyio
async def test_nothing_is_produced_that_the_audit_could_not_take() -> None:
    class Full(NoAudit):
        async def written(self) -> None:
            raise AuditUnavailable("the disk is full, says the test")

    desk = Desk()
    with pytest.raises(AuditUnavailable):
        await desk.changes.change([Wanted(key(), ReleaseState.RELEASED)], holder(), KNOWN, Full())
    assert not desk.kafka.records


@pytest.mark.anyio
async def test_a_change_that_kafka_does_not_acknowledge_is_noted_as_that() -> None:
    desk = Desk()
    desk.kafka.away = True
    with pytest.raises(DependencyUnavailable):
        await desk.order(Wanted(key(), ReleaseState.RELEASED))
    assert [event.outcome for event in desk.audit.noted] == ["changed", "not acknowledged"]


@pytest.mark.anyio
async def test_a_change_that_no_worker_applies_is_accepted_and_said_to_wait() -> None:
    desk = Desk(works=False)
    outcome = await desk.changes.change([Wanted(key(), ReleaseState.RELEASED)], holder(), KNOWN, desk.audit)
    assert len(desk.kafka.records) == 1
    assert not outcome.applied


def test_every_fault_of_every_line_is_named_at_once() -> None:
    file = HEADER + (
        b"2026,19990010000000,Math,aggregate,released\n"
        b"26,19990010000101,Maths,all,open\n"
        b"\n"
        b"2026,1999001,ELA,aggregate,released\n"
        b"2026,19990010000000,math,Aggregate,Loading\n"
        b"2026\n"
    )
    with pytest.raises(FaultyFile) as faulty:
        read_csv(file)
    assert [(fault.line, fault.field) for fault in faulty.value.faults] == [
        (3, "school_year"),
        (3, "district"),
        (3, "subject"),
        (3, "report"),
        (3, "state"),
        (5, "district"),
        (6, ""),  # says again what line 2 says
        (7, "district"),
        (7, "subject"),
        (7, "report"),
        (7, "state"),
    ]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        pytest.param(b"", "the header lacks school_year", id="empty"),
        pytest.param(HEADER, "there is no line below the header", id="no lines"),
        pytest.param(b"district,state\n1,2\n", "lacks school_year, subject, report", id="columns missing"),
        pytest.param(HEADER + b"2026,\xff\n", "not UTF-8", id="another encoding"),
        pytest.param(HEADER + b'2026,"' + b"9" * 200_000 + b'"\n', "not CSV", id="an endless field"),
    ],
)
def test_a_file_that_is_no_list_of_states_is_refused_with_the_reason(file: bytes, said: str) -> None:
    with pytest.raises(FaultyFile) as faulty:
        read_csv(file)
    assert said in faulty.value.faults[0].error


def test_a_spreadsheets_marks_order_and_further_columns_do_no_harm() -> None:
    file = (
        b"\xef\xbb\xbfState,District,note,subject,report,School_Year\r\n"
        b"RELEASED, 19-99001-0000000 ,at last,elpac,individual,2026\r\n"
    )
    assert read_csv(file) == [
        Wanted(ReleaseKey(2026, DISTRICT, "ELPAC", Report.INDIVIDUAL), ReleaseState.RELEASED, 2)
    ]


def test_a_school_or_county_has_no_release_state() -> None:
    for code in ("19990010000101", "19000000000000", "00000000000000"):
        with pytest.raises(InvalidInput, match="release states are districts'"):
            district_code(code)


keys = st.builds(
    ReleaseKey,
    st.integers(2000, 2199),
    st.sampled_from([DISTRICT, OTHER_DISTRICT]),
    st.sampled_from(SUBJECTS),
    st.sampled_from(Report),
)


@given(st.dictionaries(keys, st.sampled_from(ReleaseState), min_size=1))
def test_what_is_exported_is_read_back_as_it_was(states: dict[ReleaseKey, ReleaseState]) -> None:
    read: Sequence[Wanted] = read_csv(write_csv(Releases(states), KNOWN).encode())
    assert {one.key: one.state for one in read} == states


def test_a_districts_name_cannot_become_a_formula_in_a_spreadsheet() -> None:
    text = write_csv([(key(), ReleaseState.LOADING)], KNOWN)
    assert '"\'=Birch Valley, Unified"' in text
