"""What the audit has of deliveries, and that nothing is sent before it has it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from consumers.webhooks.disclosures import NOT_KNOWN, NOT_SENT, Disclosures
from consumers.webhooks.sending import Answer
from schemas.access.permissions import VisibilityClass
from schemas.aggregate_changes import ResultChange, encode_change
from schemas.audit import AuditEvent, AuditKind
from schemas.identifiers import OrganizationId
from schemas.process.audit.auditor import AuditUnavailable, NoAudit
from schemas.webhooks.endpoints import Endpoint, EventType, Followed
from schemas.webhooks.messages import Message, Told

pytestmark = pytest.mark.anyio

SCHOOL = OrganizationId("19990010000101")
DISTRICT = OrganizationId("19990010000000")
SCORE = "2417"
OWNER = Endpoint(
    id="ep_one",
    url="https://hooks.district.test:8443/s3cret?key=s3cret",
    subject="clerk@district.test",
    grants=(),
    follows=(Followed(DISTRICT),),
    issuer="https://issuer.test/",
    token_id="0b51",
)
THIN = Message(
    id="msg_one",
    endpoint="ep_one",
    type=EventType.AGGREGATE_UPDATED,
    created_ms=1,
    body=b'{"data":{"cells":[{"test":"ELA-SUM"}]}}',
    organization=SCHOOL,
    tells={f"{SCHOOL}/2026:ELA-SUM:03": Told(7), f"{SCHOOL}/2026:MATH-SUM:03": Told(2)},
)
FULL = replace(THIN, body=b'{"data":{"cells":[{"figures":{"mean":' + SCORE.encode() + b"}}]}}")


class SlowAudit(NoAudit):
    """Writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = asyncio.Event()
        self.began = asyncio.Event()
        self.lots = 0

    async def written(self) -> None:
        self.lots += 1
        self.began.set()
        await self.disk.wait()


class FullDisk(NoAudit):
    """Takes note, and cannot write it."""

    async def written(self) -> None:
        raise AuditUnavailable("the disk is full")


def exact(endpoint: Endpoint, organization: OrganizationId) -> VisibilityClass | None:
    return VisibilityClass.EXACT_REVIEWING


async def attempt(
    audit: NoAudit, message: Message = THIN, answer: Answer | None = None, at_ms: int = 1_777_896_000_123
) -> list[AuditEvent]:
    """One attempt, and what was noted of it."""
    disclosures = Disclosures(audit, exact)
    async with disclosures.of(OWNER, message, at_ms) as noted:
        noted.answered(answer or Answer(204, "", 35))
    disclosures.hand_over()
    return audit.noted


async def test_a_delivery_is_on_record_with_its_owner_school_tests_and_status() -> None:
    sent, answered = await attempt(NoAudit())
    assert sent == AuditEvent(
        kind=AuditKind.WEBHOOK_SENT,
        subject="clerk@district.test",
        token_id="0b51",
        issuer="https://issuer.test/",
        address="https://hooks.district.test:8443",
        stream="msg_one.1777896000123",
        organizations=(f"school/{SCHOOL}",),
        classes=("exact-reviewing",),
        tests=("ELA-SUM", "MATH-SUM"),
        grades=("03",),
        years=(2026,),
        report="aggregate",
        detail="ep_one, aggregate.updated, without figures",
    )
    assert (answered.kind, answered.stream) == (AuditKind.WEBHOOK_ANSWERED, sent.stream)
    assert (answered.subject, answered.outcome, answered.seconds) == ("clerk@district.test", "204", 0.035)


async def test_figures_and_secrets_of_addresses_are_not_in_the_record_but_that_there_were_figures_is() -> (
    None
):
    noted = await attempt(NoAudit(), FULL)
    assert noted[0].detail == "ep_one, aggregate.updated, with figures"
    assert SCORE not in repr(noted) and "s3cret" not in repr(noted)


async def test_a_rescored_exam_is_a_disclosure_about_a_student_and_names_no_exam() -> None:
    change = ResultChange(
        id="0-17",
        kind="rescored",
        organization=SCHOOL,
        assessment_id="SBAC-ELA-3",
        opportunity_id="opportunity-4711",
        school_year=2026,
        status_date="2026-05-04",
        changed_ms=1,
    )
    field = f"{SCHOOL}/{encode_change(change).decode()}"
    message = replace(THIN, type=EventType.RESULT_RESCORED, tells={field: Told(0)})
    [sent, _] = await attempt(NoAudit(), message)
    assert (sent.report, sent.tests, sent.years) == ("individual", ("SBAC-ELA-3",), (2026,))
    assert "4711" not in repr(sent)


async def test_a_release_state_is_on_record_but_is_no_result() -> None:
    field = f"{DISTRICT}/2026/{DISTRICT}/ELA/aggregate"
    message = replace(THIN, type=EventType.RELEASE_CHANGED, organization=DISTRICT, tells={field: Told(2)})
    [sent, _] = await attempt(NoAudit(), message)
    assert (sent.report, sent.classes, sent.years) == ("", (), (2026,))
    assert sent.organizations == (f"district/{DISTRICT}",)


