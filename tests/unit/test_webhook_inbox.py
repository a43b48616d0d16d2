"""What `scores webhooks listen` makes of deliveries, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from signed_webhooks import FORMER, PAIR, SECRET
from webhook_programs import signed, told, update

from cli.webhooks.inbox import Delivery, Inbox, Outcome
from cli.webhooks.listen import line_of
from schemas.aggregate_changes import ResultChange
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId
from schemas.releases import ReleaseKey, ReleaseState, Report
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.payloads import organization_part, ping, release_changed, results_changed
from schemas.webhooks.secrets import SigningSecret, VerifyingKey

NOON = 1_777_896_000_000  # 2026-05-04T12:00:00Z
URL = "https://scores.example"


class Listening:
    """An inbox and its clock, which stands at noon."""

    def __init__(self, *secrets: SigningSecret) -> None:
        self.keys = [secret.verifying for secret in secrets or (SECRET, PAIR)]
        self.inbox = Inbox(lambda: self.keys)

    def take(
        self,
        body: bytes,
        *,
        secrets: Sequence[SigningSecret] = (SECRET,),
        message: str | None = None,
        seconds_late: int = 0,
    ) -> Delivery:
        headers = signed(body, secrets=secrets, message=message, at=NOON // 1000)
        return self.inbox.take(headers, body, now=NOON / 1000 + seconds_late)


def test_delivery_is_taken_once() -> None:
    here, body = Listening(), update(told(version=1))
    assert [here.take(body).outcome for _ in range(3)] == [Outcome.TAKEN, Outcome.AGAIN, Outcome.AGAIN]


def test_either_kind_of_signature_will_do() -> None:
    body = update(told(version=1))
    assert Listening(SECRET).take(body, secrets=[FORMER, SECRET]).outcome is Outcome.TAKEN
    assert Listening(PAIR).take(body, secrets=[SECRET, PAIR]).outcome is Outcome.TAKEN


def test_stranger_and_latecomer_are_refused_and_told_nothing() -> None:
    here, body = Listening(), update(told(version=1))
    for refused in (here.take(body, secrets=[FORMER]), here.take(body, seconds_late=301)):
        assert (refused.outcome, refused.status, refused.payload) == (Outcome.REFUSED, 401, None)
        assert refused.headers == {}
        assert refused.reason
    assert here.take(body).outcome is Outcome.TAKEN  # what was refused was not remembered


def test_of_each_cell_the_later_figures_stay() -> None:
    here = Listening()
    assert len(here.take(update(told("03", version=5), told("04", version=5))).newer) == 2
    some = here.take(update(told("03", version=4, minutes=-1), told("04", version=6)))
    assert (some.outcome, [cell.grade for cell in some.newer]) == (Outcome.TAKEN, ["04"])
    assert here.take(update(told("03", version=3, minutes=-2))).outcome is Outcome.OLDER
    assert here.take(update(told("03", version=1, minutes=9))).outcome is Outcome.TAKEN  # tables built anew


def test_question_of_the_confirmation_is_answered_as_often_as_it_comes() -> None:
    here, question = Listening(), ping("ep_aspen", at_ms=NOON, confirmation="cfm_token").content
    for _ in range(2):
        answer = here.take(question)
        assert (answer.outcome, answer.status) == (Outcome.CONFIRMED, HTTPStatus.NO_CONTENT)
        assert answer.headers == {CONFIRMATION_HEADER: "cfm_token"}
    assert here.take(question, secrets=[FORMER]).headers == {}


def test_signed_event_of_a_later_version_is_acknowledged_and_shown_as_unknown() -> None:
    here = Listening()
    for body in (b'{"type":"canteen.menu"}', b"[]", b"\xff", b""):
        delivery = here.take(body)
        assert (delivery.outcome, delivery.status) == (Outcome.UNKNOWN, 204)
        assert "does not know" in line_of(delivery)


def test_delivery_before_the_secret_is_there_is_to_come_again() -> None:
    here, body = Listening(), update(told(version=1))
    secrets, here.keys = here.keys, []
    assert here.take(body).status == HTTPStatus.SERVICE_UNAVAILABLE
    here.keys = secrets
    assert here.take(body).outcome is Outcome.TAKEN


def test_secret_that_is_none_is_shown_and_the_delivery_is_to_come_again() -> None:
    def keys() -> list[VerifyingKey]:
        raise InvalidInput("'hunter2' is no secret")

    body = update(told(version=1))
    delivery = Inbox(keys).take(signed(body), body, now=0)
    assert (delivery.status, delivery.reason) == (503, "'hunter2' is no secret")


def test_line_says_what_a_delivery_tells() -> None:
    here, school = Listening(), organization_part(OrganizationId("71700016000001"), "Aspen Elementary")
    key = ReleaseKey(2026, OrganizationId("71700010000000"), "Math", Report.AGGREGATE)
    results = [
        ResultChange(
            id=f"0-{number}",
            kind="rescored",
            organization=OrganizationId("71700016000001"),
            assessment_id="(SBAC)SBAC-ELA-3",
            opportunity_id=f"opp-{number}",
            school_year=2026,
            status_date="2026-05-04T11:00:00.000Z",
            changed_ms=NOON,
        )
        for number in (1, 2)
    ]
    said = {
        "taken": update(*(told(f"0{grade}", version=grade) for grade in range(3, 8))),
        "rescored": results_changed(EventType.RESULT_RESCORED, school, results, base_url=URL)[0].content,
        "released": release_changed(key, ReleaseState.RELEASED, changed_ms=NOON, base_url=URL).content,
        "test": ping("ep_aspen", at_ms=NOON).content,
    }
    assert [line_of(here.take(body)) for body in said.values()] == [
        "12:00:00  taken      aggregate.updated  Aspen Elementary  ELA-SUM 03 v3, ELA-SUM 04 v4, ELA-SUM 05 v5, and 2 more",
        "12:00:00  taken      result.rescored  Aspen Elementary  2 exams",
        "12:00:00  taken      release.changed  71700010000000  Math aggregate 2026: released",
        "12:00:00  taken      endpoint.ping  ep_aspen",
    ]
