"""What ``scores import`` makes of a gateway's answers."""

from __future__ import annotations

import httpx
import pytest

from cli.exam_sources import ExamDocument
from cli.import_gateway import ImportGateway
from schemas.errors import DependencyUnavailable, InvalidInput

DOCUMENT = ExamDocument("one.xml", "application/xml", b"<TDSReport/>")
ACCEPTED = {
    "imports": [{"status": "ACCEPTED", "code": 0, "errors": []}],
    "summary": {"received": 1, "accepted": 1, "duplicate": 0, "parked": 0, "rejected": {}},
}
BUSY = httpx.Response(503, headers={"retry-after": "5"}, json={"detail": "Kafka is away."})


class Answers:
    """A gateway that answers as it is told, and the pauses that were made."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.pauses: list[float] = []
        self.requests: list[httpx.Request] = []
        self._answers = iter(answers)

    def gateway(self, patience_seconds: float = 60.0) -> ImportGateway:
        return ImportGateway(
            "http://gateway",
            "a-token",
            patience_seconds=patience_seconds,
            transport=httpx.MockTransport(self._answer),
            sleep=self.pauses.append,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_documents_travel_as_files_with_the_token_and_the_batch() -> None:
    answers = Answers(httpx.Response(202, json=ACCEPTED))
    with answers.gateway() as gateway:
        answer = gateway.send([DOCUMENT], "may 20")

    assert answer is not None
    assert answer.summary.accepted == 1
    [request] = answers.requests
    assert request.headers["authorization"] == "Bearer a-token"
    assert request.url.params["batch"] == "may 20"
    assert b'filename="one.xml"' in request.content


def test_a_busy_gateway_is_asked_again_when_it_says() -> None:
    answers = Answers(BUSY, httpx.ConnectError("refused"), httpx.Response(202, json=ACCEPTED))
    with answers.gateway() as gateway:
        assert gateway.send([DOCUMENT], None) is not None

    said, default = answers.pauses
    assert 5.0 <= said <= 6.5
    assert 2.0 <= default <= 2.6


def test_patience_ends() -> None:
    with (
        Answers(BUSY).gateway(patience_seconds=1.0) as gateway,
        pytest.raises(
            DependencyUnavailable,
            match=r"could not store results for 1 s \(Kafka is away\.\); run the same command again",
        ),
    ):
        gateway.send([DOCUMENT], None)


def test_a_request_too_large_is_for_the_caller_to_halve() -> None:
    with Answers(httpx.Response(413, json={"detail": "too large"})).gateway() as gateway:
        assert gateway.send([DOCUMENT], None) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(httpx.Response(401, json={"detail": "expired"}), "token is refused", id="expired"),
        pytest.param(httpx.Response(403, json={"detail": "no"}), "ASMTDATALOAD", id="not a loader"),
        pytest.param(httpx.Response(404, text="<html>"), "not the import endpoint", id="another server"),
        pytest.param(httpx.Response(202, text="<html>"), "not a gateway's", id="a page"),
        pytest.param(
            httpx.Response(202, json=ACCEPTED | {"imports": []}), "0 of 1 documents", id="too few answers"
        ),
    ],
)
def test_what_no_resend_can_mend_ends_the_import_with_a_sentence(answer: httpx.Response, said: str) -> None:
    with Answers(answer).gateway() as gateway, pytest.raises(InvalidInput, match=said):
        gateway.send([DOCUMENT], None)


def test_before_anything_is_read_the_gateway_and_the_token_are_looked_at() -> None:
    with Answers(httpx.Response(400, json={"detail": "Name a batch."})).gateway() as gateway:
        gateway.check()
    with (
        Answers(httpx.Response(403, json={"detail": "no"})).gateway() as gateway,
        pytest.raises(InvalidInput),
    ):
        gateway.check()
    with (
        Answers(httpx.ConnectError("refused")).gateway() as gateway,
        pytest.raises(DependencyUnavailable, match="no gateway answers at http://gateway"),
    ):
        gateway.check()


@pytest.mark.parametrize(
    ("url", "token"), [("gateway:8080", "t"), ("", "t"), ("http://gateway", ""), ("http://g", "t\n")]
)
def test_an_address_or_token_that_cannot_be_one_is_refused_at_once(url: str, token: str) -> None:
    with pytest.raises(InvalidInput):
        ImportGateway(url, token)