async def test_the_question_whether_an_address_wants_webhooks_is_about_no_results_and_is_not_noted() -> None:
    assert await attempt(NoAudit(), replace(THIN, type=EventType.ENDPOINT_PING, organization=None)) == []


async def test_nothing_is_sent_before_its_entry_is_written() -> None:
    audit, sent = SlowAudit(), []

    async def send() -> None:
        async with Disclosures(audit, exact).of(OWNER, THIN, 1) as noted:
            sent.append(audit.disk.is_set())
            noted.answered(Answer(204, "", 1))

    sending = asyncio.create_task(send())
    await audit.began.wait()
    assert [event.kind for event in audit.noted] == [AuditKind.WEBHOOK_SENT] and sent == []
    audit.disk.set()
    await sending
    assert sent == [True]


async def test_an_answer_counts_at_once_and_is_written_with_the_next_lot() -> None:
    audit = SlowAudit()
    audit.disk.set()
    disclosures = Disclosures(audit, exact)
    async with disclosures.of(OWNER, THIN, 1) as noted:
        audit.disk.clear()
        noted.answered(Answer(204, "", 1))
    assert [event.kind for event in audit.noted] == [AuditKind.WEBHOOK_SENT]
    audit.began.clear()
    await audit.began.wait()
    assert [event.kind for event in audit.noted] == [AuditKind.WEBHOOK_SENT, AuditKind.WEBHOOK_ANSWERED]


async def test_a_worker_that_stops_hands_over_the_answers_that_gather() -> None:
    audit = NoAudit()
    disclosures = Disclosures(audit, exact)
    async with disclosures.of(OWNER, THIN, 1) as noted:
        noted.answered(Answer(204, "", 1))
    disclosures.hand_over()
    assert [event.outcome for event in audit.noted] == ["", "204"]


async def test_attempts_that_come_while_a_lot_is_written_make_one_lot_together() -> None:
    audit = SlowAudit()
    disclosures = Disclosures(audit, exact)

    async def send(number: int) -> None:
        async with disclosures.of(OWNER, THIN, number):
            pass

    first = asyncio.create_task(send(0))
    await audit.began.wait()
    later = [asyncio.create_task(send(number)) for number in range(1, 200)]
    await asyncio.sleep(0)
    assert len(audit.noted) == 1
    audit.disk.set()
    await asyncio.gather(first, *later)
    assert audit.lots == 2


async def test_with_a_full_disk_nothing_is_sent_and_the_record_says_so() -> None:
    audit, entered = FullDisk(), False
    disclosures = Disclosures(audit, exact)
    with pytest.raises(AuditUnavailable):
        async with disclosures.of(OWNER, THIN, 1):
            entered = True
    assert not entered
    disclosures.hand_over()
    assert [(event.kind, event.outcome) for event in audit.noted] == [
        (AuditKind.WEBHOOK_SENT, ""),
        (AuditKind.WEBHOOK_ANSWERED, NOT_SENT),
    ]


async def test_while_the_audit_fails_messages_that_come_back_do_not_fill_what_is_held() -> None:
    audit = FullDisk()
    audit.failing = True
    with pytest.raises(AuditUnavailable, match="SCORES_AUDIT_DIR"):
        await attempt(audit)
    assert audit.noted == []


async def test_an_answer_counts_although_the_disk_has_filled_meanwhile() -> None:
    audit = SlowAudit()
    audit.disk.set()
    disclosures, counted = Disclosures(audit, exact), False
    with pytest.MonkeyPatch.context() as patch:
        async with disclosures.of(OWNER, THIN, 1) as noted:
            patch.setattr(SlowAudit, "written", FullDisk.written)
            noted.answered(Answer(None, "no answer within 15 s", 15_000))
        counted = True
    disclosures.hand_over()
    assert counted and audit.noted[1].outcome == "no answer within 15 s"


async def test_a_right_that_is_lost_while_the_entry_is_written_is_noticed() -> None:
    audit, rights = SlowAudit(), [VisibilityClass.EXACT_REVIEWING]
    disclosures = Disclosures(audit, lambda endpoint, organization: rights[-1] if rights else None)

    async def send() -> bool:
        async with disclosures.of(OWNER, THIN, 1) as noted:
            if outdated := noted.outdated():
                noted.not_sent()
        return outdated

    sending = asyncio.create_task(send())
    await audit.began.wait()
    rights.clear()
    audit.disk.set()
    assert await sending
    assert not await _outdated(disclosures), "the next attempt is judged anew"
    disclosures.hand_over()
    assert [event.outcome for event in audit.noted if event.outcome] == [NOT_SENT, NOT_KNOWN]


async def _outdated(disclosures: Disclosures) -> bool:
    async with disclosures.of(OWNER, THIN, 2) as noted:
        return noted.outdated()


async def test_an_attempt_that_is_given_up_has_an_end_that_is_not_known() -> None:
    audit, began = NoAudit(), asyncio.Event()
    disclosures = Disclosures(audit, exact)

    async def send() -> None:
        async with disclosures.of(OWNER, THIN, 1):
            began.set()
            await asyncio.Event().wait()

    sending = asyncio.create_task(send())
    await began.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    disclosures.hand_over()
    assert [event.outcome for event in audit.noted] == ["", NOT_KNOWN]
